"""The rules of level 2, which change weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxgpu.rewrite import rewrite
from tests.rewrite_support import assert_same_results, evaluate, listing, parse, rewritten

RANDOM = np.random.default_rng(7)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.5, 1.5, shape).astype(np.float32)


WEIGHTS = {
    "w": floats(4, 3, 3, 3),
    "w_grouped": floats(4, 1, 3, 3),
    "w_transposed": floats(4, 3, 2, 2),
    "w1": floats(4, 3, 3),
    "g": floats(6, 4),
    "gt": floats(4, 6),
    "bias": floats(4),
    "bias6": floats(6),
    "row4": floats(1, 4),
    "rows": floats(2, 4),
    "s": floats(4),
    "b": floats(4),
    "m": floats(4),
    "v": floats(4),
    "s6": floats(6),
    "b6": floats(6),
    "m6": floats(6),
    "v6": floats(6),
    "channel": floats(4, 1, 1),
    "channel4": floats(1, 4, 1, 1),
    "channel1": floats(1, 4, 1),
    "channel_last": floats(1, 1, 4),
    "last": floats(6),
    "one": np.array(1.7, np.float32),
    "ones4": floats(1, 1, 1, 1),
    "ones5": floats(1, 1, 1, 1, 1),
    "zero_number": np.array(0, np.float32),
    "minus_one": np.array(-1, np.float32),
    "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]),
    "pads_batch": np.array([0, 1, 1, 2, 0, 0, 3, 0]),
    "crop": np.array([0, 0, -1, 0, 0, 0, 0, 0]),
    "two_pads": np.array([1, 2, 3, 0]),
    "last_two": np.array([-2, 3]),
}

X = "(float[N,3,8,8] x) => (float[A,B,C,D] y)"

APPLIES = [
    (
        "fold_batch_normalization",
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v)",
        ["y = Conv(x, w_1, c_bias)"],
    ),
    (
        "fold_batch_normalization",
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w, bias)  y = BatchNormalization<epsilon = 0.1>(c, s, b, m, v)",
        None,
    ),
    (
        "fold_batch_normalization",
        "(float[N,4,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv<group = 4>(x, w_grouped)  y = BatchNormalization(c, s, b, m, v)",
        None,
    ),
    (
        "fold_batch_normalization",
        "(float[N,4,8,8] x) => (float[A,B,C,D] y)",
        "c = ConvTranspose<group = 2>(x, w_transposed)  y = BatchNormalization(c, s6, b6, m6, v6)",
        None,
    ),
    (
        "fold_batch_normalization",
        "(float[N,6] x) => (float[A,B] y)",
        "c = Gemm<alpha = 0.5, beta = 2.0>(x, g, row4)  y = BatchNormalization(c, s, b, m, v)",
        None,
    ),
    (
        "fold_batch_normalization",
        "(float[N,6] x) => (float[A,B] y)",
        "c = Gemm<transB = 1>(x, gt)  y = BatchNormalization(c, s, b, m, v)",
        None,
    ),
    (
        "fold_channel_arithmetic",
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  d = Mul(channel, c)  e = Add(d, channel4)  f = Sub(e, one)  y = Div(f, channel)",
        ["y = Conv(x, w_1_1, c_bias_1_1)"],
    ),
    (
        "fold_channel_arithmetic",
        "(float[N,3,8] x) => (float[A,B,C] y)",
        "c = Conv(x, w1, bias)  y = Mul(c, channel1)",
        ["y = Conv(x, w1_1, bias_1)"],
    ),
    (
        "fold_channel_arithmetic",
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  y = Mul(c, ones4)",
        ["y = Conv(x, w_1)"],
    ),
    (
        "fold_channel_arithmetic",
        "(float[N,6] x) => (float[A,B] y)",
        "c = Gemm<beta = 0.5>(x, g, bias)  d = Mul(c, s)  y = Add(d, b)",
        None,
    ),
    (
        "fold_channel_arithmetic",
        "(float[N,6] x) => (float[A,B] y)",
        "c = Gemm(x, g)  y = Mul(c, row4)",
        None,
    ),
    (
        "fold_matmul_scale",
        "(float[N,5,6] x) => (float[A,B,C] y)",
        "c = MatMul(x, g)  y = Mul(s, c)",
        ["y = MatMul(x, g_1)"],
    ),
    (
        "fold_matmul_scale",
        "(float[N,5,6] x) => (float[A,B,C] y)",
        "c = MatMul(x, g)  d = Add(bias, c)  y = Mul(d, s)",
        ["c = MatMul(x, g_1)", "y = Add(bias_1, c)"],
    ),
    (
        "fold_matmul_scale",
        "(float[N,5,6] x) => (float[A,B,C] y)",
        "c = MatMul(x, g)  d = Add(c, one)  y = Div(d, channel_last)",
        None,
    ),
    (
        "fold_pad_into_convolution",
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "p = Pad(x, pads)  y = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(p, w)",
        None,
    ),
    (
        "fold_pad_into_convolution",
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        'p = Pad(x, two_pads, zero_number, last_two)  y = Conv<auto_pad = "VALID">(p, w)',
        None,
    ),
]
STAYS = [
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  r = Relu(c)  y = BatchNormalization(r, s, b, m, v)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y, float[E,F,G,H] c)",
        "c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y, float[E,F,G,H] z)",
        "c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v)  z = Neg(c)",
    ),
    (
        "(float[N,3,8,8] x, float[4] scale) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  y = BatchNormalization(c, scale, b, m, v)",
    ),
    (
        "(float[N,3,8,8] x, float[4,3,3,3] weight) => (float[A,B,C,D] y)",
        "c = Conv(x, weight)  y = BatchNormalization(c, s, b, m, v)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y, float[4] rm, float[4] rv)",
        "c = Conv(x, w)  y, rm, rv = BatchNormalization<training_mode = 1>(c, s, b, m, v)",
    ),
    (
        "(float[2,6] x) => (float[A,B] y)",
        "c = Gemm(x, g, rows)  y = BatchNormalization(c, s, b, m, v)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  y = Mul(c, last)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  y = Mul(c, ones5)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  y = Sub(one, c)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "c = Conv(x, w)  y = Div(c, zero_number)",
    ),
    (
        "(float[N,6,4] x) => (float[A,B,C] y)",
        "c = MatMul(gt, x)  y = Mul(c, channel1)",
    ),
    (
        "(float[6] x) => (float[A,B] y)",
        "c = MatMul(x, g)  y = Mul(c, row4)",
    ),
    (
        "(float[N,5,6] x) => (float[A,B,C] y)",
        "c = MatMul(x, g)  r = Relu(c)  y = Mul(r, s)",
    ),
    (
        "(float[2,2,6] x) => (float[A,B,C] y)",
        "c = MatMul(x, g)  d = Add(c, rows)  y = Mul(d, s)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        'p = Pad<mode = "reflect">(x, pads)  y = Conv(p, w)',
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "p = Pad(x, pads, one)  y = Conv(p, w)",
    ),
    (
        "(float[N,2,8,8] x) => (float[A,B,C,D] y)",
        "p = Pad(x, pads_batch)  y = Conv(p, w)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        "p = Pad(x, crop)  y = Conv(p, w)",
    ),
    (
        "(float[N,3,8,8] x) => (float[A,B,C,D] y)",
        'p = Pad(x, pads)  y = Conv<auto_pad = "SAME_UPPER">(p, w)',
    ),
    (
        "(float[N,3,8,8] x, int64[8] sizes) => (float[A,B,C,D] y)",
        "p = Pad(x, sizes)  y = Conv(p, w)",
    ),
]


def weights_in(nodes: str) -> dict[str, np.ndarray]:
    words = set(nodes.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return {name: array for name, array in WEIGHTS.items() if name in words}


@pytest.mark.parametrize(("rule", "signature", "nodes", "expected"), APPLIES)
def test_rule_applies(rule: str, signature: str, nodes: str, expected: list[str] | None) -> None:
    model = parse(f"{signature} {{ {nodes} }}", weights_in(nodes))
    result, report = rewritten(model, level=2)
    assert rule in report.counts
    assert len(result.graph.node) == (len(expected) if expected else 1 + ("channel_last" in nodes))
    if expected:
        assert listing(result) == expected
    assert_same_results(model, result)
    read = {name for node in result.graph.node for name in node.input}
    assert {tensor.name for tensor in result.graph.initializer} <= read


@pytest.mark.parametrize(("signature", "nodes"), STAYS)
def test_nearest_case_is_left_alone(signature: str, nodes: str) -> None:
    model = parse(f"{signature} {{ {nodes} }}", weights_in(nodes))
    result, report = rewritten(model, level=2)
    assert listing(result) == listing(model), report


def test_level_one_leaves_weights_alone() -> None:
    model = parse(f"{X} {{ c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v) }}", weights_in("w s b m v"))
    assert not rewritten(model, level=1)[1].changes


def test_weights_that_another_node_reads_stay_for_it() -> None:
    model = parse(f"{X} {{ c = Conv(x, w)  d = Mul(c, channel)  e = Conv(x, w)  y = Sub(d, e) }}", weights_in("w channel"))
    result, _ = rewritten(model, level=2, disabled=["merge_common_subexpressions"])
    assert [node.op_type for node in result.graph.node] == ["Conv", "Conv", "Sub"]
    assert_same_results(model, result)


def test_weights_of_an_enclosing_graph_fold_in_a_body() -> None:
    nodes = (
        "y = If (k) <then_branch = t () => (float[A,B,C,D] z) { c = Conv(x, w)  z = Mul(c, channel) }, "
        "else_branch = e () => (float[A,B,C,D] z) { z = Conv(x, w) }>"
    )
    model = parse(f"(float[N,3,8,8] x, bool k) => (float[A,B,C,D] y) {{ {nodes} }}", weights_in("w channel"))
    result, report = rewritten(model, level=2)
    assert report.counts["fold_channel_arithmetic"] == 1
    assert_same_results(model, result, sizes=(1, 2, 3, 4))


@pytest.mark.parametrize("version", [7, 8, 9])
def test_batch_normalization_of_early_opsets(version: int) -> None:
    model = parse(f"{X} {{ c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v) }}", weights_in("w s b m v"), opset=version)
    result, report = rewritten(model, level=2)
    assert report.counts["fold_batch_normalization"] == 1
    assert_same_results(model, result)


def test_overflow_in_half_precision_is_not_folded() -> None:
    half = {"w": np.full((4, 3, 1, 1), 300, np.float16), "c": np.full((4, 1, 1), 300, np.float16)}
    model = parse("(float16[N,3,2,2] x) => (float16[N,4,2,2] y) { a = Conv(x, w)  y = Mul(a, c) }", half)
    assert not rewritten(model, level=2)[1].changes
    half["c"] = np.full((4, 1, 1), 2, np.float16)
    model = parse("(float16[N,3,2,2] x) => (float16[N,4,2,2] y) { a = Conv(x, w)  y = Mul(a, c) }", half)
    assert rewritten(model, level=2)[1].counts == {"fold_channel_arithmetic": 1}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from(["Mul(h, channel)", "Add(h, channel4)", "Div(h, one)", "Sub(h, channel)", "BatchNormalization(h, s, b, m, v)"]),
        min_size=1,
        max_size=4,
    )
)
def test_any_chain_after_a_convolution_disappears(steps: list[str]) -> None:
    names = ["c", *(f"t{i}" for i in range(1, len(steps))), "y"]
    nodes = "c = Conv(x, w)  " + "  ".join(
        f"{new} = {step.replace('h,', old + ',')}" for step, old, new in zip(steps, names, names[1:], strict=False)
    )
    model = parse(f"{X} {{ {nodes} }}", weights_in(nodes))
    result, _ = rewritten(model, level=2)
    assert [node.op_type for node in result.graph.node] == ["Conv"]
    assert_same_results(model, result, sizes=(2,))


def test_the_report_of_a_second_rewrite_is_empty() -> None:
    graph = ir.from_proto(parse(f"{X} {{ c = Conv(x, w)  y = Mul(c, channel) }}", weights_in("w channel")))
    assert rewrite(graph, level=2, evaluate=evaluate).changes
    assert not rewrite(graph, level=2, evaluate=evaluate).changes
