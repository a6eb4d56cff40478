"""QuantizeLinear, DequantizeLinear: one scale, a scale for each slice of an axis, or for each block."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.dtypes import code_of, name_of
from tests.schemas.draw import Draw, Shape
from tests.schemas.examples import Example, generates


def granularity(draw: Draw, shape: Shape) -> tuple[Shape, dict[str, Any]]:
    """Shape of the scale, and the attributes that say so."""
    forms = ["tensor"] + (["axis"] if draw.version >= 13 else []) + (["blocks"] if draw.version >= 21 else [])
    form = draw.among(forms) if shape else "tensor"
    if form == "tensor":
        return (), {}
    axis = draw.axis(len(shape))
    if form == "axis":
        return (shape[axis],), {"axis": axis}
    size = draw.integer(1, max(1, shape[axis]))
    blocks = -(-shape[axis] // size)
    place = axis % len(shape)
    return (*shape[:place], blocks, *shape[place + 1 :]), {"axis": axis, "block_size": size}


def scales(draw: Draw, dtype: np.dtype, shape: Shape) -> np.ndarray:
    """Powers of two, so that quotients are exact and ties are met."""
    low = 0 if dtype == np.int32 else -2
    return np.asarray(np.exp2(draw.generator.integers(low, 3, shape)), dtype)


@generates("QuantizeLinear")
def quantize(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("x"), draw.shape((0, 3), (1, 4)), -20, 20)
    shape, attributes = granularity(draw, x.shape)
    zero_type = draw.dtype("y")
    inputs = [x, scales(draw, draw.dtype("y_scale"), shape)]
    if draw.flag() or (zero_type != np.uint8 and "output_dtype" not in draw.schema.attributes):
        low = 0 if "float" in name_of(zero_type) else -2
        inputs.append(draw.plain(zero_type, shape, low, 0 if low == 0 else 2))
        attributes |= {"output_dtype": code_of(zero_type)} if "output_dtype" in draw.schema.attributes and draw.flag() else {}
    elif zero_type != np.uint8 or (draw.flag() and "output_dtype" in draw.schema.attributes):
        attributes["output_dtype"] = code_of(zero_type)
    if name_of(zero_type).startswith("float8"):
        attributes |= draw.some({"saturate": lambda: draw.integer(0, 1)})
    return Example(inputs, attributes)


@generates("DequantizeLinear")
def dequantize(draw: Draw) -> Example:
    dtype = draw.dtype("x")
    x = draw.anything(dtype, draw.shape((0, 3), (1, 4))) if "float" not in name_of(dtype) else draw.plain(dtype, draw.shape((0, 3), (1, 4)))
    shape, attributes = granularity(draw, x.shape)
    inputs = [x, scales(draw, draw.dtype("x_scale"), shape)]
    if "output_dtype" in draw.schema.attributes and (draw.flag() or name_of(inputs[1].dtype) == "float8e8m0"):
        attributes["output_dtype"] = code_of(draw.dtype("y"))
    if draw.flag():
        zero = dtype == np.int32 or "float" in name_of(dtype)
        inputs.append(draw.plain(dtype, shape, 0, 0) if zero else draw.plain(dtype, shape))
    return Example(inputs, attributes)


@generates("DynamicQuantizeLinear")
def dynamic_quantize(draw: Draw) -> Example:
    return Example([draw.plain(draw.dtype("x"), draw.shape((0, 3), (1, 4)))], {}, 3)
