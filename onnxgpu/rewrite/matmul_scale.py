"""Fold a constant that scales the columns of a matrix product into the constant matrix."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxgpu.model_file import is_constant
from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import (
    constant_array,
    constant_shape,
    described,
    dimensions,
    element_type,
    given,
    read_only_here,
)
from onnxgpu.rewrite.weights import FLOATING, replace_weight, rounded


@node_rule("Mul", "Div")
def fold_matmul_scale(node: ir.Node, rewriting: Rewriting) -> str | None:
    """`MatMul(x, W) * c` and `(MatMul(x, W) + b) * c` become `MatMul(x, W * c)` and `… + b * c`.

    W has to be a constant matrix, b and c constant vectors along its columns or single numbers.
    """
    for index in (0, 1) if node.op_type == "Mul" else (0,):
        source, scale = node.inputs[index], given(node, 1 - index)
        if source is None or not is_constant(scale) or not read_only_here(source, node):
            continue
        product, addition = _product_before(source)
        if product is not None:
            return _scale(node, source, product, addition, scale, rewriting)
    return None


def _product_before(source: ir.Value) -> tuple[ir.Node | None, ir.Node | None]:
    """The MatMul that makes `source`, and the addition of a constant between the two, if there is one."""
    node = source.producer()
    if node is None or node.domain:
        return None, None
    if node.op_type == "MatMul":
        return node, None
    if node.op_type != "Add" or len(node.inputs) != 2:
        return None, None
    for index in (0, 1):
        inner, bias = node.inputs[index], node.inputs[1 - index]
        product = inner.producer() if inner is not None else None
        if (
            product is not None
            and product.op_type == "MatMul"
            and not product.domain
            and is_constant(bias)
            and inner is not None
            and read_only_here(inner, node)
        ):
            return product, node
    return None, None


def _scale(
    node: ir.Node, source: ir.Value, product: ir.Node, addition: ir.Node | None, scale: ir.Value | None, rewriting: Rewriting
) -> str | None:
    weight_value = given(product, 1)
    shape = constant_shape(weight_value)
    if shape is None or len(shape) != 2 or element_type(weight_value) not in FLOATING:
        return None
    columns, position = shape[1], _constant_input(addition)
    if not _runs_along_columns(scale, columns, source) or (
        addition is not None and not _runs_along_columns(addition.inputs[position], columns, source)
    ):
        return None
    weight, factors = constant_array(weight_value), constant_array(scale)
    assert weight is not None
    assert factors is not None
    factor = factors.astype(np.float64)
    with np.errstate(divide="ignore"):
        factor = 1 / factor if node.op_type == "Div" else factor
    if not np.isfinite(factor).all():
        return None
    wide = np.result_type(weight.dtype, np.float32) if weight.dtype.kind == "f" else np.dtype(np.float32)
    new_weight = rounded(weight * factor.reshape(-1).astype(wide), weight.dtype)
    bias = constant_array(addition.inputs[position]) if addition is not None else None
    new_bias = rounded(bias.astype(np.float64) * factor, weight.dtype) if bias is not None else None
    if new_weight is None or (bias is not None and new_bias is None):
        return None
    text, sources = f"{described(node)} into {described(product)}", f"{described(product)}, {described(node)}"
    replace_weight(product, 1, new_weight, sources, rewriting)
    rewriting.mark(product, sources)
    if addition is not None and new_bias is not None:
        replace_weight(addition, position, new_bias, sources, rewriting)
    rewriting.replace(node.outputs[0], source)
    rewriting.remove(node)
    return text


def _constant_input(addition: ir.Node | None) -> int:
    return 0 if addition is not None and is_constant(addition.inputs[0]) else 1


def _runs_along_columns(constant: ir.Value | None, columns: int, product: ir.Value) -> bool:
    """True if broadcasting `constant` against the product repeats it along the columns and gives no other shape."""
    shape, result = constant_shape(constant), dimensions(product)
    if shape is None or any(size != 1 for size in shape[:-1]) or (shape and shape[-1] not in (1, columns)):
        return False
    return len(shape) <= 1 or (result is not None and len(shape) <= len(result))
