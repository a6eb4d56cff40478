"""Resize and Upsample: up to three axes a launch, the coordinates computed on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.resampling import AxisScale, aligned_end
from onnxgpu.providers.array_ops.resizing import Scales, axis_scales, is_changed
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, INTEGER_NAMES, THREADS, Template, blocks_for, dense, whole_warps
from onnxgpu.providers.cuda.registry import array_specs, operator
from onnxgpu.providers.cuda.strided import copy

NUMBERS = FLOAT_NAMES | INTEGER_NAMES | {"bool"}
_UNITS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}
_BLENDED = FLOAT_NAMES | {"int8", "uint8", "int32", "int64"}
_COMPUTED = {name: "float64" if name == "double" else "float32" for name in _BLENDED}
_COMPUTED_TYPE = {name: "double" if name == "double" else "float" for name in _BLENDED}
_INSTANCES = tuple(
    dict.fromkeys(
        f"{source}, {target}, {_COMPUTED_TYPE[name]}"
        for name in sorted(_BLENDED)
        for source in (C_TYPES[name], _COMPUTED_TYPE[name])
        for target in (C_TYPES[name], _COMPUTED_TYPE[name])
    )
)

NEAREST = Template("resizing.cu", "take_nearest<{unit}, {index}>", "pplllsiibl", unit=tuple(_UNITS.values()), index=("int", "long long"))
INTERPOLATE = Template(
    "resizing.cu", "interpolate<{T}, {taps_and_axes}>", "ppliisidbd",
    T=tuple(C_TYPES[name] for name in sorted(_BLENDED)), taps_and_axes=("2, 1", "2, 2", "2, 3", "4, 1", "4, 2"),
)  # fmt: skip
BLEND = Template("resizing.cu", "blend<{instance}>", "pplsiidbd", instance=_INSTANCES)

_TRANSFORMATIONS = (
    "half_pixel",
    "asymmetric",
    "pytorch_half_pixel",
    "align_corners",
    "half_pixel_symmetric",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple")
_AXIS = np.dtype([("sizes", np.int64, 3), ("factors", np.float64, 4), ("is_resampled", np.int64)])
_AXES_A_LAUNCH = 3
_MANY = 1 << 30
"""Fewer elements are counted in 32 bits."""
_BUSY_THREADS = 1 << 19
"""As many keep a GPU busy; with fewer places, threads share what lies outside of the resampled axes."""


def _number(name: str, choices: Sequence[str], chosen: str) -> int:
    if chosen not in choices:
        raise InvalidArgument(f"Resize: expected {name} to be one of {', '.join(choices)}, got {chosen!r}")
    return choices.index(chosen)


def _structure(shape: Sequence[int], scales: Scales) -> np.ndarray:
    """The kernels' structure Resampled for an array of `shape`, of which the axes of `scales` are resampled."""
    rows = [((1, 1, 1), (1.0, 0.0, 1.0, 0.0), 0)] * (_AXES_A_LAUNCH - len(scales))
    axes = sorted(scales)
    for axis, following in zip(axes, [*axes[1:], len(shape)], strict=True):
        how = scales[axis]
        rows.append(((how.size, how.output, prod(shape[axis + 1 : following])), (how.scale, how.start, how.end, aligned_end(how)), 1))
    return np.array(rows, _AXIS)


def _launches(scales: Scales, at_once: int) -> Iterator[dict[int, AxisScale]]:
    axes = sorted(scales)
    for start in range(0, len(axes), at_once):
        yield {axis: scales[axis] for axis in axes[start : start + at_once]}


def _resampled_shape(shape: Sequence[int], scales: Scales) -> tuple[int, ...]:
    return tuple(scales[axis].output if axis in scales else size for axis, size in enumerate(shape))


@dataclass(frozen=True, slots=True)
class Settings:
    """How elements are blended: the attributes of Resize."""

    mode: str
    transformation: str
    rounding: str = "simple"
    cubic_a: float = -0.75
    excludes_outside: bool = False
    antialias: bool = False
    outside: float = 0.0


def _resampled(xp: Any, x: Array, scales: Scales, how: Settings, out: Array | None) -> Array:
    """`x` resampled along the axes of `scales` that change, into `out`."""
    y = xp.empty(_resampled_shape(x.shape, scales), x.dtype) if out is None else out
    if not y.size:
        return y
    changed = {axis: scale for axis, scale in scales.items() if is_changed(scale, how.transformation)}
    launches = list(_launches(changed, 1 if how.antialias and how.mode != "nearest" else _AXES_A_LAUNCH))
    if not launches:
        copy(y, x)
        return y
    x = dense(xp, x)
    between = x.dtype if how.mode == "nearest" else np.dtype(_COMPUTED[name_of(x.dtype)])
    for chosen in launches[:-1]:
        x = _launch(x, chosen, how, between, xp.empty(_resampled_shape(x.shape, chosen), between))
    return _launch(x, launches[-1], how, between, y)


