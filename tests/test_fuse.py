"""Fusion, rule by rule: what is fused, what is nearly that and is not, and that nothing but the time it takes changes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.fused_models import Fused, assert_close, by_onnxgpu, by_onnxruntime, feeds_of, fused, model

GELU = "s = Div(x, root) e = Erf(s) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)"
GELU_CONSTANTS = "float root = {1.4142135}, float one = {1.0}, float half = {0.5}"
TANH = "c = Pow(x, three) d = Mul(c, k) t = Add(x, d) o = Mul(t, r) e = Tanh(o) p = Add(e, one) h = Mul(x, half) y = Mul(h, p)"
TANH_CONSTANTS = "float three = {3.0}, float k = {0.044715}, float r = {0.7978846}, float one = {1.0}, float half = {0.5}"
WEIGHT = "float[4,3] w = {0.5, -1.0, 2.0, 0.25, 1.0, -0.5, 1.5, -2.0, 0.75, 1.0, 0.0, -0.25}, float[3] b = {0.5, -0.5, 1.0}"
KERNEL = "float[2,2,1,1] w = {0.5, -1.0, 2.0, 0.25}, float[2] b = {0.5, -0.5}, float low = {-0.5}, float high = {0.75}"


def graph(nodes: str, constants: str = "", x: str = "float[N,4] x", y: str = "float[N,4] y") -> str:
    lines = nodes.replace(") ", ")\n")
    return f"g ({x}) => ({y}) <{constants}> {{ {lines} }}" if constants else f"g ({x}) => ({y}) {{ {lines} }}"


def checked(made: onnx.ModelProto, batch: int = 2) -> Fused:
    """Fused or not, expanded or not, by onnxgpu and onnxruntime: all give the same."""
    feeds = feeds_of(made, batch)
    wanted = by_onnxruntime(made, feeds)
    for level in (0, 1, 2):
        assert_close(by_onnxgpu(made, feeds, level), wanted)
    assert_close(by_onnxgpu(made, feeds, 2, ("LoopbackExecutionProvider", "CPUExecutionProvider")), wanted)
    result = fused(made)
    onnx.checker.check_model(result.standard, full_check=True)
    assert_close(by_onnxruntime(result.standard, feeds), wanted)
    return result


POSITIVE = {
    "gelu": (graph(GELU, GELU_CONSTANTS), ("Gelu",)),
    "gelu, factors of one dimension": (graph(GELU, GELU_CONSTANTS.replace("one", "[1] one").replace("float [", "float[")), ("Gelu",)),
    "gelu, half of x beside": (
        graph(
            "s = Mul(r, x) e = Erf(s) p = Add(one, e) h = Mul(x, half) y = Mul(p, h)",
            GELU_CONSTANTS.replace("root = {1.4142135}", "r = {0.70710677}"),
        ),
        ("Gelu",),
    ),
    "gelu by tanh": (graph(TANH, TANH_CONSTANTS), ("Gelu",)),
    "silu": (graph("s = Sigmoid(x) y = Mul(s, x)"), ("Swish",)),
    "silu of something": (graph("z = Sqrt(x) s = Sigmoid(z) y = Mul(z, s)".replace("Sqrt", "Cos")), ("Cos", "Swish")),
    "convolution and activation": (graph("c = Conv(x, w, b) y = Relu(c)", KERNEL, "float[N,2,3,3] x", "float[N,2,3,3] y"), ("FusedConv",)),
    "convolution, addition, activation": (
        graph("c = Conv(x, w) a = Add(x, c) y = Clip(a, low, high)", KERNEL, "float[N,2,3,3] x", "float[N,2,3,3] y"),
        ("FusedConv",),
    ),
    "convolution and silu": (
        graph("c = Conv(x, w, b) s = Sigmoid(c) y = Mul(c, s)", KERNEL, "float[N,2,3,3] x", "float[N,2,3,3] y"),
        ("FusedConv",),
    ),
    "matrix product and bias": (graph("m = MatMul(x, w) y = Add(b, m)", WEIGHT, y="float[N,3] y"), ("FusedMatMul",)),
    "matrix product, bias, activation": (
        graph("m = MatMul(x, w) a = Add(m, b) y = Sigmoid(a)", WEIGHT, "float[N,2,4] x", "float[N,2,3] y"),
        ("FusedMatMul",),
    ),
    "matrix product, bias, gelu": (
        graph(
            "m = MatMul(x, w) z = Add(m, b) s = Div(z, root) e = Erf(s) p = Add(e, one) q = Mul(z, p) y = Mul(q, half)",
            f"{WEIGHT}, {GELU_CONSTANTS}",
            y="float[N,3] y",
        ),
        ("FusedMatMul",),
    ),
    "matrix product and factor": (
        graph("m = MatMul(x, v) y = Div(m, f)", "float f = {4.0}", "float[N,4] x, float[4,M] v", "float[N,M] y"),
        ("FusedMatMul",),
    ),
    "product of vectors and factor": (
        graph("m = MatMul(x, v) y = Mul(m, f)", "float f = {4.0}", "float[4] x, float[4] v", "float y"),
        ("FusedMatMul",),
    ),
    "chain": (
        graph("a = Add(x, z) b = Mul(a, h) c = Tanh(b) d = LeakyRelu(c) y = Sub(d, x)", "float h = {0.5}", "float[N,4] x, float[4] z"),
        ("FusedElementwise",),
    ),
    "chain, a value read twice inside": (graph("a = Neg(x) b = Exp(a) y = Div(a, b)"), ("FusedElementwise",)),
    "two chains": (
        graph("a = Neg(x) b = Exp(a) p = Transpose<perm = [1, 0]>(b) q = Abs(p) y = Tanh(q)", y="float[4,N] y"),
        ("FusedElementwise", "Transpose", "FusedElementwise"),
    ),
}


@pytest.mark.parametrize("name", POSITIVE)
def test_fused(name: str) -> None:
    text, operators = POSITIVE[name]
    assert checked(model(text)).operators == operators


NEGATIVE = {
    "gelu, a second reader": graph(GELU + " z = Neg(e)", GELU_CONSTANTS, y="float[N,4] y, float[N,4] z"),
    "gelu, a graph output inside": graph(GELU, GELU_CONSTANTS, y="float[N,4] y, float[N,4] p"),
    "gelu, another constant": graph(GELU, GELU_CONSTANTS.replace("0.5", "0.51")),
    "gelu, another root": graph(GELU, GELU_CONSTANTS.replace("1.4142135", "1.4143")),
    "gelu, of two values": graph(GELU.replace("Mul(x, p)", "Mul(z, p)"), GELU_CONSTANTS, "float[N,4] x, float[N,4] z"),
    "gelu, a factor that adds a dimension": graph(GELU, GELU_CONSTANTS.replace("float half", "float[1,1,1] half"), y="float[1,N,4] y"),
    "gelu, a summand that adds a dimension": graph(GELU, GELU_CONSTANTS.replace("float one", "float[1,1,1] one"), y="float[1,N,4] y"),
    "gelu, a constant the caller may override": graph(
        GELU, GELU_CONSTANTS.replace("float half = {0.5}", "float unused = {0.0}"), "float[N,4] x, float half"
    ),
    "gelu by tanh, another power": graph(TANH, TANH_CONSTANTS.replace("3.0", "2.0")),
    "gelu by tanh, a factor that adds a dimension": graph(TANH, TANH_CONSTANTS.replace("float k", "float[1,1,1] k"), y="float[1,N,4] y"),
    "silu, a second reader": graph("s = Sigmoid(x) y = Mul(s, x) z = Cos(s)", y="float[N,4] y, float[N,4] z"),
    "silu, squared sigmoid": graph("s = Sigmoid(x) y = Mul(s, s)"),
    "convolution, a graph output": graph("c = Conv(x, w, b) y = Relu(c)", KERNEL, "float[N,2,3,3] x", "float[N,2,3,3] y, float[N,2,3,3] c"),
    "convolution, a broadcast addition": graph(
        "c = Conv(x, w, b) y = Add(c, z)", KERNEL, "float[N,2,3,3] x, float[2,1,1] z", "float[N,2,3,3] y"
    ),
    "convolution, an addition that broadcasts it": graph(
        "c = Conv(x, w, b) y = Add(c, z)", KERNEL, "float[1,2,3,3] x, float[3,2,3,3] z", "float[3,2,3,3] y"
    ),
    "matrix product, a bias of another shape": graph(
        "m = MatMul(x, w) y = Add(m, b)",
        WEIGHT.replace("[3] b = {0.5, -0.5, 1.0}", "[2,1] b = {0.5, -0.5}"),
        "float[2,4] x",
        "float[2,3] y",
    ),
    "matrix product, a bias that is not constant": graph(
        "m = MatMul(x, w) y = Add(m, z)", WEIGHT, "float[N,4] x, float[3] z", "float[N,3] y"
    ),
    "matrix product, a factor that adds a dimension": graph(
        "m = MatMul(x, v) y = Mul(m, f)", "float[1] f = {4.0}", "float[4] x, float[4] v", "float[1] y"
    ),
    "matrix product, a dividend": graph("m = MatMul(x, v) y = Div(f, m)", "float f = {4.0}", "float[N,4] x, float[4,3] v", "float[N,3] y"),
    "matrix product of whole numbers": graph(
        "m = MatMul(x, v) y = Div(m, f)", "int32 f = {49}", "int32[N,4] x, int32[4,3] v", "int32[N,3] y"
    ),
    "chain, of whole numbers": graph("a = Neg(x) y = Abs(a)", x="int32[N,4] x", y="int32[N,4] y"),
    "chain, a growing shape": graph("a = Cos(x) b = Neg(a) y = Sub(b, z)", x="float[2,4] x, float[3,1,1] z", y="float[3,2,4] y"),
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_not_fused(name: str) -> None:
    """The nearest neighbours: the operator that the rule makes is not made (another rule may fuse a part)."""
    made = {"gelu": "Gelu", "silu": "Swish", "convolution": "FusedConv", "matrix": "FusedMatMul", "chain": "FusedElementwise"}
    assert made[name.split()[0].rstrip(",")] not in checked(model(NEGATIVE[name])).operators


@pytest.mark.parametrize("name", ["gelu", "gelu, half of x beside", "gelu by tanh", "silu", "matrix product and factor"])
def test_half_precision(name: str) -> None:
    """Constants that were rounded to half precision are still recognised."""
    text, operators = POSITIVE[name]
    assert checked(model(text, half=True)).operators == operators


def test_half_precision_near_misses() -> None:
    assert "Gelu" not in checked(model(graph(GELU, GELU_CONSTANTS.replace("{1.0}", "{1.001}")), half=True)).operators


def test_the_caller_overrides_a_constant() -> None:
    """An initializer that is also a graph input is no constant."""
    text = graph(GELU, "float root = {1.4142135}, float one = {1.0}", "float[2,4] x, float half = {0.5}", "float[2,4] y")
    made = model(text)
    assert "Gelu" not in fused(made).operators
    feeds = {**feeds_of(made), "half": np.array(3, np.float32)}
    assert_close(by_onnxgpu(made, feeds, 2), by_onnxruntime(made, feeds))


def test_a_node_of_another_provider_is_left_there() -> None:
    text, _ = POSITIVE["gelu"]
    assert fused(model(text), "op:Erf=ReferenceExecutionProvider").operators == ("Div", "Erf", "Add", "Mul", "Mul")


def test_below_level_2_nothing_is_fused() -> None:
    text, _ = POSITIVE["gelu"]
    assert fused(model(text), level=1).operators == ("Div", "Erf", "Add", "Mul", "Mul")


def test_a_long_chain_is_fused_from_end_to_end() -> None:
    steps = " ".join(f"v{i + 1} = {('Neg', 'Tanh', 'Abs', 'Relu')[i % 4]}(v{i})" for i in range(150))
    operators = checked(model(graph(f"{steps} y = Abs(v150)".replace("(v0)", "(x)")))).operators
    assert operators == ("FusedElementwise",) * 3


def test_a_chain_of_constants_is_left_to_constant_folding() -> None:
    assert fused(model(graph("a = Neg(h) b = Abs(a) y = Add(b, x)", "float h = {0.5}"))).operators[:2] == ("Neg", "Abs")


def test_bodies_are_fused_and_expanded() -> None:
    """In a branch, over a value from outside that both branches read."""
    text = """g (bool c, float[N,4] x) => (float[N,4] y) {
      a = Cos(x)
      y = If (c) <then_branch = t () => (float[N,4] p) { q = Sigmoid(a)
        p = Mul(a, q) }, else_branch = e () => (float[N,4] r) { s = Abs(a)
        r = Tanh(s) }>
    }"""
    made = model(text)
    result = fused(made)
    assert sorted(result.operators) == ["Cos", "FusedElementwise", "If", "Swish"]
    for condition in (True, False):
        feeds = {**feeds_of(made), "c": np.array(condition)}
        wanted = by_onnxruntime(made, feeds)
        assert_close(by_onnxgpu(made, feeds, 2), wanted)
        assert_close(by_onnxruntime(result.standard, feeds), wanted)


def test_expansion_keeps_names_apart() -> None:
    """Two fused nodes over one constant: each body has its own copy of it, under a name of its own."""
    text = graph(
        f"{GELU.replace('y =', 'z =')} n = Cos(z) u = Div(n, root) v = Erf(u) r = Add(v, one) q = Mul(n, r) y = Mul(q, half)",
        GELU_CONSTANTS,
    )
    result = checked(model(text))
    assert result.operators == ("Gelu", "Cos", "Gelu")
    names = [name for node in result.standard.graph.node for name in node.output]
    assert len(names) == len(set(names))
