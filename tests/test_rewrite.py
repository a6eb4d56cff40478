"""The rewrite as a whole: levels, report, names, provenance, bodies of control flow, memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxgpu.rewrite import rewrite
from onnxgpu.rewrite.editing import PROVENANCE
from tests.rewrite_support import assert_same_results, evaluate, listing, parse, rewritten, run

CONV = "(float[N,3,8,8] x) => (float[N,4,6,6] y) { c = Conv(x, w)  i = Identity(c)  y = BatchNormalization(i, s, b, m, v) }"


def conv_weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    vectors = {name: random.uniform(0.5, 2, 4).astype(np.float32) for name in "sbmv"}
    return {"w": random.standard_normal((4, 3, 3, 3)).astype(np.float32), **vectors}


@pytest.mark.parametrize(
    ("level", "operators"),
    [(0, ["Conv", "Identity", "BatchNormalization"]), (1, ["Conv", "BatchNormalization"]), (2, ["Conv"]), (99, ["Conv"])],
)
def test_levels(level: int, operators: list[str]) -> None:
    model = parse(CONV, conv_weights())
    result, report = rewritten(model, level)
    assert [node.op_type for node in result.graph.node] == operators
    assert report.level == level
    assert_same_results(model, result)


def test_report_prints_every_change() -> None:
    _, report = rewritten(parse(CONV, conv_weights()))
    assert str(report) == "\n".join(
        [
            "rewrite at level 2: 3 -> 1 nodes, 2 changes in 2 sweeps",
            "  remove_identity           1",
            "  fold_batch_normalization  1",
            "    remove_identity: Identity 'i' is 'c'",
            "    fold_batch_normalization: BatchNormalization 'y' into Conv 'c'",
        ]
    )
    with pytest.raises(AttributeError):
        report.level = 3  # type: ignore[misc]


def test_what_a_rule_makes_says_where_it_came_from() -> None:
    graph = ir.from_proto(parse(CONV, conv_weights()))
    rewrite(graph, level=2, evaluate=evaluate)
    note = "fold_batch_normalization: Conv 'c', BatchNormalization 'y'"
    assert graph.graph[0].metadata_props[PROVENANCE] == note
    assert all(value.metadata_props[PROVENANCE] == note for value in graph.graph.initializers.values())
    assert all(value.shape is not None and value.type is not None for value in graph.graph.initializers.values())


@pytest.mark.parametrize("name", ["fold_batch_normalization", "ConvBNFusion"])
def test_disabled_rule(name: str) -> None:
    result, report = rewritten(parse(CONV, conv_weights()), disabled=[name, "NoSuchOptimizer"])
    assert [node.op_type for node in result.graph.node] == ["Conv", "BatchNormalization"]
    assert report.counts == {"remove_identity": 1}


def test_replaced_weights_are_released() -> None:
    graph = ir.from_proto(parse(CONV, conv_weights()))
    array = np.ones((4, 3, 3, 3), np.float32)
    graph.graph.initializers["w"].const_value = ir.Tensor(array, name="w")
    watched = weakref.ref(array)
    del array
    report = rewrite(graph, level=2, evaluate=evaluate)
    gc.collect()
    assert report.counts["fold_batch_normalization"] == 1
    assert watched() is None


def test_overridable_initializer_is_not_constant() -> None:
    model = parse("(float[2] x, float[2] w) => (float[2] y) { s = Add(w, w)  y = Add(x, s) }", {"w": np.ones(2, np.float32)})
    result, report = rewritten(model)
    assert listing(result) == ["s = Add(w, w)", "y = Add(x, s)"]
    assert not report.changes


def test_output_that_is_an_input_or_an_initializer_stays() -> None:
    model = parse(
        "(float[2] x) => (float[2] x2, float[2] w, float[2] k) { x2 = Identity(x)  k = Add(w, w) }", {"w": np.ones(2, np.float32)}
    )
    result, _ = rewritten(model)
    assert listing(result) == ["x2 = Identity(x)"]
    assert sorted(tensor.name for tensor in result.graph.initializer) == ["k", "w"]
    assert_same_results(model, result)


def test_two_outputs_of_one_value_keep_their_names() -> None:
    model = parse("(float[2] x) => (float[2] y, float[2] z) { y = Relu(x)  z = Identity(y) }")
    result, report = rewritten(model)
    assert listing(result) == ["y = Relu(x)", "z = Identity(y)"]
    assert not report.changes


def test_bodies_are_rewritten_and_their_captures_respected() -> None:
    model = parse(
        """(float[N] x, bool c) => (float[N] y) {
            unused = Neg(x)
            a = Relu(x)
            y = If (c) <
                then_branch = t () => (float[N] t1) { t0 = Identity(a)  dead = Neg(unused)  t1 = Neg(t0) },
                else_branch = e () => (float[N] e2) { e0 = Constant<value_float = 2.0>()  e1 = Mul(e0, e0)  e2 = Mul(a, e1) }
            >
        }"""
    )
    result, report = rewritten(model)
    assert sorted(listing(result)) == sorted(
        ["a = Relu(x)", "y = If(c)", "  then_branch:", "    t1 = Neg(a)", "  else_branch:", "    e2 = Mul(a, e1)"]
    )
    assert report.counts["remove_dead_code"] >= 2
    assert_same_results(model, result)


def test_a_captured_value_that_a_body_returns_is_not_lost() -> None:
    text = """(float[N] x, bool c) => (float[N] y) {
        a = Relu(x)
        b = Identity(a)
        y = If (c) <then_branch = t () => (float[N] b) { dead = Neg(x) }, else_branch = e () => (float[N] q) { q = Neg(b) }>
    }"""
    graph = ir.from_proto(parse(text))
    rewrite(graph, level=1, evaluate=evaluate)
    result = ir.to_proto(graph)
    assert "    b_captured = Identity(a)" in listing(result)
    assert_same_results(
        parse(text.replace("{ dead = Neg(x) }", "{ b2 = Identity(b) }").replace("=> (float[N] b)", "=> (float[N] b2)")), result
    )


def test_loop_keeps_the_identity_from_input_to_output() -> None:
    model = parse(
        """(float[2] x, int64 n) => (float[2] y) {
            more = Constant<value = bool {1}>()
            y = Loop (n, more, x) <body = b (int64 i, bool going, float[2] state) => (bool on, float[2] next) {
                on = Identity(going)  one = Constant<value_float = 1.0>()  same = Identity(state)  next = Add(same, one) }>
        }"""
    )
    result, _ = rewritten(model)
    assert listing(result)[-2:] == ["    on = Identity(going)", "    next = Add(state, one)"]
    feeds = {"x": np.zeros(2, np.float32), "n": np.array(3)}
    np.testing.assert_array_equal(run(result, feeds)[0], [3, 3])


def test_new_names_are_unique() -> None:
    model = parse(
        "(float[2,3] x) => (float[2,4] y) { h = MatMul(x, w)  y = Mul(h, c)  w_1 = Neg(y)  unused = Add(w_1, c) }",
        {"w": np.ones((3, 4), np.float32), "c": np.full(4, 2, np.float32)},
    )
    result, _ = rewritten(model)
    assert [tensor.name for tensor in result.graph.initializer] == ["w_2"]
    onnx.checker.check_model(result, full_check=True)
    assert_same_results(model, result)


def test_bodies_may_return_constants() -> None:
    model = parse(
        """(float[N] x, bool c) => (float[2] y, float[2] k) {
            y = If (c) <
                then_branch = t () => (float[2] z) { z = Constant<value_floats = [1.0, 2.0]>() },
                else_branch = e () => (float[2] z) { q = Constant<value_floats = [1.0, 3.0]>()  z = Neg(q) }
            >
            k = Loop (n, more, y) <body = b (int64 i, bool going, float[2] state) => (bool on, float[2] next) {
                on = Constant<value = bool {1}>()  next = Add(state, state) }>
        }""",
        {"n": np.array(2), "more": np.array(True)},
    )
    result, _ = rewritten(model)
    assert sum(line.strip().endswith(")") for line in listing(result)) == 3
    assert_same_results(model, result, sizes=(1, 2, 3, 4))


def test_inlined_branches_do_not_clash_with_other_bodies() -> None:
    model = parse(
        """(float[N] x, bool c) => (float[N] y, float[N] z, float[N] w) {
            y, z = If (yes) <
                then_branch = t () => (float[N] a, float[N] b) { a = Neg(x)  b = Identity(a) },
                else_branch = e () => (float[N] a, float[N] b) { a = Exp(x)  b = Identity(a) }
            >
            w = If (c) <then_branch = t () => (float[N] a) { a = Neg(x) }, else_branch = e () => (float[N] a) {
                a = If (yes) <then_branch = t2 () => (float[N] a2) { a2 = Neg(y) }, else_branch = e2 () => (float[N] a2) { a2 = Exp(x) }> }>
        }""",
        {"yes": np.array(True)},
    )
    result, report = rewritten(model)
    assert report.counts["inline_constant_branch"] == 2
    assert listing(result)[:3] == ["y = Neg(x)", "z = Identity(y)", "w = If(c)"]
    assert_same_results(model, result, sizes=(1, 2, 3, 4))
