"""Sequences, optionals and control flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxgpu.dtypes import code_of, dtype_named
from tests.schemas.draw import Draw, Shape
from tests.schemas.examples import Example, Typed, generates, initializer


def tensor_type(dtype: np.dtype, shape: Shape | None = None) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(code_of(dtype), shape)


def sequence(arrays: list[np.ndarray], dtype: np.dtype) -> Typed:
    return Typed(arrays, helper.make_sequence_type_proto(tensor_type(dtype)))


def element(type_name: str) -> np.dtype:
    """The element type inside `seq(tensor(float))`, `optional(tensor(float))` and such."""
    return dtype_named(type_name.rpartition("(")[2].rstrip(")"))


def drawn_sequence(draw: Draw, parameter: str, least: int = 0, shape: Shape | None = None) -> Typed:
    dtype = element(draw.type(parameter, lambda name: name.startswith("seq(tensor(")))
    return sequence([draw.anything(dtype, draw.shape() if shape is None else shape) for _ in range(draw.integer(least, 3))], dtype)


def position(draw: Draw, low: int, high: int) -> np.ndarray:
    return np.array(draw.integer(low, high), draw.dtype("position"))


@generates("SequenceConstruct")
def sequence_construct(draw: Draw) -> Example:
    dtype = draw.dtype("inputs")
    return Example([draw.anything(dtype, draw.shape()) for _ in range(draw.integer(1, 3))])


@generates("SequenceEmpty")
def sequence_empty(draw: Draw) -> Example:
    dtype = element(draw.type("output"))
    return Example([], draw.some({"dtype": lambda: code_of(dtype)}))


@generates("SequenceLength")
def sequence_length(draw: Draw) -> Example:
    return Example([drawn_sequence(draw, "input_sequence")])


@generates("SequenceAt")
def sequence_at(draw: Draw) -> Example:
    items = drawn_sequence(draw, "input_sequence", 1)
    count = len(items.value)
    if draw.seldom():
        return Example([items, np.array(count, draw.dtype("position"))], invalid="the position is beyond the end")
    return Example([items, position(draw, -count, count - 1)])


@generates("SequenceErase")
def sequence_erase(draw: Draw) -> Example:
    items = drawn_sequence(draw, "input_sequence", 1)
    count = len(items.value)
    if draw.seldom():
        return Example([items, np.array(-count - 1, draw.dtype("position"))], invalid="the position is before the beginning")
    return Example([items, position(draw, -count, count - 1)] if draw.flag() else [items])


@generates("SequenceInsert")
def sequence_insert(draw: Draw) -> Example:
    items = drawn_sequence(draw, "input_sequence")
    dtype = element(draw.type("input_sequence"))
    tensor, count = draw.anything(dtype, draw.shape()), len(items.value)
    return Example([items, tensor, position(draw, -count, count)] if draw.flag() else [items, tensor])


@generates("ConcatFromSequence")
def concat_from_sequence(draw: Draw) -> Example:
    shape = draw.shape((1, 3), (1, 3))
    items = drawn_sequence(draw, "input_sequence", 1, shape)
    new = draw.integer(0, 1)
    axis = draw.integer(-len(shape) - new, len(shape) - 1 + new)
    return Example([items], {"axis": axis, "new_axis": 1} if new else {"axis": axis})


@generates("SplitToSequence")
def split_to_sequence(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("input"), draw.shape((1, 3), (1, 4)))
    attributes = draw.some({"axis": lambda: draw.axis(x.ndim), "keepdims": lambda: draw.integer(0, 1)})
    size, kind = x.shape[attributes.get("axis", 0)], draw.dtype("split")
    if not draw.flag():
        return Example([x], attributes)
    first = draw.integer(1, size)
    parts = np.array(first, kind) if draw.flag() else np.array([first, size - first] if first < size else [first], kind)
    return Example([x, parts], attributes)


def graph(name: str, nodes: list[Any], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], constants: Any = ()) -> Any:
    return helper.make_graph(nodes, name, inputs, outputs, list(constants))


def info(name: str, dtype: Any, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, code_of(np.dtype(dtype)), shape)


@generates("SequenceMap")
def sequence_map(draw: Draw) -> Example:
    """A body that passes on the element, and one that passes on an additional tensor too."""
    items = drawn_sequence(draw, "input_sequence", 1)
    dtype = element(draw.type("input_sequence"))
    body = graph("body", [helper.make_node("Identity", ["item"], ["same"])], [info("item", dtype)], [info("same", dtype)])
    return Example([items], {"body": body})


@generates("Optional")
def optional(draw: Draw) -> Example:
    kind = draw.type("input")
    dtype = element(kind)
    inner = helper.make_sequence_type_proto(tensor_type(dtype)) if kind.startswith("seq") else tensor_type(dtype)
    if draw.seldom():
        return Example([], {"type": inner})
    return Example([drawn_sequence(draw, "input") if kind.startswith("seq") else draw.anything(dtype, draw.shape())])


def drawn_optional(draw: Draw, empty: bool) -> Any:
    kind = draw.type("input")
    dtype = element(kind)
    value: Any = draw.anything(dtype, draw.shape())
    inner = tensor_type(dtype)
    if "seq(" in kind:
        value, inner = [value], helper.make_sequence_type_proto(inner)
    if kind.startswith("optional"):
        return Typed(None if empty and draw.seldom() else value, helper.make_optional_type_proto(inner))
    return Typed(value, inner) if isinstance(value, list) else value


@generates("OptionalHasElement")
def optional_has_element(draw: Draw) -> Example:
    return Example([] if draw.version >= 18 and draw.seldom() else [drawn_optional(draw, empty=True)])


@generates("OptionalGetElement")
def optional_get_element(draw: Draw) -> Example:
    return Example([drawn_optional(draw, empty=False)])


@generates("If")
def if_(draw: Draw) -> Example:
    """Branches of constants, whose shapes differ from opset 11 on."""
    dtype = draw.dtype("outputs")
    shape = draw.shape()
    other = draw.shape() if draw.version >= 11 else shape
    branches = {}
    for name, size in (("then_branch", shape), ("else_branch", other)):
        value = initializer(f"{name}_value", draw.anything(dtype, size))
        node = helper.make_node("Constant", [], [f"{name}_out"], value=value)
        branches[name] = graph(name, [node], [], [info(f"{name}_out", dtype, size)])
    return Example([np.array(draw.flag()).reshape(draw.among([(), (1,)]) if draw.version >= 11 else (1,))], branches)


@generates("Loop")
def loop(draw: Draw) -> Example:
    """A carried value of any type, and its copies as a scan output; ended by the count, the condition, or at once."""
    dtype = draw.dtype("v_initial")
    shape = draw.shape()
    scalar: Shape = () if draw.flag() or draw.version >= 11 else (1,)
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in (("go", "go_on"), ("value", "next"), ("value", "copy"))]
    inputs = [info("step", np.int64, scalar), info("go", bool, scalar), info("value", dtype, shape)]
    outputs = [info("go_on", bool, scalar), info("next", dtype, shape), info("copy", dtype, shape)]
    count = np.array(draw.integer(0, 3)).reshape(scalar)
    condition = np.array(draw.integer(0, 3) > 0).reshape(scalar) if draw.flag() else None
    return Example([count, condition, draw.anything(dtype, shape)], {"body": graph("body", nodes, inputs, outputs)}, 2)


@generates("Scan")
def scan(draw: Draw) -> Example:
    """A state that stays and a scanned value that is copied, forward or backward, along any axis.

    At least one iteration, and no other axis than the first for empty outputs: onnxruntime divides by zero.
    """
    dtype = draw.dtype("initial_state_and_scan_inputs")
    state, rest, length = draw.shape(), draw.shape((0, 2)), draw.size(1, 3)
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in (("state", "kept"), ("item", "copy"))]
    inputs = [info("state", dtype, state), info("item", dtype, rest)]
    outputs = [info("kept", dtype, state), info("copy", dtype, rest)]
    body = graph("body", nodes, inputs, outputs)
    if draw.version == 8:
        batch = draw.integer(1, 2)
        arrays = [draw.anything(dtype, (batch, *state)), draw.anything(dtype, (batch, length, *rest))]
        return Example([None, *arrays], {"body": body, "num_scan_inputs": 1, **draw.some({"directions": lambda: [draw.integer(0, 1)]})}, 2)
    axis = draw.integer(-len(rest) - 1, len(rest)) if draw.version >= 11 else draw.integer(0, len(rest))
    place = axis % (len(rest) + 1)
    x = draw.anything(dtype, (*rest[:place], length, *rest[place:]))
    attributes = {"scan_input_axes": [axis], "body": body, "num_scan_inputs": 1}
    attributes |= draw.some(
        {
            "scan_input_directions": lambda: [draw.integer(0, 1)],
            "scan_output_directions": lambda: [draw.integer(0, 1)],
            "scan_output_axes": lambda: [0 if 0 in rest else draw.integer(-len(rest) - 1 if draw.version >= 11 else 0, len(rest))],
        }
    )
    return Example([draw.anything(dtype, state), x], attributes, 2)
