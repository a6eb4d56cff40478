"""Operators that are timed on a GPU one by one: sizes, arithmetic, traffic, and what torch calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]
LAST_AXIS = np.array([-1])
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
        opset: of the model.
        has_own_kernels: a library computes it, and kernels of our own can.
        constants: inputs after those of `shapes`, part of the model.
        damping: the numbers are divided by the last size to the power of this; a recurrence whose steps amplify is not comparable.
        in_onnxruntime: onnxruntime's CUDA provider runs it without ending the process.
    """

    name: str
    operator: str
    shapes: tuple[Shape, ...]
    dtype: str
    torch: Callable[..., Any]
    flops: float = 0.0
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 21
    has_own_kernels: bool = False
    constants: tuple[Any, ...] = ()
    damping: float = 0.25
    in_onnxruntime: bool = True

    def model(self) -> bytes:
        """A model of this node alone."""
        names = [f"x{i}" for i in range(len(self.shapes))]
        inputs = [helper.make_tensor_value_info(n, _TYPES[self.dtype], s) for n, s in zip(names, self.shapes, strict=True)]
        constants = [numpy_helper.from_array(np.asarray(value), f"c{i}") for i, value in enumerate(self.constants)]
        outputs = ["y", "indices"] if self.operator == "TopK" else ["y"]
        node = helper.make_node(self.operator, [*names, *(c.name for c in constants)], outputs, **self.attributes)
        output = helper.make_tensor_value_info("y", _TYPES[self.dtype], None)
        graph = helper.make_graph([node], "g", inputs, [output], constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        serialized: bytes = made.SerializeToString()
        return serialized

    def feeds(self) -> dict[str, np.ndarray]:
        """Normal numbers, damped so that sums stay of order one."""
        rng = np.random.default_rng(0)
        scale = max(shape[-1] for shape in self.shapes) ** -self.damping
        return {f"x{i}": (rng.standard_normal(shape) * scale).astype(self.dtype) for i, shape in enumerate(self.shapes)}


def _lstm(t: Any, x: Any, w: Any, r: Any) -> Any:
    """torch's, whose gates lie in another order: what it gives is not compared."""
    return t.lstm(x, (t.zeros_like(x[:1]),) * 2, (w[0], r[0]), False, 1, 0.0, False, False, False)


def cases(small: bool = False) -> list[OperatorCase]:
    """All of them; `small` ones are for correctness alone."""
    n, rows, image, channels = (32, 8, 14, 8) if small else (4096, 8192, 56, 64)
    steps, batch, hidden = (3, 2, 16) if small else (128, 32, 512)
    found = []
    for dtype in ("float32", "float16"):
        size = f"{n}×{n}"
        found += [
            OperatorCase(
                f"MatMul {size}", "MatMul", ((n, n), (n, n)), dtype, lambda t, a, b: t.matmul(a, b), 2.0 * n**3, has_own_kernels=True
            ),
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
                2.0 * 8 * image**2 * channels**2 * 9, {"pads": [1, 1, 1, 1]}, has_own_kernels=True,
            ),
            OperatorCase(
                f"Conv depthwise 3×3 {8 * channels}×{image}×{image}", "Conv",
                ((8, 8 * channels, image, image), (8 * channels, 1, 3, 3)), dtype,
                lambda t, x, w: t.nn.functional.conv2d(x, w, padding=1, groups=x.shape[1]),
                attributes={"pads": [1, 1, 1, 1], "group": 8 * channels}, has_own_kernels=True,
            ),
            OperatorCase(
                f"Attention 16×{rows // 8}×64", "Attention", ((4, 16, rows // 8, 64),) * 3, dtype,
                lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v), 4.0 * 4 * 16 * (rows // 8) ** 2 * 64, opset=23,
            ),
            OperatorCase(
                f"ReduceMean {rows}×{n} rows", "ReduceMean", ((rows, n),), dtype, lambda t, x: t.mean(x, 1), constants=(LAST_AXIS,)
            ),
            OperatorCase(f"Concat {size}", "Concat", ((n, n), (n, n)), dtype, lambda t, a, b: t.cat((a, b), 1), attributes={"axis": 1}),
            OperatorCase(
                f"MaxPool {8 * channels}×{image}×{image}", "MaxPool", ((8, 8 * channels, image, image),), dtype,
                lambda t, x: t.nn.functional.max_pool2d(x, 3, 2, 1),
                attributes={"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
            ),
            OperatorCase(
                f"InstanceNormalization {channels}×{image}×{image}", "InstanceNormalization",
                ((8, channels, image, image), (channels,), (channels,)), dtype,
                lambda t, x, w, b: t.nn.functional.instance_norm(x, weight=w, bias=b),
            ),
            OperatorCase(f"CumSum {rows}×{n}", "CumSum", ((rows, n),), dtype, lambda t, x: t.cumsum(x, 1), constants=(np.int64(1),)),
            OperatorCase(
                f"LSTM {steps} steps of {batch}×{hidden}", "LSTM",
                ((steps, batch, hidden), (1, 4 * hidden, hidden), (1, 4 * hidden, hidden)), dtype, _lstm,
                16.0 * steps * batch * hidden**2, {"hidden_size": hidden}, has_own_kernels=True, damping=0.5,
                in_onnxruntime=False,  # 1.31.1 frees pinned memory in a callback of the stream, where CUDA refuses it, and aborts
            ),
            OperatorCase(f"TopK {rows}×{n}", "TopK", ((rows, n),), dtype, lambda t, x: t.topk(x, 16), constants=(np.array([16]),)),
            OperatorCase(
                f"Conv 1×1 {8 * channels}×{image}×{image}", "Conv",
                ((1, 8 * channels, image, image), (channels, 8 * channels, 1, 1)), dtype,
                lambda t, x, w: t.nn.functional.conv2d(x, w), 2.0 * image**2 * 8 * channels**2, has_own_kernels=True,
            ),
            OperatorCase(
                f"Resize {4 * channels}×{image}×{image} linear ×2", "Resize", ((1, 4 * channels, image, image),), dtype,
                lambda t, x: t.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
                attributes={"mode": "linear"}, constants=(np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)),
            ),
        ]  # fmt: skip
    return found
