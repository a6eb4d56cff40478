"""Models of compiled segments, as tests look at them and change them."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper


def attributes(proto: onnx.ModelProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in proto.graph.node[0].attribute}


def changed(**values: Any) -> onnx.ModelProto:
    """`m_ctx.onnx` with other attributes of its first node; None takes one away."""
    proto = onnx.load("m_ctx.onnx")
    kept = [a for a in proto.graph.node[0].attribute if a.name not in values]
    del proto.graph.node[0].attribute[:]
    proto.graph.node[0].attribute.extend(kept)
    proto.graph.node[0].attribute.extend(helper.make_attribute(k, v) for k, v in values.items() if v is not None)
    return proto
