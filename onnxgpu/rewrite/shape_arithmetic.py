"""Compute shapes that are known before the model runs, although other sizes of the same tensors are not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxgpu.model_file import is_constant
from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.known_elements import known_elements
from onnxgpu.rewrite.no_op_shapes import reshape_target
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import Dimension, attribute, described, dimensions, element_type, given, labelled


@node_rule("Shape", "Size", "Gather", "Slice", "Squeeze", "Unsqueeze", "Concat", "Reshape", "Add", "Sub", "Mul", "Div", "Cast", "Where")
def fold_shape_arithmetic(node: ir.Node, rewriting: Rewriting) -> str | None:
    """An integer tensor computed from shapes, all of whose elements are known, becomes a constant."""
    output = node.outputs[0]
    dtype = element_type(output) or (ir.DataType.INT64 if node.op_type in ("Shape", "Size") else element_type(given(node, 0)))
    if dtype not in (ir.DataType.INT64, ir.DataType.INT32) or (node.op_type == "Cast" and attribute(node, "to", 0) != dtype):
        return None
    elements = known_elements(output)
    if elements is None or not all(isinstance(item, int) for item in elements.reshape(-1)):
        return None
    try:
        array = elements.astype(dtype.numpy())
    except OverflowError:
        return None
    text, name = described(node), str(output.name)
    if output.is_graph_output():
        output.name = None
        constant = rewriting.constant(node, array, name, text, exact_name=True)
        output.replace_all_uses_with(constant, replace_graph_outputs=True)
    else:
        output.replace_all_uses_with(rewriting.constant(node, array, name, text))
    rewriting.remove(node)
    return text


@node_rule("Reshape")
def fix_reshape_target(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A target computed from shapes becomes a constant where 0 ("as the input has it") or -1 can say the unknown sizes.

    0 says every unknown size that is the input's at the same place; failing that, -1 says a single unknown size among
    known positive ones. The two together would not do for an empty tensor, for which -1 is ambiguous.
    """
    wanted, source = given(node, 1), given(node, 0)
    target = None if wanted is None or is_constant(wanted) else reshape_target(node)
    if wanted is None or target is None or (attribute(node, "allowzero", 0) and 0 in target):
        return None
    fixed = _with_zeros(target, dimensions(source)) or _with_inferred(target)
    if fixed is None:
        return None
    # No size is told to be 0, so that `allowzero` makes no difference but for the zeros put in here.
    node.attributes.pop("allowzero", None)
    text = f"{described(node)} to {fixed} instead of {labelled(wanted)}"
    constant = rewriting.constant(node, np.array(fixed, dtype=np.int64), f"{node.outputs[0].name}_shape", described(node))
    rewriting.mark(node, labelled(wanted))
    rewriting.reconnect(node, 1, constant)
    return text


def _with_zeros(target: list[Dimension], shape: tuple[Dimension, ...] | None) -> list[int] | None:
    if shape is None:
        return None
    fixed: list[int] = []
    for axis, size in enumerate(target):
        if isinstance(size, int):
            fixed.append(size)
        elif size is not None and axis < len(shape) and shape[axis] == size:
            fixed.append(0)
        else:
            return None
    return fixed


def _with_inferred(target: list[Dimension]) -> list[int] | None:
    known = [size for size in target if isinstance(size, int)]
    if len(known) != len(target) - 1 or any(size <= 0 for size in known):
        return None
    return [size if isinstance(size, int) else -1 for size in target]
