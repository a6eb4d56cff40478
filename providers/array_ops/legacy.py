"""Operators that ONNX took out of ai.onnx early and onnxruntime kept, for models up to opset 9.

Affine, Crop, DynamicSlice, ImageScaler, ParametricSoftplus, Scale, ScaledTanh. Source: onnxruntime's schemas of ai.onnx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.activations import softplus
from onnxgpu.providers.array_ops.elementwise import in_pieces
from onnxgpu.providers.array_ops.host_values import braced, integers
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.slicing import sliced
from onnxgpu.providers.array_ops.specs import like_first

FLOATS = frozenset({"double", "float", "float16"})


@operator("Affine", specs=like_first, types=FLOATS)
@in_pieces
def affine(xp: Any, x: Array, out: Array, *, alpha: float = 1.0, beta: float = 0.0) -> Array:
    """alpha x + beta."""
    xp.multiply(x, alpha, out=out)
    return xp.add(out, beta, out=out)


@operator("Scale", specs=like_first, types=FLOATS)
@in_pieces
def scale_by(xp: Any, x: Array, out: Array, *, scale: float = 1.0) -> Array:
    """scale x."""
    return xp.multiply(x, scale, out=out)


@operator("ScaledTanh", specs=like_first, types=FLOATS)
@in_pieces
def scaled_tanh(xp: Any, x: Array, out: Array, *, alpha: float, beta: float) -> Array:
    """alpha tanh(beta x)."""
    xp.multiply(x, beta, out=out)
    xp.tanh(out, out=out)
    return xp.multiply(out, alpha, out=out)


@operator("ParametricSoftplus", specs=like_first, types=FLOATS)
@in_pieces
def parametric_softplus(xp: Any, x: Array, out: Array, *, alpha: float, beta: float) -> Array:
    """alpha log(1 + exp(beta x)), without overflow."""
    softplus(xp, xp.multiply(x, beta), out=out)
    return xp.multiply(out, alpha, out=out)


@operator("ImageScaler", specs=like_first, types=FLOATS)
def image_scaler(xp: Any, x: Array, *, bias: Sequence[float], scale: float = 1.0, out: Array = None) -> Array:
    """scale x + the bias of its channel, for images (N, C, H, W)."""
    _check_images("ImageScaler", x)
    if len(bias) != x.shape[1]:
        raise InvalidArgument(f"ImageScaler: expected one bias a channel, {x.shape[1]}, got {len(bias)}")
    result = xp.multiply(x, scale, out=out)
    result += xp.asarray(bias, dtype=x.dtype).reshape(-1, 1, 1)
    return result


@operator("Crop", view=True, types=FLOATS)
def crop(xp: Any, x: Array, *, border: Sequence[int] = (), scale: Sequence[int] | None = None) -> Array:
    """Images (N, C, H, W) without the border (left, top, right, bottom), or `scale` (height, width) of them from its left top corner."""
    _check_images("Crop", x)
    if len(border) != 4 or (scale and len(scale) != 2):
        raise InvalidArgument(f"Crop: expected four numbers in border and two in scale, got {list(border)} and {list(scale or ())}")
    left, top, right, bottom = border
    height, width = x.shape[2:]
    rows, columns = scale or (height - top - bottom, width - left - right)
    if min(border) < 0 or min(rows, columns) < 0 or top + rows > height or left + columns > width:
        raise InvalidArgument(f"Crop: border {list(border)} and scale {list(scale or ())} do not fit into an image {braced(x.shape[2:])}")
    return x[:, :, top : top + rows, left : left + columns]


@operator("DynamicSlice", view=True, host=("starts", "ends", "axes"))
def dynamic_slice(xp: Any, data: Array, starts: Array, ends: Array, axes: Array | None = None) -> Array:
    """Elements `starts:ends` of `axes` (the first ones by default)."""
    return sliced(data, integers(starts), integers(ends), None if axes is None else integers(axes), None)


def _check_images(name: str, x: Array) -> None:
    if len(x.shape) != 4:
        raise InvalidArgument(f"{name}: expected an input (N, C, H, W), got shape {braced(x.shape)}")
