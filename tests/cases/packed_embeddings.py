"""GatherPacked, over random bytes with moderate scales."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto as T

from onnxgpu.providers.array_ops.packed_embeddings import FORMATS
from tests.cases import Case
from tests.cases.random_arrays import integers, normal

_SCALES = {"Q4_0": (0,), "Q5_0": (0,), "Q8_0": (0,), "Q2_0": (0,), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,)}
"""Where the float16 numbers of a block lie."""


def _table(number: int, rows: int, width: int) -> np.ndarray:
    form = FORMATS[number]
    if form.elements == 1:
        values = normal(rows, width)
        return (values.view("u4") >> 16).astype("u2").view("u1") if form.name == "BF16" else values.astype(f"f{form.size}").view("u1")
    blocks = integers(rows, width // form.elements, form.size, low=0, high=256, dtype="u1", seed=number)
    for start in _SCALES[form.name]:
        blocks[..., start : start + 2] = normal(*blocks.shape[:2], 1, dtype="e", seed=start).view("u1")
    return blocks.reshape(rows, -1)


def _case(number: int, indices: np.ndarray, output: int, blocks: int = 2) -> Case:
    width = FORMATS[number].elements * blocks
    attributes = {"packed_type": number, "K": width, "output_dtype": output}
    return Case("GatherPacked", [_table(number, 5, width), indices], attributes, opset=1, domain="com.microsoft")


_INDICES = np.array([[4, 0, -1], [7, 2, 2]], "i8")

CASES = [
    *(_case(number, _INDICES, T.FLOAT) for number in FORMATS),
    *(_case(number, _INDICES[0].astype("i4"), T.FLOAT16) for number in (2, 14, 23)),
    _case(8, np.zeros((0, 2), "i8"), T.FLOAT),
    _case(30, np.array(3), T.FLOAT, blocks=5),
]
