"""SiLU, written out by exporters: x·sigmoid(x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.fuse.fusion import Fusion, sole_reader_named

if TYPE_CHECKING:
    import onnx_ir as ir

SWISH_VERSION = 24


def silu(node: ir.Node) -> Fusion | None:
    """Sigmoid(x) whose only reader multiplies it by x.

    Args:
        node: a Sigmoid.
    """
    if node.op_type != "Sigmoid":
        return None
    x = node.inputs[0]
    product = sole_reader_named(node.outputs[0], "Mul")
    if x is None or product is None or set(product.inputs) != {x, node.outputs[0]}:
        return None
    return Fusion((node, product), "Swish", (x,), {"alpha": 1.0}, domain="", version=SWISH_VERSION)
