"""Gradient nodes: every rule against differences of the function's own values, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.parser
import pytest

import onnxgpu
from onnxgpu.errors import InvalidGraph, NotImplemented
from onnxgpu.model_file.gradient_layers import RULES

CPU = ["CPUExecutionProvider"]
STEP = 1e-6

# Body, types of the inputs, and the shapes at which it is tried: the gradient of the sum of `y` is taken.
FORMULAS: dict[str, tuple[str, Mapping[str, tuple[int, ...]]]] = {
    **{
        name: (f"y = {name} (a)", {"a": (2, 3)})
        for name in ("Abs", "Cos", "Erf", "Exp", "Identity", "Neg", "Reciprocal", "Relu", "Sigmoid")
    },
    **{name: (f"y = {name} (a)", {"a": (2, 3)}) for name in ("Sin", "Softplus", "Tanh", "Sign", "Floor")},
    **{name: (f"p = Exp (a) y = {name} (p)", {"a": (2, 3)}) for name in ("Log", "Sqrt")},
    **{f"{name} broadcast": (f"y = {name} (a, b)", {"a": (2, 3), "b": (3,)}) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")},
    "columns": ("y = Mul (a, b)", {"a": (2, 1), "b": (4, 2, 3)}),
    "scalar": ("y = Div (a, b)", {"a": (2, 3), "b": ()}),
    "Sum": ("y = Sum (a, b, a)", {"a": (2, 3), "b": (1, 3)}),
    "Mean": ("y = Mean (a, b)", {"a": (2, 3), "b": (2, 1)}),
    "Pow": ("p = Exp (a) y = Pow (p, b)", {"a": (2, 3), "b": (3,)}),
    "Pow of an integer": ("two = Constant <value_int = 3> () y = Pow (a, two)", {"a": (2, 3)}),
    "Clip": ("low = Constant <value = double {-0.4}> () y = Clip (a, low)", {"a": (2, 3)}),
    "Where": ("c = Less (a, b) y = Where (c, a, b)", {"a": (2, 3), "b": (3,)}),
    "Cast": ("f = Cast <to = 1> (a) s = Mul (f, f) y = Cast <to = 11> (s)", {"a": (2, 3)}),
    "Transpose": ("t = Transpose <perm = [2, 0, 1]> (a) y = Mul (t, b)", {"a": (2, 3, 4), "b": (4, 2, 3)}),
    "Transpose reversed": ("t = Transpose (a) y = Mul (t, b)", {"a": (2, 3), "b": (3, 2)}),
    "Reshape": ("s = Constant <value_ints = [3, 2]> () r = Reshape (a, s) y = Mul (r, b)", {"a": (2, 3), "b": (3, 2)}),
    "Flatten": ("r = Flatten (a) y = Mul (r, b)", {"a": (2, 3, 2), "b": (2, 6)}),
    "Squeeze": ("r = Squeeze (a) y = Mul (r, b)", {"a": (2, 1, 3), "b": (2, 3)}),
    "Concat": ("c = Concat <axis = 1> (a, b, a) y = Mul (c, c)", {"a": (2, 3), "b": (2, 1)}),
    "MatMul": ("y = MatMul (a, b)", {"a": (2, 3), "b": (3, 4)}),
    "MatMul by itself": ("y = MatMul (a, a)", {"a": (3, 3)}),
    "MatMul of batches": ("y = MatMul (a, b)", {"a": (5, 2, 3), "b": (5, 3, 4)}),
    "MatMul of batches and a matrix": ("y = MatMul (a, b)", {"a": (5, 2, 3), "b": (3, 4)}),
    "ReduceSum": ("s = ReduceSum <keepdims = 0> (a) y = Mul (s, s)", {"a": (2, 3)}),
    "ReduceMean": ("s = ReduceMean (a) y = Mul (s, s)", {"a": (2, 3)}),
    "ReduceSumSquare": ("y = ReduceSumSquare <keepdims = 0> (a)", {"a": (2, 3)}),
    "GlobalAveragePool": ("s = GlobalAveragePool (a) y = Mul (s, s)", {"a": (2, 3, 4, 5)}),
    "Conv": ("y = Conv (a, b, c)", {"a": (2, 3, 7, 6), "b": (4, 3, 3, 2), "c": (4,)}),
    "Conv strided": (
        "y = Conv <strides = [2, 3], pads = [1, 0, 1, 2], dilations = [2, 1]> (a, b)",
        {"a": (2, 3, 8, 9), "b": (4, 3, 3, 2)},
    ),
    "loss": ("d = Sub (a, b) s = Mul (d, d) y = ReduceMean <keepdims = 0> (s)", {"a": (2, 3), "b": (2, 3)}),
    "used twice": ("e = Exp (a) s = Sin (a) y = Mul (e, s)", {"a": (2, 3)}),
    **{
        f"Gemm {a}{b}": (
            f"g = Gemm <transA = {a}, transB = {b}, alpha = 0.5, beta = 2.0> (a, b, c) y = Tanh (g)",
            {"a": (3, 2) if a else (2, 3), "b": (4, 3) if b else (3, 4), "c": (4,)},
        )
        for a in (0, 1)
        for b in (0, 1)
    },
}
NEWER: dict[str, tuple[str, Mapping[str, tuple[int, ...]]]] = {
    "Expand": ("s = Shape (b) e = Expand (a, s) y = Mul (e, b)", {"a": (3,), "b": (2, 3)}),
    "Softmax": ("s = Softmax <axis = 1> (a) y = Mul (s, b)", {"a": (2, 3, 4), "b": (2, 3, 4)}),
    "LogSoftmax": ("s = LogSoftmax (a) y = Mul (s, b)", {"a": (2, 3), "b": (2, 3)}),
    "ReduceSum of axes": ("x = Constant <value_ints = [-1]> () s = ReduceSum (a, x) y = Mul (s, b)", {"a": (2, 3), "b": (2, 1)}),
    "ReduceMean of axes": (
        "x = Constant <value_ints = [0]> () s = ReduceMean <keepdims = 0> (a, x) y = Mul (s, b)",
        {"a": (2, 3), "b": (3,)},
    ),
    "Unsqueeze": ("x = Constant <value_ints = [0]> () s = Unsqueeze (a, x) y = Mul (s, b)", {"a": (3,), "b": (2, 3)}),
}


def parsed(body: str, inputs: Mapping[str, str], outputs: str, opset: int) -> onnx.ModelProto:
    declared = ", ".join(f"double[{shape}] {name}" if shape else f"double {name}" for name, shape in inputs.items())
    text = f"""<ir_version: 10, opset_import: ["" : {opset}, "ai.onnx.preview.training" : 1]> g ({declared}) => ({outputs}) {{ {body} }}"""
    return onnx.parser.parse_model(text)


def gradient_node(names: list[str], y: str = "y") -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    outputs = ", ".join(f"d{name}" for name in names)
    return f'{outputs} = ai.onnx.preview.training.Gradient <xs = [{listed}], y = "{y}"> ({", ".join(names)})'


def session_of(model: onnx.ModelProto) -> onnxgpu.InferenceSession:
    return onnxgpu.InferenceSession(model, providers=CPU)


def inputs_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(7)
    return {name: np.asarray(generator.uniform(0.2, 1.5, shape) * generator.choice([-1, 1], shape)) for name, shape in shapes.items()}


def differences(session: onnxgpu.InferenceSession, feeds: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The gradient of the sum of the first output, by central differences."""
    result = np.zeros_like(feeds[name])
    for index in np.ndindex(result.shape):
        sums = []
        for step in (STEP, -STEP):
            moved = feeds[name].copy()
            moved[index] += step
            sums.append(session.run(None, {**feeds, name: moved})[0].sum())
        result[index] = (sums[0] - sums[1]) / (2 * STEP)
    return result


