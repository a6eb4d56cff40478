"""Where casts stand: at boundaries alone, as few as can be, never one behind the other."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxgpu.providers.tensorrt.precision import PrecisionSettings, prepared
from onnxgpu.providers.tensorrt.precision.boundaries import small_nodes
from onnxgpu.providers.tensorrt.precision.choices import Choice, Kind, choices
from onnxgpu.providers.tensorrt.precision.constants import Conversions, converted
from onnxgpu.providers.tensorrt.precision.view import View, view_of
from onnxgpu.providers.tensorrt.precision.whole_model import cut_of, joined
from tests.random_graphs import random_graph
from tests.tensorrt.precision_support import (
    TOLERANCE,
    casts,
    checked,
    error,
    normal,
    reduced_model,
    run,
    run_in_onnxruntime,
    types,
    with_weights,
)

SMALL = ["float16", "bfloat16"]


def perceptron() -> onnx.ModelProto:
    text = """g (float[n,16] x) => (float[n,16] y) {
        [first] a = MatMul(x, v)
        [act] b = Relu(a)
        [second] c = MatMul(b, w)
        [sum] y = Add(c, x)
    }"""
    return with_weights(text, v=normal(16, 16, scale=0.25), w=normal(16, 16, seed=1, scale=0.25))


@pytest.mark.parametrize("small", SMALL)
def test_products_compute_in_the_small_type(small: str) -> None:
    proto = perceptron()
    result, report = reduced_model(proto, small)
    assert types(report) == {"first": small, "act": small, "second": small, "sum": small}
    assert report.casts == casts(result) == 2
    assert {i.data_type for i in result.graph.initializer} == {TensorProto.FLOAT16 if small == "float16" else TensorProto.BFLOAT16}
    feeds = {"x": normal(3, 16, seed=2)}
    assert error(run(proto, feeds), run(result, feeds)) < TOLERANCE[small]


def test_the_same_numbers_in_onnxruntime() -> None:
    result, _ = reduced_model(perceptron())
    feeds = {"x": normal(3, 16, seed=2)}
    assert error(run_in_onnxruntime(perceptron(), feeds), run_in_onnxruntime(result, feeds)) < TOLERANCE["float16"]


def test_no_small_type_gives_the_model_itself() -> None:
    cut = cut_of(perceptron())
    same, report = prepared(cut, PrecisionSettings())
    assert same is cut and not report.nodes


def test_large_weights_stay_beside_the_model() -> None:
    proto = with_weights("g (float[2,64] x) => (float[2,64] y) { y = MatMul(x, w) }", w=normal(64, 64))
    result, _ = prepared(cut_of(proto), PrecisionSettings(float16=True))
    assert {name: array.dtype for name, array in result.weights.items()} == {"w_float16": np.dtype(np.float16)}
    np.testing.assert_array_equal(result.weights["w_float16"], normal(64, 64).astype(np.float16))
    (declared,) = result.proto.graph.initializer
    assert declared.data_location == TensorProto.EXTERNAL and not declared.raw_data
    checked(proto, joined(result))


def test_nothing_changes_where_nothing_is_gained() -> None:
    proto = with_weights("g (float[4] x) => (float[4] y) { a = Exp(x)\n b = Relu(a)\n y = Add(b, x) }")
    result, report = reduced_model(proto)
    assert casts(result) == 0 and set(types(report).values()) == {"float32"}


def test_a_sum_is_cast_rather_than_what_is_added() -> None:
    text = "g (float[2,2] x, float[2,2] z) => (float[2,2] y) { [sum] a = Add(x, z)\n y = MatMul(a, w) }"
    result, report = reduced_model(with_weights(text, w=normal(2, 2)))
    assert types(report)["sum"] == "float32" and casts(result) == 2


def test_a_value_that_both_kinds_read_is_cast_once() -> None:
    text = """g (float[2,4] x) => (float[2,4] y, float[2,4] z) {
        a = MatMul(x, w)
        b = Exp(a)
        c = Sqrt(a)
        y = MatMul(a, w)
        z = Add(b, c)
    }"""
    result, report = reduced_model(with_weights(text, w=normal(4, 4)))
    assert report.casts == casts(result) == 3, "x down, a up, y up"


def test_casts_of_the_model_are_not_followed_by_ours() -> None:
    text = """g (int64[2,4] i) => (int64[2,4] j) {
        x = Cast<to: int = 1>(i)
        a = MatMul(x, w)
        j = Cast<to: int = 7>(a)
    }"""
    result, _ = reduced_model(with_weights(text, w=np.eye(4, dtype=np.float32)))
    assert [node.op_type for node in result.graph.node] == ["Cast", "MatMul", "Cast"]
    i = np.arange(8).reshape(2, 4)
    np.testing.assert_array_equal(run(result, {"i": i})[0], i)


def test_a_cast_to_the_small_type_that_is_there_already_goes() -> None:
    text = """g (float[2,4] x) => (float16[2,4] z) {
        a = MatMul(x, w)
        b = Cast<to: int = 10>(a)
        z = Relu(b)
    }"""
    result, _ = reduced_model(with_weights(text, w=normal(4, 4)))
    assert [node.op_type for node in result.graph.node] == ["Cast", "MatMul", "Relu"]
    assert run(result, {"x": normal(2, 4)})[0].dtype == np.float16


def test_a_part_that_is_small_already_is_joined_without_casts() -> None:
    text = """g (float16[2,4] h) => (float16[2,4] z) {
        x = Cast<to: int = 1>(h)
        a = MatMul(x, w)
        z = Cast<to: int = 10>(a)
    }"""
    proto = with_weights(text, w=normal(4, 4))
    result, _ = reduced_model(proto)
    assert [node.op_type for node in result.graph.node] == ["MatMul", "Cast"], "the last gives the output its name"
    h = normal(2, 4).astype(np.float16)
    np.testing.assert_allclose(run(result, {"h": h})[0], run(proto, {"h": h})[0], rtol=1e-2, atol=1e-2)


def test_a_cast_from_float32_to_float32_goes() -> None:
    text = "g (float[2,4] x) => (float[2,4] y) { a = MatMul(x, w)\n b = Cast<to: int = 1>(a)\n y = MatMul(b, w) }"
    result, _ = reduced_model(with_weights(text, w=normal(4, 4)))
    assert [node.op_type for node in result.graph.node] == ["Cast", "MatMul", "MatMul", "Cast"]


def test_outputs_that_are_read_inside_too() -> None:
    text = "g (float[2,4] x) => (float[2,4] a, float[2,4] y) { a = MatMul(x, w)\n b = Relu(a)\n y = MatMul(b, w) }"
    result, _ = reduced_model(with_weights(text, w=normal(4, 4)))
    assert casts(result) == 3


def test_what_bodies_read_keeps_its_type() -> None:
    text = """g (float[2,4] x, bool c) => (float[2,4] y) {
        a = MatMul(x, w)
        b = If(c) <then_branch = t () => (float[2,4] p) { p = Relu(a) }, else_branch = e () => (float[2,4] q) { q = Neg(a) }>
        y = MatMul(b, w)
    }"""
    proto = with_weights(text, w=normal(4, 4))
    result, report = reduced_model(proto)
    feeds = {"x": normal(2, 4), "c": np.array(True)}
    assert error(run(proto, feeds), run(result, feeds)) < TOLERANCE["float16"]
    assert casts(result) == 4 and [n.computes_in for n in report.nodes] == ["float16", "float32", "float16"]


def test_names_that_are_taken() -> None:
    text = "g (float[2,4] x, float[2,4] x_float16) => (float[2,4] y) { a = MatMul(x, w)\n y = Add(a, x_float16) }"
    proto = with_weights(text, w=normal(4, 4))
    result, _ = reduced_model(proto)
    feeds = {"x": normal(2, 4), "x_float16": normal(2, 4, seed=1)}
    assert error(run(proto, feeds), run(result, feeds)) < TOLERANCE["float16"]


def test_an_initializer_that_a_run_may_override_is_an_input() -> None:
    proto = with_weights("g (float[2,4] x) => (float[2,4] y) { y = MatMul(x, w) }", w=normal(4, 4))
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 4]))
    result, _ = reduced_model(proto)
    feeds = {"x": normal(2, 4), "w": np.eye(4, dtype=np.float32)}
    np.testing.assert_allclose(run(result, feeds)[0], feeds["x"], atol=1e-2)


INPUTS = ("x", "y", "u", "v")
SWAPPED = "rows swapped by Split and Concat"
UNARY = ("Relu", "Exp", "Neg", "Sqrt", "Identity", "Abs", SWAPPED)
BINARY = ("Add", "MatMul", "Mul", "MatMul")


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """Nodes of all kinds on 2×2 matrices."""
    values, nodes = list(INPUTS), []
    for index in range(draw(st.integers(1, 7))):
        operator = draw(st.sampled_from(UNARY + BINARY))
        operands = [draw(st.sampled_from([*values, "w"])) for _ in range(1 if operator in UNARY else 2)]
        if operator == SWAPPED:
            nodes.append(helper.make_node("Split", operands, [f"a{index}", f"b{index}"], axis=0, num_outputs=2, name=f"s{index}"))
            nodes.append(helper.make_node("Concat", [f"b{index}", f"a{index}"], [f"v{index}"], axis=0, name=f"n{index}"))
        else:
            nodes.append(helper.make_node(operator, operands, [f"v{index}"], name=f"n{index}"))
        values.append(f"v{index}")
    outputs = draw(st.lists(st.sampled_from(values[len(INPUTS) :]), min_size=1, max_size=3, unique=True))
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in (*INPUTS, *outputs)]
    weight = numpy_helper.from_array(np.full((2, 2), 0.25, np.float32), "w")
    graph = helper.make_graph(nodes, "g", declared[: len(INPUTS)], declared[len(INPUTS) :], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def boundaries(view: View, found: list[Choice], small: set[int]) -> int:
    """How many values are wanted in a type that their producer does not give."""
    count = 0
    for name in view.names:
        if view.is_constant(name) or not view.is_float32(name):
            continue
        given_small = view.producers.get(name) in small
        wanted = {reader in small for reader, _ in view.readers.get(name, ())}
        count += (not given_small) in (wanted | ({False} if name in view.outputs else set()))
    return count


@settings(deadline=None, max_examples=150)
@given(graphs())
def test_there_are_as_few_casts_as_can_be(proto: onnx.ModelProto) -> None:
    view = view_of(cut_of(proto))
    found = choices(view, Conversions(view, "float16"), PrecisionSettings(float16=True))
    fixed = {index for index, choice in enumerate(found) if choice.kind is Kind.SMALL}
    free = [index for index, choice in enumerate(found) if choice.kind is Kind.EITHER]
    subsets = itertools.chain.from_iterable(itertools.combinations(free, size) for size in range(len(free) + 1))
    fewest = min(boundaries(view, found, fixed | set(subset)) for subset in subsets)
    chosen = small_nodes(view, found)
    assert fixed <= chosen and boundaries(view, found, set(chosen)) == fewest
    result, report = reduced_model(proto)
    assert report.casts == casts(result) == fewest


@settings(deadline=None, max_examples=60)
@given(graphs(), st.sampled_from(SMALL))
def test_random_graphs_give_nearly_the_same(proto: onnx.ModelProto, small: str) -> None:
    result, _ = reduced_model(proto, small)
    feeds = {name: np.array([[1, 2], [0.5, 0.25]], np.float32) / (1 + index) for index, name in enumerate(INPUTS)}
    before, after = run(proto, feeds), run(result, feeds)
    for wanted, got in zip(before, after, strict=True):
        if np.isfinite(wanted).all() and np.max(np.abs(wanted)) < 1e3:
            np.testing.assert_allclose(got, wanted, rtol=30 * TOLERANCE[small], atol=TOLERANCE[small] * 10)


@settings(deadline=None, max_examples=60)
@given(graphs(), st.sampled_from(SMALL))
def test_no_cast_reads_another(proto: onnx.ModelProto, small: str) -> None:
    result, _ = reduced_model(proto, small)
    cast = {node.output[0] for node in result.graph.node if node.op_type == "Cast"}
    assert not any(node.input[0] in cast for node in result.graph.node if node.op_type == "Cast")


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("small", SMALL)
def test_graphs_with_bodies_sequences_and_shapes(seed: int, small: str) -> None:
    graph = random_graph(seed)
    result, _ = reduced_model(graph.model, small)
    feeds = graph.feeds(np.random.default_rng(seed), 2)
    for wanted, got in zip(run(graph.model, feeds), run(result, feeds), strict=True):
        if isinstance(wanted, np.ndarray) and wanted.dtype == np.float32 and wanted.size:
            assert wanted.shape == got.shape and error([wanted], [got]) < TOLERANCE[small]


@settings(deadline=None)
@given(st.lists(st.floats(width=32), max_size=20), st.sampled_from(SMALL))
def test_what_is_lost_of_a_constant(numbers: list[float], small: str) -> None:
    array = np.array(numbers, np.float32)
    found = converted(array, small)
    with np.errstate(all="ignore"):
        back = found.array.astype(np.float32)
    assert found.overflowed == sum(np.isfinite(a) and not np.isfinite(b) for a, b in zip(array, back, strict=True))
    assert found.flushed == sum(a != 0 and b == 0 for a, b in zip(array, back, strict=True))
    assert found.largest == max((abs(float(a)) for a in array if np.isfinite(a)), default=0.0)
