"""Offer every rule's fusions to the provider that runs all of their nodes; it claims the fused operation or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as updated
from typing import TYPE_CHECKING

from onnxgpu.fuse.convolution import convolution_with_epilogue
from onnxgpu.fuse.elementwise_chain import elementwise_chain
from onnxgpu.fuse.fusion import Fusion, fused_node, replace
from onnxgpu.fuse.gelu import gelu_of_erf, gelu_of_tanh
from onnxgpu.fuse.matmul import matmul_with_epilogue
from onnxgpu.fuse.quantized import quantized_convolution, quantized_product
from onnxgpu.fuse.quantized_weights import product_of_narrow_weights
from onnxgpu.fuse.silu import silu
from onnxgpu.partition.operations import operation_of
from onnxgpu.partition.placement import Assignment, Placement
from onnxgpu.provider import Claim

if TYPE_CHECKING:
    import onnx_ir as ir

Rule = Callable[["ir.Node"], Fusion | None]

RULES: tuple[Rule, ...] = (
    gelu_of_erf,
    gelu_of_tanh,
    silu,
    quantized_convolution,
    quantized_product,
    product_of_narrow_weights,
    convolution_with_epilogue,
    matmul_with_epilogue,
    elementwise_chain,
)
"""In order: what an earlier rule makes, a later one may build on."""

LEVEL = 2
"""The least graph optimisation level (ORT_ENABLE_EXTENDED) at which nodes are fused."""


def fuse(model: ir.Model, placement: Placement, *, level: int) -> Placement:
    """Replace nodes of `model` by fused ones where their provider claims the fused operation, the last nodes first.

    Args:
        model: changed in place.
        placement: of all its nodes.
        level: graph optimisation level.
    """
    if level < LEVEL:
        return placement
    assignments = dict(placement.assignments)
    for graph in model.graphs():
        for rule in RULES:
            for node in reversed(tuple(graph)):
                if node.graph is graph:
                    _try(rule, node, graph, model, assignments)
    in_order = {node: assignments[node] for graph in model.graphs() for node in graph}
    return Placement(in_order)


def _try(rule: Rule, node: ir.Node, graph: ir.Graph, model: ir.Model, assignments: dict[ir.Node, Assignment]) -> None:
    fusion = rule(node)
    if fusion is None:
        return
    provider = assignments[fusion.nodes[0]].provider
    if any(assignments[old].provider is not provider for old in (*fusion.shared, *fusion.nodes)):
        return
    fused = fused_node(fusion, model.opset_imports)
    operation = operation_of(fused, model.opset_imports)
    claim = provider.claim(operation)
    if not isinstance(claim, Claim):
        for index in range(len(fused.inputs)):
            fused.replace_input_with(index, None)
        return
    names = "+".join(old.op_type for old in (*fusion.shared, *fusion.nodes))
    first = assignments[fusion.nodes[0]]
    for old in fusion.nodes:
        del assignments[old]
    replace(graph, fusion, fused)
    assignments[fused] = updated(first, operation=operation, claim=claim, reason=f"{first.reason}; fused from {names}")
