"""Model-local functions are inlined, and the inlined model computes what onnxruntime computes with the functions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxgpu.errors import InvalidGraph, NotImplemented
from onnxgpu.model_file import load
from tests.test_model_file import operators, parsed, run_in_onnxruntime

X = np.array([-1, 2, 3], "f")
HEADER = '<ir_version: 10, opset_import: ["" : 18, "f" : 1]>\n'
OPSETS = '<domain: "f", opset_import: ["" : 18, "f" : 1]>'
MODELS = {
    "twice": f"""{HEADER}g (float[3] x) => (float[3] y) {{ a = f.Double(x) y = f.Double(a) }}
        {OPSETS} Double (v) => (w) {{ t = Identity(v) w = Add(t, v) }}""",
    "nested": f"""{HEADER}g (float[3] x) => (float[3] y) {{ y = f.Quadruple(x) }}
        {OPSETS} Double (v) => (w) {{ w = Add(v, v) }}
        {OPSETS} Quadruple (v) => (w) {{ t = f.Double(v) w = f.Double(t) }}""",
    "name_clash": f"""{HEADER}g (float[3] x, float[3] t) => (float[3] y) {{ [Double] w = f.Double(x) y = Add(w, t) }}
        {OPSETS} Double (v) => (w) {{ t = Add(v, v) w = Relu(t) }}""",
    "slash_clash": f"""{HEADER}g (float[3] x) => (float[3] y) {{ [a] y = f.Outer(x) }}
        {OPSETS} Inner (v) => (w) {{ [k] t = Add(v, v) w = Relu(t) }}
        {OPSETS} Outer (v) => (w) {{ "b/t" = Neg(v) [b] q = f.Inner(v) w = Add("b/t", q) }}""",
    "attributes": f"""{HEADER}g (float[3] x) => (float[3] y, float[3] z) {{ y = f.Scaled <alpha = 0.5> (x) z = f.Scaled(x) }}
        <domain: "f", opset_import: ["" : 18]> Scaled <alpha: float = 0.25> (v) => (w) {{ w = LeakyRelu <alpha: float = @alpha> (v) }}""",
    "no_default": f"""{HEADER}g (float[3] x) => (float[3] y) {{ y = f.Leaky(x) }}
        <domain: "f", opset_import: ["" : 18]> Leaky <alpha> (v) => (w) {{ w = LeakyRelu <alpha: float = @alpha> (v) }}""",
    "in_subgraph": f"""{HEADER}g (float[3] x, bool b) => (float[3] y) {{
            y = If(b) <then_branch = t () => (float[3] p) {{ p = f.Double(x) }}, else_branch = e () => (float[3] q) {{ q = f.Double(x) }}>
        }}
        {OPSETS} Double (v) => (w) {{ w = Add(v, v) }}""",
    "subgraph_in_function": f"""{HEADER}g (float[3] x, bool b) => (float[3] y) {{ s = Neg(x) y = f.Choose(b, s, x) }}
        {OPSETS} Choose (c, v, x) => (w) {{
            s = Add(v, x)
            w = If(c) <then_branch = t () => (p) {{ p = Sub(s, v) }}, else_branch = e () => (q) {{ s2 = Relu(v) q = f.Double(s2) }}>
        }}
        {OPSETS} Double (v) => (w) {{ w = Add(v, v) }}""",
    "unused_output": f"""{HEADER}g (float[3] x) => (float[3] z) {{ , z = f.Both(x) }}
        {OPSETS} Both (v) => (u, w) {{ u = Abs(v) w = Neg(u) }}""",
    "missing_input": f"""{HEADER}g (float[3] x) => (float[3] z) {{ z = f.Capped(x) }}
        {OPSETS} Capped (v, low, high) => (w) {{ w = Clip(v, low, high) }}""",
}


@pytest.mark.parametrize("name", MODELS)
def test_inlined_model_computes_the_same(name: str) -> None:
    model = onnx.parser.parse_model(MODELS[name])
    loaded = load(model)
    assert not loaded.model.functions
    assert not {n.domain for n in loaded.model.graph.all_nodes()} & {"f"}
    feeds = {"x": X, "b": np.array(False), "t": X}
    feeds = {i.name: feeds[i.name] for i in model.graph.input}
    for ours, theirs in zip(run_in_onnxruntime(loaded.model, feeds), run_in_onnxruntime(model, feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_output_that_is_an_input() -> None:
    """onnxruntime refuses this one."""
    model = parsed(
        f"""g (float[3] x) => (float[3] y, float[3] z) {{ y, z = f.Both(x) }}
        {OPSETS} Both (v) => (v, w) {{ w = Neg(v) }}""",
        HEADER,
    )
    y, z = run_in_onnxruntime(load(model).model, {"x": X})
    np.testing.assert_array_equal(y, X)
    np.testing.assert_array_equal(z, -X)


def of_opset(version: int, body: str) -> onnx.ModelProto:
    return parsed(
        f"""g (float[3] x) => (float[3] y) {{ y = f.F(x) }}
        <domain: "f", opset_import: ["" : {version}]> F (v) => (w) {{ {body} }}""",
        HEADER,
    )


@pytest.mark.parametrize(
    ("version", "body"), [(13, "w = Relu(v)"), (21, "w = Add(v, v)"), (11, "t = LeakyRelu <alpha = 0.5> (v) w = Clip(t)")]
)
def test_function_of_another_opset_where_operators_mean_the_same(version: int, body: str) -> None:
    assert load(of_opset(version, body)).opset_imports[""] == 18


@pytest.mark.parametrize(
    ("version", "body", "operator"),
    [
        (11, "w = Softmax <axis = 1> (v)", "Softmax"),
        (11, "w = ReduceSum <axes = [0]> (v)", "ReduceSum"),
        (21, "s = Constant <value = float[1] {1}> () w = GroupNormalization <num_groups = 1> (v, s, s)", "GroupNormalization"),
        (13, "w, w2 = Split(v)", "Split"),
    ],
)
def test_function_of_another_opset_where_an_operator_changed(version: int, body: str, operator: str) -> None:
    with pytest.raises(NotImplemented, match=f"function f.F is written for opset {version}.*the model for 18.*{operator}.*one opset"):
        load(of_opset(version, body))


def test_function_brings_its_opset_import() -> None:
    model = of_opset(18, "w = ai.onnx.ml.Normalizer <norm = 'MAX'> (v)".replace("'", '"'))
    model.functions[0].opset_import.add(domain="ai.onnx.ml", version=3)
    assert load(model).opset_imports["ai.onnx.ml"] == 3


def test_recursion() -> None:
    model = parsed(
        f"""g (float[3] x) => (float[3] y) {{ y = f.A(x) }}
        {OPSETS} A (v) => (w) {{ w = f.B(v) }}
        {OPSETS} B (v) => (w) {{ w = f.A(v) }}""",
        HEADER,
    )
    with pytest.raises(InvalidGraph, match="calls itself: A -> B -> A"):
        load(model)


def test_exponential_growth_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxgpu.model_file.functions.NODE_LIMIT", 1000)
    functions = "".join(f"{OPSETS} F{i} (v) => (w) {{ a = f.F{i + 1}(v) w = f.F{i + 1}(a) }}\n" for i in range(30))
    text = f"g (float[3] x) => (float[3] y) {{ y = f.F0(x) }}\n{functions}{OPSETS} F30 (v) => (w) {{ w = Neg(v) }}"
    with pytest.raises(InvalidGraph, match="more than 1000 nodes"):
        load(parsed(text, HEADER))


def test_too_many_inputs() -> None:
    model = of_opset(18, "w = Neg(v)")
    model.graph.node[0].input.append("x")
    with pytest.raises(InvalidGraph, match=r"f.F node .* has 2 inputs .* takes at most 1"):
        load(model)


def test_same_function_twice() -> None:
    model = of_opset(18, "w = Neg(v)")
    model.functions.append(model.functions[0])
    with pytest.raises(InvalidGraph, match=r"f.F is defined twice"):
        load(model)


def test_function_may_stand_for_a_standard_operator() -> None:
    model = parsed('g (float[3] x) => (float[3] y) { y = Gelu(x) }\n<domain: "", opset_import: ["" : 18]> Gelu (v) => (w) { w = Neg(v) }')
    assert operators(load(model)) == ["Neg"]
