"""Which network inputs are shape tensors: their values, not only their shapes, decide the shape of something."""

from __future__ import annotations

from onnxgpu.providers.tensorrt.stand_in.typed_graph import Node, TypedGraph

_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
               "ReduceSum", "ReduceSumSquare")  # fmt: skip
DECIDING: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "NonMaxSuppression": (2,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    "Loop": (0,),
    **dict.fromkeys(_REDUCTIONS, (1,)),
}
"""Operator → the inputs whose values decide the shapes of its outputs."""

_SHAPE_ONLY = frozenset({"Shape", "Size", "NonZero", "NonMaxSuppression"})
"""Of what they give, a shape follows without the values of their inputs, or as late as the values are there."""


def shape_inputs(graph: TypedGraph) -> frozenset[str]:
    """The names of the network inputs that are shape tensors."""
    nodes = list(graph.nodes())
    makers = {name: node for node in nodes for name in node.proto.output if name}
    open_names = [node.proto.input[index] for node in nodes for index in DECIDING.get(node.operator, ()) if node.has(index)]
    seen: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name in seen or graph.is_constant(name):
            continue
        seen.add(name)
        maker: Node | None = makers.get(name)
        if maker is not None and maker.operator not in _SHAPE_ONLY:
            open_names += [source for source in maker.proto.input if source]
    return frozenset(info.name for info in graph.inputs if info.name in seen)
