"""How windows lie over the spatial axes of a tensor (N, C, …): the arithmetic that convolutions and pools share.

Spec: the output size formulas of https://onnx.ai/onnx/operators/onnx__MaxPool.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows over the spatial axes; each field has one number an axis.

    Attributes:
        spatial: sizes of the input.
        kernel: elements of a window.
        strides: elements between the starts of neighbouring windows.
        dilations: elements between neighbouring elements of a window.
        begin, end: padding before and after the input.
        output: how many windows there are.
    """

    spatial: Sizes
    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    begin: Sizes
    end: Sizes
    output: Sizes

    @property
    def extents(self) -> Sizes:
        """Elements from the first to the last of a window."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def padding(self) -> list[tuple[int, int]]:
        """Elements to put before and after each axis so that every window lies inside."""
        needed = [(o - 1) * s + e for o, s, e in zip(self.output, self.strides, self.extents, strict=True)]
        return [(b, max(0, n - b - i)) for n, b, i in zip(needed, self.begin, self.spatial, strict=True)]

    def positions(self) -> Iterator[tuple[Sizes, tuple[slice, ...]]]:
        """For each element of a window: its coordinates, and the slices of the padded input it covers in all windows."""
        for element in product(*(range(k) for k in self.kernel)):
            starts = [k * d for k, d in zip(element, self.dilations, strict=True)]
            yield element, tuple(slice(a, a + (o - 1) * s + 1, s) for a, o, s in zip(starts, self.output, self.strides, strict=True))


def windows_over(
    name: str,
    spatial: Sizes,
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> Windows:
    """Lay windows over axes of sizes `spatial`, from ONNX's attributes.

    Raises:
        InvalidArgument: an attribute has the wrong length or a value that makes no sense, or no window fits.
    """
    rank = len(spatial)
    kernel = _per_axis(name, "kernel_shape", kernel, rank, None)
    strides = _per_axis(name, "strides", strides, rank, 1)
    dilations = _per_axis(name, "dilations", dilations, rank, 1)
    extents = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    begin, end = _padding(name, spatial, extents, strides, pads, auto_pad)
    output = tuple(
        _count(size + b + e - extent, stride, size + b, ceil_mode)
        for size, b, e, extent, stride in zip(spatial, begin, end, extents, strides, strict=True)
    )
    if any(count < 1 for count in output) and all(spatial):
        raise InvalidArgument(
            f"{name}: expected windows of extent {list(extents)} to fit into spatial sizes {list(spatial)} with pads {[*begin, *end]}; "
            f"make the input larger"
        )
    return Windows(spatial, kernel, strides, dilations, begin, end, tuple(max(0, count) for count in output))


def _per_axis(name: str, attribute: str, values: Sequence[int] | None, rank: int, default: int | None) -> Sizes:
    if not values and default is not None:
        return (default,) * rank
    numbers = tuple(int(v) for v in values or ())
    if len(numbers) != rank or any(n < 1 for n in numbers):
        raise InvalidArgument(f"{name}: expected {rank} positive numbers in {attribute}, one for each spatial axis, got {list(numbers)}")
    return numbers


def _padding(name: str, spatial: Sizes, extents: Sizes, strides: Sizes, pads: Sequence[int] | None, auto_pad: str) -> tuple[Sizes, Sizes]:
    rank = len(spatial)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        totals = [max(0, (-(-size // s) - 1) * s + e - size) for size, s, e in zip(spatial, strides, extents, strict=True)]
        less, more = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        return (less, more) if auto_pad == "SAME_UPPER" else (more, less)
    if auto_pad not in ("NOTSET", "VALID", ""):
        raise InvalidArgument(f"{name}: expected auto_pad to be NOTSET, SAME_UPPER, SAME_LOWER or VALID, got {auto_pad!r}")
    if auto_pad == "VALID" or not pads:
        return (0,) * rank, (0,) * rank
    numbers = tuple(int(p) for p in pads)
    if len(numbers) != 2 * rank or any(n < 0 for n in numbers):
        raise InvalidArgument(f"{name}: expected {2 * rank} numbers of at least 0 in pads, got {list(numbers)}")
    return numbers[:rank], numbers[rank:]


def _count(room: int, stride: int, last_start: int, ceil_mode: int) -> int:
    if room < 0:
        return 0
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= last_start else count


def padded(xp: Any, x: Array, windows: Windows, value: Any) -> Array:
    """`x` with `value` around its spatial axes so that every window lies inside; `x` itself if they already do."""
    padding = windows.padding()
    if not any(before or after for before, after in padding):
        return x
    leading = len(x.shape) - len(padding)
    sizes = [size + b + a for size, (b, a) in zip(x.shape[leading:], padding, strict=True)]
    result = xp.full((*x.shape[:leading], *sizes), value, dtype=x.dtype)
    inside = tuple(slice(b, b + size) for size, (b, _) in zip(x.shape[leading:], padding, strict=True))
    result[(Ellipsis, *inside)] = x
    return result


def spatial_sizes(name: str, x: Array) -> Sizes:
    """The sizes after (N, C).

    Raises:
        InvalidArgument: there are no spatial axes.
    """
    if len(x.shape) < 3:
        raise InvalidArgument(f"{name}: expected an input of shape (N, C, spatial…), got shape {list(x.shape)}")
    return tuple(x.shape[2:])
