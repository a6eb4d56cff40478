"""Small models for tests, most of them written as ONNX text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

import onnxgpu
from onnxgpu.session import InferenceSession


def model(text: str) -> onnx.ModelProto:
    """The model of a graph in ONNX text, at opset 18 if the text does not begin with a header."""
    if not text.lstrip().startswith("<"):
        text = '<ir_version: 8, opset_import: ["" : 18]>\n' + text
    return parser.parse_model(text)


def session(text: str, providers: Sequence[object] | None = None, **config: str) -> InferenceSession:
    """A session over `model(text)` that is not rewritten, so that plans and placements are what the text says.

    `config` entries: `placement` becomes `onnxgpu.placement`; `level` is the graph optimisation level.
    """
    options = onnxgpu.SessionOptions()
    options.graph_optimization_level = onnxgpu.GraphOptimizationLevel(int(config.get("level", "0")))
    if "placement" in config:
        options.add_session_config_entry("onnxgpu.placement", config["placement"])
    return InferenceSession(model(text).SerializeToString(), options, providers=providers)  # type: ignore[arg-type]


def perceptron(rows: int | str = "n") -> onnx.ModelProto:
    """Two products with weights of a size that is handed over by reference."""
    generator = np.random.default_rng(0)
    weights = [generator.standard_normal((64, 64)).astype(np.float32) / 8 for _ in range(2)]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="middle"),
        helper.make_node("MatMul", ["b", "w1"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", 1, [rows, 64])],
        [helper.make_tensor_value_info("y", 1, [rows, 64])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
