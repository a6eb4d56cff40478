"""The rules of level 1: for each what it does, and the nearest thing that it must leave alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxgpu.rewrite import rewrite
from tests.rewrite_support import assert_same_results, evaluate, listing, parse, rewritten, run

APPLIES = [
    (
        "lift_constant",
        "(float[2] x) => (float[2] y) { c = Constant<value_floats = [1.0, 2.0]>()  y = Mul(x, c) }",
        ["y = Mul(x, c)"],
    ),
    (
        "lift_constant",
        "() => (int64[2] y) { y = Constant<value_ints = [1, 2]>() }",
        [],
    ),
    (
        "fold_constants",
        "(float[2] x) => (float[2] y) <float[2] w = {1, 2}> { n = Neg(w)  e = Exp(n)  y = Mul(x, e) }",
        ["y = Mul(x, e)"],
    ),
    (
        "fold_constants",
        "(float[4,6] x) => (float[2,6] a, float[2,6] b) <int64[2] s = {2, 2}> { t = Add(s, zeros2)  a, b = Split<axis = 0>(x, t) }",
        ["a, b = Split(x, t, axis=0)"],
    ),
    (
        "fold_shape_arithmetic",
        "(float[2,3] x) => (int64[2] y) { y = Shape(x) }",
        [],
    ),
    (
        "fold_shape_arithmetic",
        "(float[N,3,4] x) => (float[N,12] y) { s = Shape<start = 1>(x)  p = Slice(s, i0, i2)  q = Gather(s, k0)  z = Mul(q, "
        "k4)  u = Unsqueeze(z, i0)  c = Concat<axis = 0>(m1, u)  y = Reshape(x, c) }",
        ["y = Reshape(x, c)"],
    ),
    (
        "inline_constant_branch",
        "(float[N] x) => (float[N] y) { c = Constant<value = bool {0}>()  a = Relu(x)  y = If (c) <then_branch = t () => "
        "(float[N] z) { z = Neg(a) }, else_branch = e () => (float[N] z) { q = Exp(a)  z = Sqrt(q) }> }",
        ["a = Relu(x)", "y/q = Exp(a)", "y = Sqrt(y/q)"],
    ),
    (
        "remove_identity",
        "(float[N] x) => (float[N] y) { a = Identity(x)  b = Relu(a)  y = Identity(b) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_dropout",
        "(float[N] x) => (float[N] y) { a, mask = Dropout(x)  y = Relu(a) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_dropout",
        "(float[N] x) => (float[N] y) <float ratio = {0.5}, bool train = {0}> { a = Dropout(x, ratio, train)  y = Relu(a) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_same_type_cast",
        "(float[N] x) => (float[N] y) { a = Cast<to = 1>(x)  y = Relu(a) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_same_type_cast",
        "(float[N] x, float[1] k) => (float[N] y) { a = CastLike(x, k)  y = Relu(a) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_neutral_arithmetic",
        "(float[N] x) => (float[N] y) <float one = {1}, float zero = {0}> { a = Mul(one, x)  b = Div(a, one)  c = Sub(b, "
        "zero)  y = Relu(c) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_neutral_arithmetic",
        "(int64[N] x) => (int64[N] y) <int64[1] zero = {0}> { a = Add(x, zero)  b = Max(x)  y = Mul(a, b) }",
        ["y = Mul(x, x)"],
    ),
    (
        "fix_reshape_target",
        "(float[N,S,12] x) => (float[N,S,3,4] y) { s = Shape<start = 0, end = 2>(x)  t = Concat<axis = 0>(s, i3, i4)  y = "
        "Reshape<allowzero = 1>(x, t) }",
        ["y = Reshape(x, y_shape)"],
    ),
    (
        "fix_reshape_target",
        "(float[N,3,4] x) => (float[N,12] y) { s = Shape<start = 0, end = 1>(x)  t = Concat<axis = 0>(s, i12)  y = Reshape(x, t) }",
        ["y = Reshape(x, y_shape)"],
    ),
    (
        "remove_identity_transpose",
        "(float[N,3] x) => (float[N,3] y) { a = Transpose<perm = [0, 1]>(x)  y = Relu(a) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_same_shape_reshape",
        "(float[N,3] x) => (float[N,3] y) { a = Reshape(x, m1_3)  b = Flatten(a)  y = Relu(b) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_same_shape_expand",
        "(float[N,3] x) => (float[N,3] y) { s = Shape(x)  a = Expand(x, s)  b = Expand(a, i1)  y = Relu(b) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_full_slice",
        "(float[N,3] x) => (float[N,3] y) { a = Slice(x, i0, i_max, i0)  b = Slice(a, i0, i3, i1)  y = Relu(b) }",
        ["y = Relu(x)"],
    ),
    (
        "remove_zero_pad",
        '(float[N,3] x) => (float[N,3] y) <int64[4] none = {0, 0, 0, 0}> { a = Pad<mode = "edge">(x, none)  y = Relu(a) }',
        ["y = Relu(x)"],
    ),
    (
        "remove_single_concat",
        "(float[N] x) => (float[N] y) { a = Concat<axis = 0>(x)  y = Relu(a) }",
        ["y = Relu(x)"],
    ),
    (
        "merge_transposes",
        "(float[2,3,4] x) => (float[4,2,3] y) { a = Transpose<perm = [1, 2, 0]>(x)  y = Transpose<perm = [1, 2, 0]>(a) }",
        ["y = Transpose(x, perm=[2, 0, 1])"],
    ),
    (
        "merge_transposes",
        "(float[2,3,4] x) => (float[2,3,4] y) { a = Transpose(x)  b = Transpose(a)  y = Relu(b) }",
        ["y = Relu(x)"],
    ),
    (
        "merge_reshapes",
        "(float[N,3,4] x) => (float[N,2,6] y) <int64[3] t = {-1, 2, 6}> { a = Flatten(x)  b = Unsqueeze(a, i1)  y = Reshape(b, t) }",
        ["y = Reshape(x, t)"],
    ),
    (
        "merge_common_subexpressions",
        "(float[N] x) => (float[N] y, float[N] z) { a = Exp(x)  b = Exp(x)  y = Relu(a)  z = Neg(b) }",
        ["a = Exp(x)", "y = Relu(a)", "z = Neg(a)"],
    ),
    (
        "merge_duplicate_initializers",
        "(float[2] x) => (float[2] y) <float[2] u = {1, 2}, float[2] v = {1, 2}> { a = Mul(x, u)  y = Add(a, v) }",
        ["a = Mul(x, u)", "y = Add(a, u)"],
    ),
    (
        "remove_dead_code",
        "(float[N] x) => (float[N] y) <float w = {1}> { a = Exp(x)  b = Mul(a, w)  y = Relu(x) }",
        ["y = Relu(x)"],
    ),
    (
        "drop_unused_outputs",
        "(float[N,1,4] x) => (float[N,1,3] y) { y, unused = MaxPool<kernel_shape = [2]>(x) }",
        ["y = MaxPool(x, kernel_shape=[2])"],
    ),
]

STAYS = [
    "(float[N] x) => (float[N] y) { y = Identity(x) }",
    "(float[N] x) => (float[N] y, float[N] z) { y = Relu(x)  z = Identity(y) }",
    "(float[N] x, bool train) => (float[N] y) <float ratio = {0.5}> { a = Dropout(x, ratio, train)  y = Relu(a) }",
    "(float[N] x) => (float[N] y, bool[N] mask) { a, mask = Dropout(x)  y = Relu(a) }",
    "(float[N] x) => (float[N] y) { a = Cast<to = 10>(x)  y = Cast<to = 1>(a) }",
    "(float[N] x) => (float[N] y) <float zero = {0}> { a = Add(x, zero)  y = Relu(a) }",
    "(float x) => (float[1] y) <float[1] one = {1}> { a = Mul(x, one)  y = Relu(a) }",
    "(float[N] x) => (float[3] y) <float[3] ones = {1, 1, 1}> { a = Mul(x, ones)  y = Relu(a) }",
    "(float[N] x) => (float[N] y) <float one = {1}> { a = Div(one, x)  b = Sub(one, a)  y = Relu(b) }",
    "(float[N,3] x) => (float[3,N] y) { a = Transpose(x)  y = Relu(a) }",
    "(float[N,3] x) => (float[A,B] y) { a = Reshape(x, i3_m1)  y = Relu(a) }",
    "(float[N,3] x, int64[2] s) => (float[A,B] y) { a = Reshape(x, s)  y = Relu(a) }",
    (
        "(float[N,S,12] x) => (float[N,S,3,4] y) { s = Shape<start = 0, end = 1>(x)  r = Shape<start = 1, end = 2>(x)  q = "
        "Mul(r, r)  t = Concat<axis = 0>(s, q)  y = Reshape(x, t) }"
    ),
    "(float[N,1] x) => (float[N,3] y) { a = Expand(x, i3)  y = Relu(a) }",
    "(float[N,3] x) => (float[M,3] y) { a = Slice(x, i1, i_max, i0)  y = Relu(a) }",
    "(float[N,3] x) => (float[M,3] y) { a = Slice(x, i0, i3, i0)  y = Relu(a) }",
    (
        "(float[N,3] x) => (float[M,3] y) <int64[1] down = {-1}, int64[1] low = {-2147483648}> { a = Slice(x, i_max, low, "
        "i0, down)  y = Relu(a) }"
    ),
    "(float[N,3] x) => (float[N,4] y) <int64[4] some = {0, 1, 0, 0}> { a = Pad(x, some)  y = Relu(a) }",
    (
        "(float[N,3,4] x) => (float[A,B,C] y) <int64[2] first = {-1, 3}, int64[3] t = {0, 2, 2}> { a = Reshape(x, first)  y "
        "= Reshape(a, t) }"
    ),
    "(float[N] x) => (float[N] y, float[N] z) { y = Exp(x)  z = Exp(x) }",
    "(float[N] x) => (float[N] y, float[N] z) { y = LeakyRelu<alpha = 0.1>(x)  z = LeakyRelu<alpha = 0.2>(x) }",
    "(float[N] x) => (float[N] y) { a = RandomNormalLike(x)  b = RandomNormalLike(x)  y = Add(a, b) }",
    "(float[2] x) => (float[2] y) <float[2] u = {0, 2}, float[2] v = {-0.0, 2}> { a = Mul(x, u)  y = Add(a, v) }",
    "() => (float[2] y) { y = RandomNormal<shape = [2]>() }",
    ("(float[2] x) => (float[2] y) <int8[2] q = {1, 2}, float scale = {0.5}> { w = DequantizeLinear(q, scale)  y = Add(x, w) }"),
    (
        "(float[N] x, bool c) => (float[N] y) { y = If (c) <then_branch = t () => (float[N] z) { z = Neg(x) }, else_branch = "
        "e () => (float[N] z) { z = Exp(x) }> }"
    ),
    "(float[2] x) => (float[A,B] y) <float[2] w = {1, 2}, int64[1] bad = {3}> { q = Reshape(w, bad)  y = Mul(x, q) }",
]

NUMBERS = {
    "zeros2": np.zeros(2, np.int64),
    "k0": np.array(0),
    "k4": np.array(4),
    "i0": np.array([0]),
    "i1": np.array([1]),
    "i2": np.array([2]),
    "i3": np.array([3]),
    "i4": np.array([4]),
    "i12": np.array([12]),
    "m1": np.array([-1]),
    "m1_3": np.array([-1, 3]),
    "i3_m1": np.array([3, -1]),
    "i_max": np.array([2**63 - 1]),
}


def numbers_in(text: str) -> dict[str, np.ndarray]:
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return {name: array for name, array in NUMBERS.items() if name in words}


@pytest.mark.parametrize(("rule", "text", "expected"), APPLIES, ids=[f"{i}-{case[0]}" for i, case in enumerate(APPLIES)])
def test_rule_applies(rule: str, text: str, expected: list[str]) -> None:
    model = parse(text, numbers_in(text))
    result, report = rewritten(model, level=1)
    assert rule in report.counts
    assert listing(result) == expected
    assert_same_results(model, result)
    assert not rewritten(result, level=1)[1].changes


@pytest.mark.parametrize("text", STAYS)
def test_nearest_case_is_left_alone(text: str) -> None:
    model = parse(text, numbers_in(text))
    result, report = rewritten(model, level=2)
    assert listing(result) == listing(model), report


def test_large_results_are_not_folded() -> None:
    model = parse("(float[N] x) => (float[N] y) <int64[1] n = {1000}> { c = ConstantOfShape(n)  s = ReduceSum(c)  y = Mul(x, s) }")
    assert len(rewritten(model, level=1)[0].graph.node) == 1
    assert len(rewritten(model, level=1, fold_limit_bytes=1000)[0].graph.node) == 3


def test_results_no_larger_than_their_inputs_are_always_folded() -> None:
    model = parse("(float[N,8] x) => (float[N,8] y) { t = Transpose(w)  y = MatMul(x, t) }", {"w": np.ones((8, 8), np.float32)})
    assert len(rewritten(model, level=1, fold_limit_bytes=0)[0].graph.node) == 1


def test_gigantic_results_are_not_even_computed() -> None:
    model = parse(
        "(float[N] x) => (float[N] y) <int64[2] n = {10000000, 10000000}> { c = ConstantOfShape(n)  "
        "s = ReduceMax<keepdims = 0>(c)  y = Mul(x, s) }"
    )
    assert len(rewritten(model, level=1)[0].graph.node) == 3


def test_strings_fold() -> None:
    model = parse(
        '(int64[1] x) => (string[3] y, int64[1] z) <int64[1] one = {1}> { a = Constant<value_strings = ["é", "b"]>()  '
        "b = Gather(a, one)  y = Concat<axis = 0>(a, b)  z = Neg(x) }"
    )
    result, _ = rewritten(model, level=1)
    assert listing(result) == ["z = Neg(x)"]
    assert run(result, {"x": np.array([1])})[0].tolist() == ["é", "b", "b"]


def test_custom_operators_are_neither_merged_nor_trusted() -> None:
    graph = ir.from_proto(parse("(float[2] x) => (float[2] y) { a = Exp(x)  b = Exp(x)  y = Add(a, b) }"))
    for node in list(graph.graph)[:2]:
        node.domain = "example"
    graph.graph.append(ir.Node("example", "Log", [graph.graph.inputs[0]], num_outputs=0))
    assert not rewrite(graph, level=2, evaluate=evaluate).changes


def test_a_shared_output_with_an_absent_twin_is_not_merged() -> None:
    model = parse(
        "(float[N,1,4] x) => (float[N,1,3] y, int64[N,1,3] i) { a, unused = MaxPool<kernel_shape = [2]>(x)  "
        "y = Relu(a)  b, i = MaxPool<kernel_shape = [2]>(x) }"
    )
    result, _ = rewritten(model, level=1)
    assert_same_results(model, result)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.permutations([0, 1, 2]), min_size=1, max_size=4))
def test_any_chain_of_transposes_becomes_at_most_one(orders: list[list[int]]) -> None:
    names = ["x", *(f"t{i}" for i in range(len(orders)))]
    nodes = "".join(f"{new} = Transpose<perm = {order}>({old}) " for order, old, new in zip(orders, names, names[1:], strict=False))
    model = parse(f"(float[2,3,4] x) => (float[A,B,C] y) {{ {nodes} y = Relu({names[-1]}) }}")
    result, _ = rewritten(model, level=1)
    assert len(result.graph.node) <= 2
    assert_same_results(model, result, sizes=(1,))
