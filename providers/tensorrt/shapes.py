"""Which profiles a segment's engines have: those that were given for the model's inputs, as far as they tell, or buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnxgpu.provider import ValueInfo
from onnxgpu.providers.segments.shapes import POWERS_OF_TWO, Buckets, Profile, Range, Shape, bucket, derived, given_buckets, given_profiles
from onnxgpu.providers.tensorrt.kernel import Sizes
from onnxgpu.providers.tensorrt.network import NetworkInput
from onnxgpu.segment_provider import Segment, ShapesAt

_OPTIONS = ("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes")


@dataclass(frozen=True, slots=True)
class ModelShapes:
    """What is known of the shapes of a model before it runs.

    Attributes:
        inputs: of the model's graph.
        profiles: given for these.
        inside: for each profile, the shapes inside the model at its smallest, best and largest sizes.
        buckets: named dimension → its buckets.
    """

    inputs: Sequence[ValueInfo] = ()
    profiles: Sequence[Profile] = ()
    inside: Sequence[Sequence[Mapping[str, Shape]]] = ()
    buckets: Mapping[str, Buckets] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, Any], inputs: Sequence[ValueInfo], shapes_at: ShapesAt) -> ModelShapes:
        """What the options say.

        Raises:
            InvalidArgument: one of them is not of its form, or does not fit the inputs; names it.
        """
        profiles = given_profiles([(option, str(options.get(option, ""))) for option in _OPTIONS], inputs)
        fixed = {value.name for value in inputs if value.shape is None or all(isinstance(size, int) for size in value.shape)}
        inside = []
        for profile in profiles:
            ranges = [(name, bounds) for name, bounds in profile if name not in fixed]
            inside.append([shapes_at({name: getattr(bounds, end) for name, bounds in ranges}) for end in ("least", "best", "most")])
        return cls(inputs, profiles, inside, given_buckets("trt_shape_buckets", str(options.get("trt_shape_buckets", ""))))

    def usual(self) -> list[Mapping[str, Shape]]:
        """The best shapes of each profile."""
        free = {value.name for value in self.inputs if value.shape is None or not all(isinstance(size, int) for size in value.shape)}
        return [{name: bounds.best for name, bounds in profile if name in free} for profile in self.profiles]

    def profiles_of(self, segment: Segment, wanted: Sequence[NetworkInput]) -> tuple[Profile, ...] | None:
        """The profiles of a segment; None if not every one tells all that differs from run to run.

        Args:
            segment: whose inputs they are of.
            wanted: those of its inputs that a profile has to tell of.
        """
        names = {value.name for value in wanted}
        values = [value for value in segment.inputs if value.name in names]
        found = []
        for profile, inside in zip(self.profiles, self.inside, strict=True):
            told = dict(derived(profile, self.inputs, values, inside)[0])
            if not names <= told.keys():
                return None
            found.append(tuple((value.name, told[value.name]) for value in values))
        return tuple(found) or None

    def bucket(self, segment: Segment, wanted: Sequence[NetworkInput], sizes: Sizes) -> Profile:
        """The profile of the bucket in which a run's sizes lie."""
        shapes = [value for value in segment.inputs if any(value.name == w.name and w.is_dynamic for w in wanted)]
        values = tuple((value.name, _values_around(sizes[value.name])) for value in wanted if value.is_shape_tensor)
        return bucket(shapes, sizes, self.buckets) + values


def _values_around(values: Sequence[int]) -> Range:
    """The bucket of the values of an input that is a shape; negative ones mean something of their own and stay as they are."""
    ends = [(value, value) if value < 0 else POWERS_OF_TWO.around(value) for value in values]
    most = tuple(end for _, end in ends)
    return Range(tuple(start for start, _ in ends), most, most)
