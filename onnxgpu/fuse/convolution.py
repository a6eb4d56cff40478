"""A convolution with what follows it: an addition of a tensor of the same shape, then an activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxgpu.fuse.fusion import Fusion, float_attribute, other_input, same_kind, scalar, sole_reader

if TYPE_CHECKING:
    import onnx_ir as ir


def convolution_with_epilogue(node: ir.Node) -> Fusion | None:
    """Conv, then Add of another tensor (a residual), then Relu, Clip, Sigmoid, HardSwish or Swish; either may be absent.

    Args:
        node: a Conv.
    """
    if node.op_type != "Conv" or node.domain not in ("", "ai.onnx"):
        return None
    chain, residual = [node], None
    add = sole_reader(node.outputs[0])
    if add is not None and add.op_type == "Add" and add.domain in ("", "ai.onnx"):
        other = other_input(add, node.outputs[0])
        if other is not None and same_kind(other, node.outputs[0]) and other is not node.outputs[0]:
            residual = other
            chain.append(add)
    activation = sole_reader(chain[-1].outputs[0])
    attributes = activation_attributes(activation) if activation is not None else None
    if activation is not None and attributes is not None:
        chain.append(activation)
    if len(chain) == 1:
        return None
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    epilogue = attributes or {"activation": ""}
    return Fusion(tuple(chain), "FusedConv", (node.inputs[0], node.inputs[1], bias, residual), {**node.attributes, **epilogue})


def activation_attributes(node: ir.Node) -> dict[str, Any] | None:
    """The attributes `activation`, `activation_alpha`, `activation_beta` that stand for `node`, if it is an activation."""
    if node.op_type in ("Relu", "Sigmoid", "HardSwish") and node.domain in ("", "ai.onnx"):
        return {"activation": node.op_type}
    if node.op_type == "Swish" and float_attribute(node, "alpha", 1.0) == 1.0:
        return {"activation": "Silu"}
    if node.op_type == "Clip" and len(node.inputs) == 3:
        low, high = scalar(node.inputs[1]), scalar(node.inputs[2])
        if low is not None and high is not None:
            return {"activation": "Clip", "activation_alpha": low, "activation_beta": high}
    if node.op_type == "Clip" and "min" in node.attributes and "max" in node.attributes:
        return {
            "activation": "Clip",
            "activation_alpha": float_attribute(node, "min", 0.0),
            "activation_beta": float_attribute(node, "max", 0.0),
        }
    return None
