"""Every node names an operator that exists at the model's opset, with inputs, outputs and attributes it may have."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from onnxgpu.errors import Fail, InvalidGraph, NotImplemented
from onnxgpu.model_file.names import all_graphs, in_node, node_name
from onnxgpu.operators import NEWEST_OPSET

if TYPE_CHECKING:
    import onnx

UNREGISTERED = frozenset({("", "SimplifiedLayerNormalization"), ("", "LayerNormalization")})
"""Operators that onnxruntime's tools write into ai.onnx at opsets that do not have them."""

LEGACY = frozenset({"Affine", "Crop", "DynamicSlice", "ImageScaler", "ParametricSoftplus", "Scale", "ScaledTanh"})
"""Operators that onnxruntime kept in ai.onnx up to opset 9 after ONNX had dropped them."""


def check_operators(model: onnx.ModelProto, known_domains: Collection[str], known_operators: Collection[tuple[str, str]]) -> None:
    """Check every node against its operator's schema, in the whole model.

    Operators of `known_domains` and `known_operators` are not checked: their providers do that.

    Raises:
        InvalidGraph: an operator, attribute, or number of inputs that does not exist at this opset.
        NotImplemented: an opset newer than this version knows.
        Fail: an operator of an unknown domain.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    for graph in all_graphs(model.graph):
        for node in graph.node:
            if (node.domain, node.op_type) in known_operators:
                continue
            if node.domain in known_domains and node.domain not in _onnx_domains():
                continue
            _check_node(graph, node, versions, known_domains)


def import_known_domains(model: onnx.ModelProto, known_domains: Collection[str]) -> None:
    """Add version 1 of each known domain that nodes use and the model forgot to import, as onnxruntime does."""
    imported = {entry.domain for entry in model.opset_import}
    used = {node.domain for graph in all_graphs(model.graph) for node in graph.node}
    for domain in sorted(used - imported):
        if domain in known_domains and domain not in _onnx_domains():
            model.opset_import.add(domain=domain, version=1)


def _check_node(graph: onnx.GraphProto, node: onnx.NodeProto, versions: Mapping[str, int], known_domains: Collection[str]) -> None:
    version = versions.get(node.domain)
    if version is None:
        raise InvalidGraph(f"{in_node(graph, node)}No opset import for domain '{node.domain}'; add one to the model's opset_import")
    if node.domain not in _onnx_domains():
        known = ", ".join(sorted({d or "ai.onnx" for d in _onnx_domains()} | set(known_domains)))
        raise Fail(
            f"Fatal error: {node.domain}:{node.op_type}({version}) is not a registered function/op: {node_name(node)}; "
            f"known domains are {known}; register the operator, or export it as a model-local function"
        )
    newest = NEWEST_OPSET.get(node.domain, _onnx_domains()[node.domain])
    if version > newest:
        raise NotImplemented(
            f"{node_name(node)} is written for opset {version} of domain '{node.domain or 'ai.onnx'}', the newest known here is {newest}; "
            "export the model for an older opset, or update onnxgpu"
        )
    schema = _schema(node.op_type, version, node.domain)
    if schema is None:
        if (node.domain, node.op_type) in UNREGISTERED or (not node.domain and version < 10 and node.op_type in LEGACY):
            return
        advice = _advice(node.op_type, version, node.domain)
        raise InvalidGraph(f"{in_node(graph, node)}No Op registered for {node.op_type} with domain_version of {version}{advice}")
    problem = _problem(node, schema, version)
    if problem:
        raise InvalidGraph(in_node(graph, node) + problem)


def _problem(node: onnx.NodeProto, schema: onnx.defs.OpSchema, version: int) -> str | None:
    """What breaks the schema, or None."""
    if schema.deprecated:
        return f"Op registered for {node.op_type} is deprecated in domain_version of {version}; use the operator that replaces it"
    label = f"Node with schema({schema.domain}::{schema.name}:{schema.since_version})"
    if not schema.min_input <= len(node.input) <= schema.max_input:
        return f"{label} has input size {len(node.input)} not in range [min={schema.min_input}, max={schema.max_input}]."
    if not schema.min_output <= len(node.output) <= schema.max_output:
        return f"{label} has output size {len(node.output)} not in range [min={schema.min_output}, max={schema.max_output}]."
    types, required = _attribute_types(schema)
    given = set()
    for attribute in node.attribute:
        given.add(attribute.name)
        expected = types.get(attribute.name)
        if expected is None:
            if not attribute.name.startswith("__"):
                return f"Unrecognized attribute: {attribute.name} for operator {node.op_type}"
        elif attribute.type != expected:
            kinds = f"Expected: '{_kind(expected)}', actual: '{_kind(attribute.type)}'"
            return f"Mismatched attribute type in '{node.name} : {attribute.name}'. {kinds}"
    missing = sorted(required - given)
    return f"Required attribute '{missing[0]}' is missing." if missing else None


def _code(kind: Any) -> int:
    """The number of an `OpSchema.AttrType`, which is that of `AttributeProto`."""
    return int(kind.value)


def _kind(code: int) -> str:
    import onnx

    return str(onnx.AttributeProto.AttributeType.Name(code))


def _advice(operator: str, version: int, domain: str) -> str:
    import onnx

    schemas = [s for s in onnx.defs.get_all_schemas_with_history() if s.name == operator]
    newer = sorted(s.since_version for s in schemas if s.domain == domain and s.since_version > version)
    if newer:
        return f": {operator} exists since opset {newer[0]}; export the model for that opset or a newer one"
    elsewhere = sorted({s.domain or "ai.onnx" for s in schemas if s.domain != domain})
    if elsewhere:
        return f": {operator} is an operator of domain '{elsewhere[0]}'; set the node's domain"
    similar = difflib.get_close_matches(operator, _names(domain), 1)
    meant = f" (did you mean {similar[0]}?)" if similar else ""
    return f": ONNX has no such operator{meant}; custom operators need a domain of their own and must be registered"


def _names(domain: str) -> Iterable[str]:
    import onnx

    return {s.name for s in onnx.defs.get_all_schemas() if s.domain == domain}


@cache
def _schema(operator: str, version: int, domain: str) -> onnx.defs.OpSchema | None:
    import onnx

    try:
        return onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None


@cache
def _onnx_domains() -> Mapping[str, int]:
    """The domains of the ONNX standard and the newest opset that the `onnx` package knows of each."""
    import onnx

    newest: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas():
        newest[schema.domain] = max(newest.get(schema.domain, 0), schema.since_version)
    newest[""] = onnx.defs.onnx_opset_version()
    return newest


_TYPES: dict[tuple[str, str, int], tuple[dict[str, int], frozenset[str]]] = {}


def _attribute_types(schema: onnx.defs.OpSchema) -> tuple[dict[str, int], frozenset[str]]:
    """Attribute types and the names of required attributes; reading them off the schema is slow, so they are kept."""
    key = (schema.domain, schema.name, schema.since_version)
    if key not in _TYPES:
        types = {name: _code(attribute.type) for name, attribute in schema.attributes.items()}
        _TYPES[key] = types, frozenset(name for name, attribute in schema.attributes.items() if attribute.required)
    return _TYPES[key]
