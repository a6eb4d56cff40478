"""Pad and CenterCropPad in every mode: one launch, whatever the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.array_ops.padding import (
    Widths,
    centred_spec,
    centred_widths,
    check_pad_mode,
    pad_1_spec,
    pad_2_spec,
    pad_spec,
    pad_value,
    pad_widths,
    padded_spec,
)
from onnxgpu.providers.cuda.kernels import THREADS, Template, blocks_for
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for
from onnxgpu.providers.cuda.strided import MOST_AXES, UNITS, copy, sixteen_bytes, structure_of, unit_bytes

PAD = Template("pad.cu", "pad<{bytes}>", "ppsisl", bytes=UNITS)

_MODES = {"constant": 0, "reflect": 1, "edge": 2, "wrap": 3}


def _many_axes(operation: Operation) -> str | None:
    value = operation.inputs[0]
    is_small = value is not None and value.shape is not None and len(value.shape) <= MOST_AXES
    return None if is_small else f"needs to know that its input has at most {MOST_AXES} dimensions"


def _padded(xp: Any, x: Array, widths: Widths, mode: str, value: Any, out: Array) -> Array:
    spec = padded_spec(x, widths)
    result, source = result_for(xp, spec, out), bits_of(x)
    kept = source[tuple(slice(max(-b, 0), size - max(-a, 0)) for size, (b, a) in zip(x.shape, widths, strict=True))]
    added = [(max(before, 0), max(after, 0)) for before, after in widths]
    if not any(map(any, added)):
        copy(result, kept)
        return result
    if mode != "constant":
        check_pad_mode(kept.shape, added, mode, x.shape)
    target = bits_of(result)
    sizes, inner, before, steps = _joined(kept, added, target.itemsize, mode == "constant")
    columns = sizes[-1], inner[-1], before[-1]
    unit = target.itemsize
    if steps[-1] == unit:
        multiples = *(n * unit for n in columns), *steps[:-1], kept.data.ptr, target.data.ptr
        if mode == "constant" or columns[0] == columns[1]:
            unit = unit_bytes(unit, *multiples)
            sizes[-1], inner[-1], before[-1] = (n * target.itemsize // unit for n in columns)
            steps[-1] = unit
    structure = structure_of(sizes, inner, before, [step // unit for step in steps])
    count = target.nbytes // unit
    fill = sixteen_bytes(value, spec.dtype)
    PAD.instance(bytes=unit).launch(blocks_for(count), THREADS, kept, target, structure, _MODES[mode], fill, count)
    return result


def _joined(kept: Array, added: Widths, itemsize: int, constant: bool) -> tuple[list[int], list[int], list[int], list[int]]:
    """Sizes of the result and of what is kept, places before it, and strides in bytes, with neighbouring axes joined.

    An axis without pads joins the one before it; if that one has pads, only where these hold one value.
    """
    sizes, inner, before, steps = [1], [1], [0], [itemsize]
    for size, step, (first, last) in zip(kept.shape, kept.strides, added, strict=True):
        is_whole = not first and not last
        if is_whole and size == 1:
            continue
        outer_is_whole = sizes[-1] == inner[-1]
        if is_whole and (constant or outer_is_whole) and (steps[-1] == step * size or inner[-1] == 1 == sizes[-1]):
            sizes[-1], inner[-1], before[-1], steps[-1] = sizes[-1] * size, inner[-1] * size, before[-1] * size, step
        elif sizes[-1] == 1 == inner[-1]:
            sizes[-1], inner[-1], before[-1], steps[-1] = size + first + last, size, first, step
        else:
            for numbers, number in zip((sizes, inner, before, steps), (size + first + last, size, first, step), strict=True):
                numbers.append(number)
    return sizes, inner, before, steps


@operator("Pad", specs=pad_1_spec, when=_many_axes)
@takes_narrow
def pad_1(xp: Any, x: Array, *, paddings: Sequence[int], mode: str = "constant", value: float = 0.0, out: Array = None) -> Array:
    """The input with elements added around it. Spec: https://onnx.ai/onnx/operators/onnx__Pad.html"""
    return _padded(xp, x, pad_widths(x, paddings, None), mode, value, out)


@operator("Pad", since=2, specs=pad_2_spec, when=_many_axes)
@takes_narrow
def pad_2(xp: Any, x: Array, *, pads: Sequence[int], mode: str = "constant", value: float = 0.0, out: Array = None) -> Array:
    """The input with elements added around it, or taken away. Spec: https://onnx.ai/onnx/operators/onnx__Pad.html"""
    return _padded(xp, x, pad_widths(x, pads, None), mode, value, out)


@operator("Pad", domain="com.microsoft", specs=pad_spec, host=("pads", "value"), when=_many_axes)
@operator("Pad", since=11, specs=pad_spec, host=("pads", "value", "axes"), when=_many_axes)
@takes_narrow
def pad(
    xp: Any, x: Array, pads: Array, value: Array | None = None, axes: Array | None = None, *, mode: str = "constant", out: Array = None
) -> Array:
    """The input with elements added around it, or taken away, along `axes`. Spec: https://onnx.ai/onnx/operators/onnx__Pad.html"""
    widths = pad_widths(x, integers(pads), None if axes is None else integers(axes))
    return _padded(xp, x, widths, mode, pad_value(x, value), out)


@operator("CenterCropPad", since=18, specs=centred_spec, host=("shape",), when=_many_axes)
@takes_narrow
def center_crop_pad(xp: Any, x: Array, shape: Array, *, axes: Sequence[int] | None = None, out: Array = None) -> Array:
    """The middle of the input, or the input in the middle of zeros. Spec: https://onnx.ai/onnx/operators/onnx__CenterCropPad.html"""
    return _padded(xp, x, centred_widths(x, shape, axes), "constant", pad_value(x, None), out)
