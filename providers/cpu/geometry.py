"""Sizes and paddings of sliding windows (Conv, ConvTranspose, pooling), for one or two spatial axes.

One axis is treated as two with a first axis of size 1, so that kernels know planes only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxgpu.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis: how output position `o` and tap `t` meet input position `o·stride + t·dilation - before`."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    output: int

    def valid(self, tap: int) -> tuple[int, int]:
        """Range of the output positions for which `tap` falls on the input and not on padding."""
        offset = tap * self.dilation - self.before
        start = max(0, -(offset // self.stride)) if offset < 0 else 0
        stop = min(self.output, (self.size - 1 - offset) // self.stride + 1) if offset < self.size else 0
        return start, max(start, stop)

    def input_slice(self, tap: int, start: int, stop: int) -> slice:
        """The input positions that `tap` meets for the output positions from start to stop, a range within `valid(tap)`."""
        first = start * self.stride + tap * self.dilation - self.before
        return slice(first, first + (stop - start - 1) * self.stride + 1, self.stride)


@dataclass(frozen=True)
class Windows:
    """Attributes of a sliding-window operator.

    Attributes:
        rank: number of spatial axes, 1 or 2.
        kernel, strides, dilations: one a spatial axis.
        pads: beginnings, then ends.
        auto_pad: NOTSET, VALID, SAME_UPPER or SAME_LOWER.
        ceil_mode: round the output size up.
    """

    rank: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False

    def axes(self, sizes: Sequence[int]) -> tuple[Axis, Axis]:
        """The two axes for an input with these spatial sizes.

        Raises:
            InvalidArgument: the input is smaller than the window.
        """
        axes = [self._axis(i, size) for i, size in enumerate(sizes)]
        if self.rank == 1:
            axes.insert(0, Axis(1, 1, 1, 1, 0, 0, 1))
        return axes[0], axes[1]

    def _axis(self, i: int, size: int) -> Axis:
        kernel, stride, dilation = self.kernel[i], self.strides[i], self.dilations[i]
        reach = (kernel - 1) * dilation + 1
        before, after = self.pads[i], self.pads[i + self.rank]
        if self.auto_pad == "VALID":
            before = after = 0
        if self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output = -(-size // stride)
            total = max(0, (output - 1) * stride + reach - size)
            before = total // 2 if self.auto_pad == "SAME_UPPER" else total - total // 2
            return Axis(size, kernel, stride, dilation, before, total - before, output)
        space = size + before + after - reach
        if space < 0:
            raise InvalidArgument(f"spatial axis {i}: a window of {reach} does not fit into size {size} with padding {before} and {after}")
        output = space // stride + 1
        if self.ceil_mode:
            output = -(-space // stride) + 1
            if (output - 1) * stride >= size + before:
                output -= 1
        return Axis(size, kernel, stride, dilation, before, after, output)


def windows(attributes: Mapping[str, Any], kernel: Sequence[int]) -> Windows:
    """The `Windows` of a node with these attributes; `kernel` gives the window's sizes where the attribute is absent."""
    sizes = tuple(attributes.get("kernel_shape") or kernel)
    rank = len(sizes)
    return Windows(
        rank,
        sizes,
        tuple(attributes.get("strides") or (1,) * rank),
        tuple(attributes.get("dilations") or (1,) * rank),
        tuple(attributes.get("pads") or (0,) * (2 * rank)),
        attributes.get("auto_pad", "NOTSET"),
        bool(attributes.get("ceil_mode", 0)),
    )


def as_planes(array: Any) -> Any:
    """An (N, C, L) array as (N, C, 1, L); others unchanged."""
    return array.reshape(*array.shape[:2], 1, *array.shape[2:]) if array.ndim == 3 else array
