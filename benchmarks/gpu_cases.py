"""Operators that are timed on a GPU one by one: sizes, arithmetic, traffic, and what torch calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper

Shape = tuple[int, ...]
_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


@dataclass(frozen=True)
class OperatorCase:
    """One node.

    Attributes:
        name: in the report.
        operator: of ONNX.
        shapes: of the inputs.
        dtype: of all tensors.
        attributes: of the node.
        flops: floating-point operations of a run; 0: only the traffic counts.
        torch: the same in torch: `function(torch, *tensors)`.
    """

    name: str
    operator: str
    shapes: tuple[Shape, ...]
    dtype: str
    torch: Callable[..., Any]
    flops: float = 0.0
    attributes: dict[str, Any] = field(default_factory=dict)

    def model(self) -> bytes:
        """A model of this node alone, at opset 21."""
        names = [f"x{i}" for i in range(len(self.shapes))]
        inputs = [helper.make_tensor_value_info(n, _TYPES[self.dtype], s) for n, s in zip(names, self.shapes, strict=True)]
        node = helper.make_node(self.operator, names, ["y"], **self.attributes)
        output = helper.make_tensor_value_info("y", _TYPES[self.dtype], None)
        graph = helper.make_graph([node], "g", inputs, [output])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        serialized: bytes = made.SerializeToString()
        return serialized

    def feeds(self) -> dict[str, np.ndarray]:
        """Normal numbers, divided by the square root of the last size, so that sums stay of order one."""
        rng = np.random.default_rng(0)
        scale = max(shape[-1] for shape in self.shapes) ** -0.25
        return {f"x{i}": (rng.standard_normal(shape) * scale).astype(self.dtype) for i, shape in enumerate(self.shapes)}


def cases(small: bool = False) -> list[OperatorCase]:
    """All of them; `small` ones are for correctness alone."""
    n, rows, image, channels = (32, 8, 14, 8) if small else (4096, 8192, 56, 64)
    found = []
    for dtype in ("float32", "float16"):
        size = f"{n}×{n}"
        found += [
            OperatorCase(f"MatMul {size}", "MatMul", ((n, n), (n, n)), dtype, lambda t, a, b: t.matmul(a, b), 2.0 * n**3),
            OperatorCase(f"Add {size}", "Add", ((n, n), (n, n)), dtype, lambda t, a, b: t.add(a, b)),
            OperatorCase(f"Gelu {size}", "Gelu", ((n, n),), dtype, lambda t, x: t.nn.functional.gelu(x)),
            OperatorCase(f"Softmax {rows}×{n}", "Softmax", ((rows, n),), dtype, lambda t, x: t.softmax(x, -1)),
            OperatorCase(
                f"LayerNormalization {rows}×{n}", "LayerNormalization", ((rows, n), (n,), (n,)), dtype,
                lambda t, x, w, b: t.nn.functional.layer_norm(x, w.shape, w, b),
            ),
            OperatorCase(f"ReduceMax {rows}×{n}", "ReduceMax", ((rows, n),), dtype, lambda t, x: t.amax(x), attributes={"keepdims": 0}),
            OperatorCase(
                f"Transpose {size}", "Transpose", ((n, n),), dtype, lambda t, x: x.t().contiguous(), attributes={"perm": [1, 0]}
            ),
            OperatorCase(
                f"Conv 3×3 {channels}×{image}×{image}", "Conv", ((8, channels, image, image), (channels, channels, 3, 3)), dtype,
                lambda t, x, w: t.nn.functional.conv2d(x, w, padding=1),
                2.0 * 8 * image**2 * channels**2 * 9, {"pads": [1, 1, 1, 1]},
            ),
        ]  # fmt: skip
    return found
