"""A provider of segments that builds an engine for each bucket of shapes, when a test lets it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from onnxgpu.errors import EPFail, ModelLoadCanceled
from onnxgpu.provider import Array, Kernel, Refusal, Value
from onnxgpu.providers.segments.builds import Build, Report
from onnxgpu.providers.segments.growing import GrowingKernel
from onnxgpu.providers.segments.shapes import Profile, bucket, fits, given_profiles
from onnxgpu.segment_provider import Exclusions, Segment, SegmentClaim, Shape, ShapesAt
from tests.segments.providers import EngineKernel, EvaluatorProvider

NAME = "GrowingExecutionProvider"
OPTIONS = ("min", "opt", "max")


class Checked(EngineKernel):
    """An engine that knows for what shapes it was built."""

    def __init__(self, segment: Segment, profiles: tuple[Profile, ...]) -> None:
        super().__init__(segment, elementwise=True)
        self._inputs, self._profiles = segment.inputs, profiles

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Run, with shapes that it was built for."""
        sizes = {value.name: given.shape for value, given in zip(self._inputs, inputs, strict=True)}
        assert not self._profiles or any(fits(profile, sizes) for profile in self._profiles)
        return super().launch(inputs, outputs, workspace)


class GrowingProvider(EvaluatorProvider):
    """Whole segments, built in the background.

    Options:
        min, opt, max: profiles.
        on_request: runs wait.
        most: engines of a segment.

    Class attributes:
        opened: builds go on.
        failing: builds fail.
        stands_by: segments want a stand-by.
        built: the profiles of engines, in the order in which they were done.
    """

    name: ClassVar[str] = NAME
    option_types: ClassVar[Mapping[str, type]] = {"min": str, "opt": str, "max": str, "on_request": bool, "most": int}
    opened: ClassVar[threading.Event]
    failing: ClassVar[bool] = False
    stands_by: ClassVar[bool] = True
    built: ClassVar[list[tuple[Profile, ...]]] = []

    def survey(self, inputs: Sequence[Any], shapes_at: ShapesAt) -> None:
        """Profiles are of the model's inputs, which the tests' segments have too."""
        self.profiles = given_profiles([(option, self.options.get(option, "")) for option in OPTIONS], inputs)

    def usual_shapes(self) -> Sequence[Mapping[str, Shape]]:
        """Of the profiles."""
        return [{name: bounds.best for name, bounds in profile} for profile in self.profiles]

    def claim_segment(self, segment: Segment) -> SegmentClaim | Exclusions | Refusal:
        """Every segment."""
        return SegmentClaim(partial(self._kernel, segment), stand_by=self.stands_by)

    def _kernel(self, segment: Segment) -> Kernel:
        def sizes(inputs: Sequence[Value]) -> dict[str, Shape]:
            return {value.name: tuple(given.shape) for value, given in zip(segment.inputs, inputs, strict=True)}

        def start(profiles: tuple[Profile, ...]) -> Build[Kernel]:
            return Build(str(segment), partial(_made, segment, profiles))

        return GrowingKernel(
            str(segment),
            start,
            sizes,
            partial(bucket, segment.inputs),
            first=self.profiles or (() if _are_fixed(segment) else None),
            on_request=bool(self.options.get("on_request")),
            most=int(self.options.get("most", 32)),
        )


def _are_fixed(segment: Segment) -> bool:
    return all(isinstance(size, int) for value in segment.inputs for size in value.shape or (None,))


def _made(segment: Segment, profiles: tuple[Profile, ...], report: Report) -> Kernel:
    while not GrowingProvider.opened.wait(0.01) and report("waiting for the test", 1, 2):
        pass
    if not report("building", 2, 2):
        raise ModelLoadCanceled("cancelled")
    if GrowingProvider.failing:
        raise EPFail("the library has no tactic for it")
    GrowingProvider.built.append(profiles)
    return Checked(segment, profiles)
