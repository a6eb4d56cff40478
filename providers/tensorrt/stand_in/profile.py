"""Optimization profiles: the shapes, and the values of shape tensors, that an engine is built for."""

from __future__ import annotations

from collections.abc import Sequence

from onnxgpu.providers.tensorrt.stand_in.registry import implements
from onnxgpu.providers.tensorrt.stand_in.reports import Reports

Range = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Minimum, optimum and maximum."""


@implements("IOptimizationProfile")
class OptimizationProfile:
    """One profile; what does not fit is told when an engine is built with it, as far as it is not told here.

    Attributes:
        shapes: input → its shapes.
        values: shape tensor → its values.
    """

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self.shapes: dict[str, Range] = {}
        self.values: dict[str, Range] = {}
        self.extra_memory_target = 1.0
        self.profile_stream = 0
        self._is_valid = True

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        """The shapes of an input.

        Raises:
            RuntimeError: they have different ranks, or 0 ≤ min ≤ opt ≤ max does not hold.
        """
        given = (tuple(min), tuple(opt), tuple(max))
        if any(size < 0 for size in given[0]):
            self._refuse("IOptimizationProfile::setDimensions", input, "Shape provided for min is inconsistent with other shapes.")
        self._check("IOptimizationProfile::setDimensions", input, given, "Shape provided for {} is inconsistent with other shapes.")
        self.shapes[input] = given

    def get_shape(self, input: str) -> list[tuple[int, ...]]:
        """Minimum, optimum and maximum; empty if they were not set."""
        return list(self.shapes.get(input, ()))

    def set_shape_input(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        """The values of a shape tensor.

        Raises:
            RuntimeError: there are different numbers of them, or min ≤ opt ≤ max does not hold.
        """
        given = (tuple(min), tuple(opt), tuple(max))
        text = "{} input provided for shape tensor is inconsistent with other inputs."
        self._check("IOptimizationProfile::setShapeValuesV2", input, given, text)
        self.values[input] = given

    def get_shape_input(self, input: str) -> list[list[int]]:
        """Minimum, optimum and maximum; empty if they were not set."""
        return [list(values) for values in self.values.get(input, ())]

    def __bool__(self) -> bool:
        return self._is_valid

    def _check(self, call: str, name: str, given: Range, text: str) -> None:
        """Each against the one before it, as they are handed over one by one."""
        for which, less, more in (("opt", given[0], given[1]), ("max", given[1], given[2])):
            if len(less) != len(more) or any(a > b for a, b in zip(less, more, strict=True)):
                self._refuse(call, name, text.format(which))

    def _refuse(self, call: str, name: str, text: str) -> None:
        self._is_valid = False
        self._reports.error(call, f"Parameter check failed for {name}. {text}")
        raise RuntimeError(text)
