"""Nodes of operator EPContext, which hold a compiled part of a model, in files and in graphs.

A file has an embedded engine as an attribute of text, which the graph's package would decode; in a graph it is a tensor of bytes (`wire`
makes it one already if it is large).
Source: the schema of com.microsoft.EPContext, version 1, in onnxruntime's `contrib_defs.cc`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnxgpu.model_file.names import all_graphs

if TYPE_CHECKING:
    import onnx

DOMAIN, OPERATOR = "com.microsoft", "EPContext"
CONTENT, EMBEDDED = "ep_cache_context", "embed_mode"


def engines_as_tensors(model: onnx.ModelProto) -> None:
    """Make each embedded engine a tensor, in place."""
    for node in _context_nodes(model):
        if any(attribute.name == EMBEDDED and attribute.i == 0 for attribute in node.attribute):
            continue
        for attribute in node.attribute:
            if attribute.name == CONTENT and attribute.HasField("s"):
                content = attribute.s
                attribute.ClearField("s")
                attribute.type = attribute.TENSOR
                attribute.t.data_type, attribute.t.raw_data = attribute.t.UINT8, content
                attribute.t.dims.append(len(content))


def engines_as_text(model: onnx.ModelProto) -> None:
    """Make each embedded engine text again, in place."""
    for node in _context_nodes(model):
        for attribute in node.attribute:
            if attribute.name == CONTENT and attribute.HasField("t"):
                content = attribute.t.raw_data
                attribute.ClearField("t")
                attribute.type, attribute.s = attribute.STRING, content


def _context_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in all_graphs(model.graph):
        yield from (node for node in graph.node if (node.domain, node.op_type) == (DOMAIN, OPERATOR))