def _launch(x: Array, scales: Scales, how: Settings, computed: np.dtype, y: Array) -> Array:
    transformation = _number("coordinate_transformation_mode", _TRANSFORMATIONS, how.transformation)
    structure, first = _structure(x.shape, scales), min(scales)
    outer, taken, places = prod(x.shape[:first]), prod(x.shape[first:]), prod(y.shape[first:])
    threads = whole_warps(places, THREADS)
    blocks = blocks_for(places, threads)
    grid = (blocks, min(outer, max(1, _BUSY_THREADS // (blocks * threads)))), threads
    is_small = max(taken, places) < _MANY
    if how.mode == "nearest":
        rounding = _number("nearest_mode", _ROUNDINGS, how.rounding)
        bits = int(np.array(how.outside, x.dtype).view(f"i{x.dtype.itemsize}"))
        crops = how.transformation == "tf_crop_and_resize"
        kernel = NEAREST.instance(unit=_UNITS[x.dtype.itemsize], index="int" if is_small else "long long")
        kernel.launch(*grid, x, y, outer, taken, places, structure, transformation, rounding, crops, bits)
        return y
    blending = how.cubic_a, how.excludes_outside, how.outside
    taps_and_axes = f"{4 if how.mode == 'cubic' else 2}, {len(scales)}"
    if is_small and not how.antialias and x.dtype == y.dtype and taps_and_axes in INTERPOLATE.choices["taps_and_axes"]:
        kernel = INTERPOLATE.instance(T=x.dtype, taps_and_axes=taps_and_axes)
        kernel.launch(*grid, x, y, outer, taken, places, structure, transformation, *blending)
        return y
    names = ", ".join(C_TYPES[name_of(dtype)] for dtype in (x.dtype, y.dtype, computed))
    filtering = (2 if how.antialias else 0) + (how.mode == "cubic")
    BLEND.instance(instance=names).launch(blocks_for(y.size), THREADS, x, y, y.size, structure, transformation, filtering, *blending)
    return y


def _refusal(operation: Operation) -> str | None:
    first, mode = operation.inputs[0], operation.attributes.get("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear", "cubic"):
        return f"knows the modes nearest, linear and cubic, not {mode!r}"
    kind = None if first is None or first.dtype is None else name_of(first.dtype)
    return None if mode == "nearest" or kind in _BLENDED else f"blends {', '.join(sorted(_BLENDED))}, not {kind}"


@operator("Resize", since=11, specs=array_specs("Resize"), host=("roi", "scales", "sizes"), types=NUMBERS, when=_refusal)
def resize(
    xp: Any,
    x: Array,
    roi: Array = None,
    scales: Array = None,
    sizes: Array = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    out: Array = None,
) -> Array:
    """Resampled to new sizes or by factors. Spec: https://onnx.ai/onnx/operators/onnx__Resize.html"""
    how = Settings(
        mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(exclude_outside), bool(antialias), extrapolation_value
    )
    return _resampled(xp, x, axis_scales(x, roi, scales, sizes, axes, keep_aspect_ratio_policy), how, out)


def _upsampled(xp: Any, x: Array, scales: Array, mode: str, out: Array | None) -> Array:
    """The resampling of the opsets before 11: coordinates divided by the factor, cut off or (downsampling) rounded up."""
    return _resampled(xp, x, axis_scales(x, None, scales, None, None, "stretch"), Settings(mode, "asymmetric"), out)


@operator("Resize", since=10, specs=array_specs("Resize", 10), host=("scales",), types=NUMBERS, when=_refusal)
def resize_by_scales(xp: Any, x: Array, scales: Array, *, mode: str = "nearest", out: Array = None) -> Array:
    """Resampled by factors. Spec: https://onnx.ai/onnx/operators/onnx__Resize.html (opset 10)"""
    return _upsampled(xp, x, scales, mode, out)


@operator("Upsample", since=9, specs=array_specs("Upsample", 9), host=("scales",), types=NUMBERS, when=_refusal)
def upsample(xp: Any, x: Array, scales: Array, *, mode: str = "nearest", out: Array = None) -> Array:
    """Resampled by factors. Spec: https://onnx.ai/onnx/operators/onnx__Upsample.html"""
    return _upsampled(xp, x, scales, mode, out)
