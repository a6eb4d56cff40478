"""onnxruntime's own operators in OpenVINO: those that are claimed give what onnxruntime gives, whatever their attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnxgpu.session import InferenceSession

pytest.importorskip("openvino")

NAME = "OpenVINOExecutionProvider"
ROWS = st.integers(1, 5)
WIDTH = st.sampled_from([1, 7, 16, 33])

Draw = Callable[[st.SearchStrategy[Any]], Any]
Drawn = tuple[list[np.ndarray | None], dict[str, Any], list[str]]


def normal(draw: Draw, *shape: int) -> np.ndarray:
    return np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape, np.float32)


def biased(draw: Draw) -> Drawn:
    rows, width = draw(ROWS), draw(WIDTH)
    return [normal(draw, 2, rows, width), normal(draw, width)], {}, ["y"]


def gelu(draw: Draw) -> Drawn:
    return [normal(draw, draw(ROWS), draw(WIDTH)) * 3], {}, ["y"]


def quick_gelu(draw: Draw) -> Drawn:
    return gelu(draw)[0], draw(st.fixed_dictionaries({}, optional={"alpha": st.sampled_from([1.0, 1.5, -0.7])})), ["y"]


def matmul(draw: Draw) -> Drawn:
    rows, inner, columns, batch = draw(ROWS), draw(WIDTH), draw(ROWS), draw(st.sampled_from([(), (2,), (2, 3)]))
    turned = draw(st.booleans()), draw(st.booleans())
    a = normal(draw, *batch, *((inner, rows) if turned[0] else (rows, inner)))
    b = normal(draw, *batch, *((columns, inner) if turned[1] else (inner, columns)))
    alpha = draw(st.sampled_from([1.0, 0.25, -2.0]))
    return [a, b], {"transA": int(turned[0]), "transB": int(turned[1]), "alpha": alpha}, ["y"]


def skipped(weights: int) -> Callable[[Draw], Drawn]:
    """A sum and its normalisation, with that many vectors before the optional bias."""

    def drawn(draw: Draw) -> Drawn:
        rows, width = draw(ROWS), draw(WIDTH.filter(lambda size: size > 1))
        inputs: list[np.ndarray | None] = [normal(draw, 2, rows, width) for _ in range(2)]
        inputs += [normal(draw, width) for _ in range(weights + draw(st.booleans()))]
        epsilon = draw(st.sampled_from([1e-12, 1e-5, 0.1]))
        return inputs, {"epsilon": epsilon}, draw(st.sampled_from([["y"], ["y", "", "", "s"]]))

    return drawn


def convolution(draw: Draw) -> Drawn:
    activation, parameters = draw(
        st.sampled_from(
            [
                ("Relu", []),
                ("Tanh", []),
                ("Sigmoid", []),
                ("LeakyRelu", [0.2]),
                ("Clip", [-0.5, 0.5]),
                ("HardSigmoid", [0.3, 0.4]),
            ]
        )
    )
    group, pad = draw(st.sampled_from([1, 2])), draw(st.sampled_from([0, 1]))
    inputs = [normal(draw, 1, 4, 6, 6), normal(draw, 4, 4 // group, 3, 3), normal(draw, 4)]
    if draw(st.booleans()):
        inputs.append(normal(draw, 1, 4, 4 + 2 * pad, 4 + 2 * pad))
    attributes: dict[str, Any] = {"activation": activation, "group": group, "pads": [pad] * 4}
    return [*inputs], attributes | ({"activation_params": parameters} if parameters else {}), ["y"]


CLAIMED: dict[str, Callable[[Draw], Drawn]] = {
    "BiasGelu": biased,
    "FastGelu": biased,
    "FusedConv": convolution,
    "FusedMatMul": matmul,
    "Gelu": gelu,
    "QuickGelu": quick_gelu,
    "SkipLayerNormalization": skipped(2),
    "SkipSimplifiedLayerNormalization": skipped(1),
}


@pytest.mark.parametrize("operator", CLAIMED)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_claimed_operator_gives_what_onnxruntime_gives(operator: str, data: st.DataObject) -> None:
    inputs, attributes, outputs = CLAIMED[operator](data.draw)
    given_inputs = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    graph = helper.make_graph(
        [helper.make_node(operator, list(given_inputs), outputs, domain="com.microsoft", **attributes)],
        "g",
        [helper.make_tensor_value_info(name, 1, x.shape) for name, x in given_inputs.items()],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs if name],
    )
    imports = [helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    session = InferenceSession(model, providers=[NAME, "CPUExecutionProvider"])
    assert session.placement.providers() == (NAME,)
    expected = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, given_inputs)
    for ours, theirs in zip(session.run(None, given_inputs), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


def test_what_is_not_compared_is_refused() -> None:
    node = helper.make_node("FusedGemm", ["a", "b", "c"], ["y"], domain="com.microsoft", activation="Sigmoid")
    inputs = [helper.make_tensor_value_info(name, 1, [4, 4]) for name in "abc"]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", 1, None)])
    imports = [helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    (assignment,) = InferenceSession(model, providers=[NAME, "CPUExecutionProvider"]).placement
    assert assignment.refusals == ((NAME, "FusedGemm of OpenVINO's is not compared with ours"),)
