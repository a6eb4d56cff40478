"""ConvTranspose: every input element spreads its weighted kernel over the output; overlaps add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.array_ops.normalization import per_channel
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.windows import Sizes, Windows, spatial_sizes


@dataclass(frozen=True, slots=True)
class Layout:
    """Windows over the untrimmed result, and which part of it is the output."""

    windows: Windows
    output: Sizes


def _numbers(values: Sequence[int] | None, rank: int, default: int, attribute: str) -> Sizes:
    numbers = tuple(int(v) for v in values) if values else (default,) * rank
    if len(numbers) != rank:
        raise InvalidArgument(f"ConvTranspose: expected {rank} numbers in {attribute}, got {list(numbers)}")
    return numbers


def _checked(x: Array, w: Array, b: Array | None, group: int, kernel_shape: Sequence[int] | None) -> None:
    if len(w.shape) != len(x.shape) or x.shape[1] != w.shape[0] or group < 1 or w.shape[0] % group:
        raise InvalidArgument(
            f"ConvTranspose: expected weights of shape (C, M / group, kernel…) with C = {x.shape[1]}, divisible by group {group}, "
            f"got {list(w.shape)}"
        )
    if b is not None and tuple(b.shape) != (w.shape[1] * group,):
        raise InvalidArgument(f"ConvTranspose: expected a bias of shape [{w.shape[1] * group}], got {list(b.shape)}")
    if kernel_shape and tuple(kernel_shape) != tuple(w.shape[2:]):
        raise InvalidArgument(f"ConvTranspose: expected kernel_shape {list(w.shape[2:])} like the weights, got {list(kernel_shape)}")


def transposed_layout(x: Array, w: Array, attributes: dict[str, Any]) -> Layout:
    """How the kernels of `x` overlap, and what of them is kept."""
    spatial = spatial_sizes("ConvTranspose", x)
    rank, kernel = len(spatial), tuple(w.shape[2:])
    strides = _numbers(attributes.get("strides"), rank, 1, "strides")
    dilations = _numbers(attributes.get("dilations"), rank, 1, "dilations")
    extra = _numbers(attributes.get("output_padding"), rank, 0, "output_padding")
    auto_pad = attributes.get("auto_pad") or "NOTSET"
    full = tuple((i - 1) * s + (k - 1) * d + 1 + e for i, s, k, d, e in zip(spatial, strides, kernel, dilations, extra, strict=True))
    wanted = attributes.get("output_shape")
    if wanted:
        output = tuple(int(size) for size in wanted)[-rank:]
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        output = tuple(i * s for i, s in zip(spatial, strides, strict=True))
    else:
        pads = _numbers(attributes.get("pads") if auto_pad != "VALID" else None, 2 * rank, 0, "pads")
        trimmed = tuple(f - b - a for f, b, a in zip(full, pads[:rank], pads[rank:], strict=True))
        return Layout(Windows(full, kernel, strides, dilations, pads[:rank], pads[rank:], spatial), trimmed)
    totals = [max(0, f - o) for f, o in zip(full, output, strict=True)]
    begin = tuple(t // 2 if auto_pad == "SAME_UPPER" else t - t // 2 for t in totals)
    end = tuple(t - b for t, b in zip(totals, begin, strict=True))
    return Layout(Windows(full, kernel, strides, dilations, begin, end, spatial), output)


def transposed_specs(
    x: Array, w: Array, b: Array = None, *, group: int = 1, kernel_shape: Sequence[int] | None = None, **attributes: Any
) -> Spec:
    """(N, M, …), checked against the sizes of weights and bias."""
    spatial_sizes("ConvTranspose", x)
    _checked(x, w, b, group, kernel_shape)
    return Spec((x.shape[0], w.shape[1] * group, *transposed_layout(x, w, attributes).output), x.dtype)


def _spread(xp: Any, x: Array, w: Array, layout: Layout, group: int) -> Array:
    """The untrimmed result, at least as large as what will be cut out of it."""
    batch, maps = x.shape[0], w.shape[1] * group
    windows = layout.windows
    weights = xp.swapaxes(w.reshape(group, w.shape[0] // group, -1), 1, 2)
    products = xp.matmul(weights, x.reshape(batch, group, x.shape[1] // group, math.prod(windows.output)))
    products = products.reshape(batch, maps, math.prod(windows.kernel), *windows.output)
    sizes = (max(f, b + o) for f, b, o in zip(windows.spatial, windows.begin, layout.output, strict=True))
    result = xp.zeros((batch, maps, *sizes), x.dtype)
    for index, (_, covered) in enumerate(windows.positions()):
        result[(..., *covered)] += products[:, :, index]
    return result


@operator("ConvTranspose", since=1, specs=transposed_specs)
def conv_transpose(
    xp: Any,
    x: Array,
    w: Array,
    b: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """Transposed convolution over any number of spatial axes. Spec: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html"""
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "output_padding": output_padding,
        "output_shape": output_shape,
        "pads": pads,
        "strides": strides,
    }
    layout = transposed_layout(x, w, attributes)
    result = _spread(xp, widened(x), widened(w), layout, group)
    inside = tuple(slice(b, b + o) for b, o in zip(layout.windows.begin, layout.output, strict=True))
    result = result[(..., *inside)]
    if b is not None:
        result = result + per_channel(widened(b), len(x.shape))
    return stored(xp, result, x.dtype, out)


def _dynamic_specs(x: Array, w: Array, pads: Array = None, b: Array = None, **attributes: Any) -> Spec:
    return transposed_specs(x, w, b, **attributes, pads=dynamic_pads(x, pads))


def dynamic_pads(x: Array, pads: Array | None) -> Sequence[int]:
    """The pads that ConvTransposeWithDynamicPads is given as an input.

    Raises:
        InvalidArgument: there are none, or not two for each spatial axis.
    """
    expected = 2 * len(spatial_sizes("ConvTransposeWithDynamicPads", x))
    if pads is None or pads.size != expected:
        found = "none" if pads is None else f"{pads.size}"
        raise InvalidArgument(f"ConvTransposeWithDynamicPads: Dynamic pads tensor is required, with {expected} elements; got {found}")
    return integers(pads)


@operator("ConvTransposeWithDynamicPads", domain="com.microsoft", specs=_dynamic_specs, host=("pads",))
def conv_transpose_withdynamic_pads(
    xp: Any,
    x: Array,
    w: Array,
    pads: Array = None,
    b: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """Transposed convolution whose pads are an input, int64. Spec: onnxruntime's ContribOperators.md"""
    return conv_transpose(
        xp,
        x,
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        output_padding=output_padding,
        pads=dynamic_pads(x, pads),
        strides=strides,
        out=out,
    )
