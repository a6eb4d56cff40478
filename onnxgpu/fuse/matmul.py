"""A matrix product with what follows it: a bias and an activation, or a constant factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.fuse.convolution import activation_attributes
from onnxgpu.fuse.fusion import Fusion, constants_fit, other_input, scalar, sole_reader
from onnxgpu.model_file import is_constant

if TYPE_CHECKING:
    import onnx_ir as ir


def matmul_with_epilogue(node: ir.Node) -> Fusion | None:
    """MatMul by a constant matrix plus a constant vector, then an activation; or MatMul times a constant.

    Args:
        node: a MatMul.
    """
    if node.op_type != "MatMul" or node.domain not in ("", "ai.onnx"):
        return None
    reader = sole_reader(node.outputs[0])
    if reader is None:
        return None
    if reader.op_type in ("Mul", "Div") and reader.domain in ("", "ai.onnx"):
        return _scaled(node, reader)
    if reader.op_type == "Add" and reader.domain in ("", "ai.onnx"):
        return _with_bias(node, reader)
    return None


def _scaled(node: ir.Node, product: ir.Node) -> Fusion | None:
    """Not for whole numbers: their division rounds towards 0, which a factor does not."""
    factor = other_input(product, node.outputs[0])
    value = scalar(factor)
    kind = None if factor is None or factor.dtype is None else factor.dtype
    if value is None or kind is None or not kind.is_floating_point() or not constants_fit([product], node.outputs[0]):
        return None
    if product.op_type == "Div":
        if product.inputs[1] is not factor or value == 0:
            return None
        value = 1 / value
    return Fusion((node, product), "FusedMatMul", tuple(node.inputs), {"alpha": value}, domain="com.microsoft")


def _with_bias(node: ir.Node, add: ir.Node) -> Fusion | None:
    bias, weight = other_input(add, node.outputs[0]), node.inputs[1]
    if bias is None or weight is None or not is_constant(bias) or not is_constant(weight):
        return None
    if weight.shape is None or bias.shape is None or len(weight.shape) != 2 or len(bias.shape) != 1 or bias.shape[0] != weight.shape[1]:
        return None
    chain = [node, add]
    attributes: dict[str, object] = {"activation": ""}
    activation = sole_reader(add.outputs[0])
    if activation is not None:
        found = _activation(activation)
        if found is not None:
            attributes = found
            chain.append(activation)
    return Fusion(tuple(chain), "FusedMatMul", (node.inputs[0], weight, bias), attributes)


def _activation(node: ir.Node) -> dict[str, object] | None:
    if node.op_type == "Gelu" and node.domain in ("", "ai.onnx", "com.microsoft"):
        form = node.attributes.get("approximate")
        return {"activation": "Gelu" if form is None or form.as_string() == "none" else "GeluTanh"}
    return activation_attributes(node)
