"""Small models for tests, written as ONNX text."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import parser

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
