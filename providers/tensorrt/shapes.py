"""Which profiles a segment's engines have: those that were given for the model's inputs, as far as they tell, or buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnxgpu.provider import ValueInfo
from onnxgpu.providers.segments.growing import Sizes
from onnxgpu.providers.segments.shapes import POWERS_OF_TWO, Buckets, Profile, Range, derived, given_buckets, given_profiles
from onnxgpu.providers.tensorrt.network import NetworkInput
from onnxgpu.segment_provider import Segment, Shape, ShapesAt

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
        """The profile of the bucket in which a run's sizes lie; of these alone where values decide shapes, which fit no others."""
        if any(value.is_shape_tensor for value in wanted):
            return tuple((value.name, Range(*(tuple(sizes[value.name]),) * 3)) for value in wanted)
        declared = {value.name: value.shape or () for value in segment.inputs}
        return tuple((value.name, self._around(value.name, declared[value.name], sizes[value.name])) for value in wanted)

    def _around(self, name: str, declared: Sequence[int | str | None], shape: Sequence[int]) -> Range:
        """The bucket of a shape. A dimension inside the model that has no name is as the run has it.

        It may be no free choice: sizes of others follow from it, or the one size that fits the weights.
        """
        is_outside = any(value.name == name for value in self.inputs)
        ends = [
            self.buckets.get(symbol or "", POWERS_OF_TWO).around(size)
            if isinstance(symbol, str) or (symbol is None and is_outside)
            else (size, size)
            for symbol, size in zip(declared, shape, strict=True)
        ]
        most = tuple(last for _, last in ends)
        return Range(tuple(first for first, _ in ends), most, most)