def check(body: str, shapes: Mapping[str, tuple[int, ...]], opset: int, symbolic: bool = False) -> None:
    """Compare the gradient of each input, with known sizes or with symbols for them."""
    declared = {name: ", ".join(f"{name}{i}" if symbolic else str(d) for i, d in enumerate(shape)) for name, shape in shapes.items()}
    names, feeds = list(shapes), inputs_of(shapes)
    model = parsed(f"{body} {gradient_node(names)}", declared, f"y, {', '.join(f'd{name}' for name in names)}", opset)
    session = session_of(model)
    rough = any(node.op_type == "Cast" for node in model.graph.node)
    for name, actual in zip(names, session.run(None, feeds)[1:], strict=True):
        expected = differences(session, feeds, name)
        assert actual.shape == feeds[name].shape
        np.testing.assert_allclose(actual, expected, rtol=0.2 if rough else 1e-5, atol=0.2 if rough else 1e-6, err_msg=name)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("opset", [12, 21])
def test_rules(name: str, opset: int) -> None:
    check(*FORMULAS[name], opset=opset)


@pytest.mark.parametrize("name", NEWER)
def test_rules_of_newer_opsets(name: str) -> None:
    check(*NEWER[name], opset=18)


@pytest.mark.parametrize("name", ["Add broadcast", "Div broadcast", "columns", "scalar", "Expand", "MatMul", "Gemm 01", "ReduceMean"])
def test_symbolic_dimensions(name: str) -> None:
    check(*(FORMULAS | NEWER)[name], opset=21, symbolic=True)


