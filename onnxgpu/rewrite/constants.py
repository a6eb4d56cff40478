"""Compute what depends on constants alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxgpu.model_file import is_constant
from onnxgpu.rewrite.editing import Rewriting, bodies
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import attribute, constant_array, constant_shape, described, given, integers

RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"})
"""ai.onnx operators whose result is not a function of their inputs (Dropout is one in training only)."""

_KEPT = frozenset({"Constant", "Dropout", "DequantizeLinear"})
"""Not folded: has a rule of its own, may be random, would undo the compression of quantised weights."""


@node_rule("Constant")
def lift_constant(node: ir.Node, rewriting: Rewriting) -> str | None:
    """Make a Constant node an initializer (a node that is a graph output becomes an initializer of that name)."""
    array = _constant_attribute(node)
    if array is None:
        return None
    return _become_constants(node, [array], rewriting)


@node_rule()
def fold_constants(node: ir.Node, rewriting: Rewriting) -> str | None:
    """Run a node whose inputs are all constant, once and for all.

    The result may take `fold_limit_bytes`, or as many bytes as the inputs. Random operators, control flow and
    DequantizeLinear are left alone, and so is a node that cannot be run: its error belongs to the run.
    """
    if (
        not all(value is None or is_constant(value) for value in node.inputs)
        or node.op_type in RANDOM | _KEPT
        or any(True for _ in bodies(node))
    ):
        return None
    if all(value is None for value in node.inputs) or any(
        isinstance(value.type, ir.SequenceType | ir.OptionalType) for value in node.outputs
    ):
        return None
    limit = max(
        rewriting.fold_limit_bytes,
        sum(value.const_value.nbytes for value in node.inputs if value is not None and value.const_value is not None),
    )
    if _expected_bytes(node) > limit:
        return None
    results = _evaluate(node, rewriting)
    if results is None or sum(result.nbytes for result in results) > limit:
        return None
    return _become_constants(node, results, rewriting)


def _evaluate(node: ir.Node, rewriting: Rewriting) -> list[np.ndarray] | None:
    """The results of `node`, or None if it cannot be run, gives something other than tensors, or another type than declared."""
    try:
        with np.errstate(all="ignore"):
            results: Sequence[object] | None = rewriting.evaluate(node, [constant_array(value) for value in node.inputs])
    except Exception:
        # Whatever goes wrong here goes wrong again when the node runs, if it ever does; loading must not fail for it.
        return None
    if results is None or len(results) < len(node.outputs):
        return None
    arrays = [result for result in results[: len(node.outputs)] if isinstance(result, np.ndarray)]
    fits = len(arrays) == len(node.outputs) and all(map(_has_declared_type, arrays, node.outputs))
    return arrays if fits else None


def _has_declared_type(array: np.ndarray, value: ir.Value) -> bool:
    return value.dtype is None or (ir.DataType.STRING if array.dtype.kind in "OUS" else ir.DataType.from_numpy(array.dtype)) == value.dtype


def _become_constants(node: ir.Node, arrays: list[np.ndarray], rewriting: Rewriting) -> str:
    """Put initializers with the names of the node's outputs in the place of the node."""
    text = described(node)
    for output, array in zip(node.outputs, arrays, strict=True):
        if not output.name or not (output.uses() or output.is_graph_output()):
            continue
        name, output.name = output.name, None
        constant = rewriting.constant(node, array, name, text, exact_name=True)
        output.replace_all_uses_with(constant, replace_graph_outputs=True)
        output.name = None
    rewriting.remove(node)
    return text


def _constant_attribute(node: ir.Node) -> np.ndarray | None:
    if len(node.attributes) != 1:
        return None
    name, found = next(iter(node.attributes.items()))
    if found.is_ref():
        return None
    if name == "value":
        array = found.as_tensor().numpy()
        return np.asarray(array)
    if name in ("value_int", "value_ints"):
        return np.array(found.value, dtype=np.int64)
    if name in ("value_float", "value_floats"):
        return np.array(found.value, dtype=np.float32)
    return np.array(found.value, dtype=object) if name in ("value_string", "value_strings") else None


def _expected_bytes(node: ir.Node) -> int:
    """A lower bound of the bytes of the results, as far as it can be told without running the node."""
    total = 0
    for value in node.outputs:
        known = value.shape is not None and value.dtype is not None and not value.dtype.is_string() and value.shape.is_static()
        if known and value.shape is not None and value.dtype is not None:
            total += math.ceil(math.prod(value.shape.numpy()) * value.dtype.itemsize)
    return max(total, _made_elements(node))


def _made_elements(node: ir.Node) -> int:
    """How many elements an operator makes whose output size is the value of an input."""
    if node.op_type == "ConstantOfShape":
        return math.prod(integers(given(node, 0)) or [0])
    if node.op_type == "Expand":
        return max(math.prod(integers(given(node, 1)) or [0]), math.prod(constant_shape(given(node, 0)) or ()))
    if node.op_type == "Tile":
        return math.prod([*(integers(given(node, 1)) or [0]), *(constant_shape(given(node, 0)) or ())])
    if node.op_type == "OneHot":
        return math.prod([*(integers(given(node, 1)) or [0]), *(constant_shape(given(node, 0)) or ())])
    if node.op_type == "Range" and len(node.inputs) == 3:
        ends = [constant_array(value) for value in node.inputs]
        start, stop, step = (float(end.reshape(-1)[0]) if end is not None and end.size else 0.0 for end in ends)
        return max(0, math.ceil((stop - start) / step)) if step and math.isfinite((stop - start) / step) else 0
    if node.op_type == "Pad":
        pads = integers(given(node, 1)) or list(attribute(node, "pads", ()))
        shape = constant_shape(given(node, 0)) or ()
        if len(pads) == 2 * len(shape):
            return math.prod(size + pads[i] + pads[len(shape) + i] for i, size in enumerate(shape))
    return 0
