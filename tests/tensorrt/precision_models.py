"""A transformer block with everything that a rewrite of its precision has to look after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.tensorrt.precision_support import normal


def transformer(scale: float = 1.0) -> onnx.ModelProto:
    """One block: attention with a mask, norms written out and as an operator, GELU, residuals, weights by reference."""
    width, nodes, weights = 32, [], {}

    def weight(name: str, array: np.ndarray) -> str:
        weights[name] = np.asarray(array, np.float32)
        return name

    def node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    for index, name in enumerate("qkvo"):
        weight(name, normal(width, width, seed=index, scale=width**-0.5))
    weights["axes"] = np.array([-1], np.int64)
    mean = node("ReduceMean", ["x", "axes"], "mean")
    centred = node("Sub", ["x", mean], "centred")
    squares = node("Pow", [centred, weight("two", np.array(2))], "squares")
    variance = node("Add", [node("ReduceMean", [squares, "axes"], "m2"), weight("epsilon", np.array(1e-12))], "variance")
    normed = node("Div", [centred, node("Sqrt", [variance], "deviation")], "normed")
    q, k, v = (node("MatMul", [normed, name], f"{name}_of_x") for name in "qkv")
    scores = node("MatMul", [q, node("Transpose", [k], "k_t", perm=[0, 2, 1])], "scores")
    scaled = node("Mul", [scores, weight("scale", np.array(width**-0.5))], "scaled")
    hidden = node(
        "Mul", [node("Sub", [weight("one", np.array(1)), "mask"], "hidden"), weight("least", np.array(np.finfo(np.float32).min))], "bias"
    )
    attended = node("MatMul", [node("Softmax", [node("Add", [scaled, hidden], "masked")], "shares"), v], "attended")
    residual = node("Add", [node("MatMul", [attended, "o"], "projected"), "x"], "residual")
    second = node("LayerNormalization", [residual, weight("gamma", np.ones(width))], "second")
    wide = node("MatMul", [second, weight("up", normal(width, 4 * width, seed=5, scale=scale * width**-0.5))], "wide")
    node("Mul", [node("Erf", [node("Div", [wide, weight("root", np.array(2**0.5))], "r")], "erf"), wide], "gated")
    narrow = node("MatMul", ["gated", weight("down", normal(4 * width, width, seed=6, scale=scale * width**-0.5))], "narrow")
    last = node("LayerNormalization", [narrow, "gamma"], "last")
    node("Add", [last, residual], "y")
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("x", 1, ["b", "s", width]), helper.make_tensor_value_info("mask", 1, ["b", 1, "s"])],
        [helper.make_tensor_value_info("y", 1, ["b", "s", width])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


FEEDS = {"x": normal(2, 6, 32, seed=9), "mask": np.array([[[1, 1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1, 1]]], np.float32)}