def test_every_rule_is_tried() -> None:
    tried = " ".join(body for body, _ in (*FORMULAS.values(), *NEWER.values()))
    unused = {"And", "Or", "Not", "NonZero", "Size", "ConstantOfShape", "Equal", "Greater", "Ceil", "Round"}
    assert {name for name in RULES if f"{name} " not in tried} == unused


def test_second_order() -> None:
    """d²(a³)/da² = 6 a, through two Gradient nodes."""
    cube = "s = Mul (a, a) y = Mul (s, a)"
    body = f'{cube} {gradient_node(["a"])} dda = ai.onnx.preview.training.Gradient <xs = ["a"], y = "da"> (a)'
    session = session_of(parsed(body, {"a": "3"}, "da, dda", 21))
    a = np.array([1.0, -2.0, 0.5])
    first, second = session.run(None, {"a": a})
    np.testing.assert_allclose(first, 3 * a**2)
    np.testing.assert_allclose(second, 6 * a)


def test_at_other_values_than_the_graphs() -> None:
    """The inputs of the node take the place of the tensors that it names, an intermediate one here."""
    body = """h = Exp (a) y = Mul (h, b)
        dh, db = ai.onnx.preview.training.Gradient <xs = ["h", "b"], y = "y"> (other, b)"""
    session = session_of(parsed(body, {"a": "2", "b": "2", "other": "2"}, "y, dh, db", 21))
    a, b, other = np.array([0.0, 1.0]), np.array([2.0, 3.0]), np.array([5.0, 7.0])
    y, dh, db = session.run(None, {"a": a, "b": b, "other": other})
    np.testing.assert_allclose(y, np.exp(a) * b)
    np.testing.assert_array_equal(dh, b)
    np.testing.assert_array_equal(db, other)


def test_left_out_and_constant_outputs() -> None:
    """An output may be left out, `zs` is not differentiated, and what `y` does not depend on has a gradient of zero."""
    body = """y = Mul (a, z)
        , du = ai.onnx.preview.training.Gradient <xs = ["a", "u"], zs = ["z"], y = "y"> (a, u, z)"""
    model = parsed(body.replace("\n        ,", "\n        unused,"), {"a": "2", "z": "2", "u": "3"}, "y, du", 21)
    model.graph.node[1].output[0] = ""
    (_, du) = session_of(model).run(None, {"a": np.ones(2), "z": np.ones(2), "u": np.ones(3)})
    np.testing.assert_array_equal(du, np.zeros(3))


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("y = MaxPool <kernel_shape = [2]> (a)", NotImplemented, "there is no rule for MaxPool; there are rules for Abs, Add"),
        ("y, i = TopK (a, k)", NotImplemented, "no rule for TopK"),
        ('y = Conv <auto_pad = "SAME_UPPER"> (a, a)', NotImplemented, "pads automatically"),
    ],
)
def test_what_has_no_rule(body: str, error: type[Exception], message: str) -> None:
    start = "k = Constant <value_ints = [1]> ()" if "TopK" in body else ""
    model = parsed(f'{start} {body} da = ai.onnx.preview.training.Gradient <xs = ["a"], y = "y"> (a)', {"a": "1, 1, 4"}, "da", 21)
    with pytest.raises(error, match=message):
        session_of(model)


def test_bad_gradients() -> None:
    for node, message in (
        ('da = ai.onnx.preview.training.Gradient <xs = ["nothing"], y = "y"> (a)', "no tensor 'nothing'"),
        ('da = ai.onnx.preview.training.Gradient <xs = ["a"], y = "y"> (a, a)', "got 2 inputs"),
    ):
        with pytest.raises(InvalidGraph, match=message):
            session_of(parsed(f"y = Exp (a) {node}", {"a": "2"}, "da", 21))
    with pytest.raises(NotImplemented, match="needs a model of opset 11 or newer"):
        session_of(parsed(f"y = Exp (a) {gradient_node(['a'])}", {"a": "2"}, "da", 10))
