"""Types and shapes of every value, by ONNX's own inference on a copy of the graph that holds no weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from onnxgpu.dtypes import code_of, dtype_named, dtype_of, name_of
from onnxgpu.errors import Fail, InvalidGraph, OnnxGpuError
from onnxgpu.log import logger
from onnxgpu.model_file.names import subgraphs
from onnxgpu.model_file.outline import Outline
from onnxgpu.model_file.value_types import has_map, type_text

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_PROBLEM = re.compile(r"\(op_type:(?P<operator>[^,)]*)(?:, node name: (?P<node>n\d+))?\): \[(?P<kind>\w+)\] (?P<text>.*)")
_SEPARATOR = re.compile(r"(?:\[\w+\] )?Inference error\(s\): |\n")
_ELEMENT_TYPES = re.compile(r"Inferred elem type differs from existing elem type: \((\d+)\) vs \((\d+)\)")
_LIMITS = ("expected to have type but instead is null", "ParseData type mismatch", "Number of elements of input 'sizes' (0)")
"""What inference says where it cannot go on, though nothing is wrong: no type, a constant that it reads as int64 only, unknown sizes."""
_ELEMENT_TYPE = re.compile(r"tensor\((\w+)\)")
_INVENTED_SYMBOL = "unk__"


def infer_types(model: ir.Model) -> None:
    """Set dtype and shape of every value of `model` that can be known, subgraphs included, in place.

    Weights are neither read nor copied, except those of few elements, which may decide shapes. A shape that the file
    declares and that contradicts what its node gives is replaced, with a warning, as onnxruntime does. Values behind an
    operator that ONNX does not define are found where `stand_ins` knows what its outputs are, or the file declares them. What
    inference leaves without a type, as it does behind some of ai.onnx.ml, has that of the operator's schema where it is the only one.

    Raises:
        Fail: shapes that cannot go together, as in Add of [2] and [3]; names the node.
        InvalidGraph: a value whose declared element type is not what its node gives; names both.
    """
    unknown = None
    while True:
        outline = Outline(model)
        _read_back(_infer(outline), outline)
        before, unknown = unknown, outline.untyped_outputs()
        if not _type_by_schemas(outline, model.opset_imports) and (not unknown or unknown == before):
            return


def shapes_at(model: ir.Model, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of the values of `model`, those of bodies included, for these shapes of its inputs; unknown ones are left out.

    Args:
        model: as it is; nothing in it changes.
        sizes: name of an input of the graph → shape; the others have the shapes that the model declares.
    """
    from onnx.shape_inference import infer_shapes

    outline = Outline(model)
    proto = outline.proto(False)
    for info in proto.graph.input:
        shape = sizes.get(outline.values[info.name].name or "") if info.name in outline.values else None
        if shape is not None:
            info.type.tensor_type.shape.ClearField("dim")
            for size in shape:
                info.type.tensor_type.shape.dim.add(dim_value=size)
    found: dict[str, tuple[int, ...]] = {}

    def read(graph: onnx.GraphProto) -> None:
        for info in (*graph.input, *graph.value_info, *graph.output):
            value, dims = outline.values.get(info.name), info.type.tensor_type.shape.dim
            if value is not None and value.name and info.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
                found[value.name] = tuple(d.dim_value for d in dims)
        for node in graph.node:
            for inner in subgraphs(node):
                read(inner)

    read(infer_shapes(proto, strict_mode=False, data_prop=True).graph)
    return found


def _infer(outline: Outline) -> onnx.ModelProto:
    from onnx.shape_inference import InferenceError, infer_shapes

    for declared, propagate in ((True, True), (False, True), (False, False)):
        try:
            inferred = infer_shapes(outline.proto(declared), strict_mode=True, data_prop=propagate)
        except (InferenceError, RuntimeError) as problem:
            error = _error(outline, str(problem))
            if isinstance(error, InvalidGraph):
                raise error from problem
            last = (error, problem)
            continue
        if not declared:
            logger.warning("shapes that the model declares contradict its nodes and are replaced: %s", last[0] or last[1])
        return inferred if propagate else infer_shapes(outline.proto(False), strict_mode=False, data_prop=True)
    if last[0] is not None:
        raise last[0] from last[1]
    return infer_shapes(outline.proto(False), strict_mode=False, data_prop=True)


def _error(outline: Outline, message: str) -> OnnxGpuError | None:
    """The first contradiction in a message of ONNX's inference; None if there are none but limits of inference itself."""
    for match in filter(None, map(_PROBLEM.match, _SEPARATOR.split(message))):
        node = outline.nodes.get(match["node"] or "")
        if node is None or not match["text"] or any(limit in match["text"] for limit in _LIMITS):
            continue
        types = _ELEMENT_TYPES.search(match["text"])
        if types:
            return _type_error(node, *(f"tensor({name_of(dtype_of(int(code)))})" for code in types.groups()))
        outputs = ", ".join(output.name or "" for output in node.outputs)
        return Fail(f"Node ({node.name or ''}) Op ({node.op_type}) [{match['kind']}] {match['text']} (gives {outputs}; {_inputs(node)})")
    return None


def _type_error(node: ir.Node, inferred: str, declared: str) -> InvalidGraph:
    outputs = [o.name for o in node.outputs if o.dtype is not None and f"tensor({name_of(dtype_of(int(o.dtype)))})" == declared]
    name = outputs[0] if outputs else node.outputs[0].name
    return InvalidGraph(
        f"Type Error: Type ({declared}) of output arg ({name}) of node ({node.name or ''}) does not match expected type ({inferred}): "
        f"{node.op_type} gives {inferred}; correct the declared type, or export the model again"
    )


def _inputs(node: ir.Node) -> str:
    given = [value for value in node.inputs if value is not None]
    texts = [f"{value.name}: {value.dtype or '?'}{value.shape if value.shape is not None else ''}" for value in given]
    return f"inputs {', '.join(texts)}"


def _type_by_schemas(outline: Outline, imports: Mapping[str, int]) -> bool:
    """Give outputs that have no type the only one that their operator's schema allows; whether there were any."""
    import onnx
    import onnx_ir as ir

    found = False
    for node in outline.nodes.values():
        if all(value.type is not None for value in node.outputs):
            continue
        schema = onnx.defs.get_schema(node.op_type, imports[node.domain], node.domain)
        for value, formal in zip(node.outputs, schema.outputs, strict=False):
            only = _ELEMENT_TYPE.fullmatch("".join(formal.types))
            if value.name and value.type is None and only:
                value.type, found = ir.TensorType(ir.DataType(code_of(dtype_named(only[1])))), True
    return found


def _read_back(inferred: onnx.ModelProto, outline: Outline) -> None:
    import onnx_ir as ir

    def read(graph: onnx.GraphProto, infos: list[onnx.ValueInfoProto]) -> None:
        for info in infos:
            value = outline.values.get(info.name)
            if value is None:
                continue
            kind = info.type.WhichOneof("value")
            if kind == "tensor_type" and info.type.tensor_type.elem_type:
                value.type = ir.TensorType(ir.DataType(info.type.tensor_type.elem_type))
                if info.type.tensor_type.HasField("shape"):
                    value.shape = _merged(value.shape, info.type.tensor_type.shape)
            elif kind in ("sequence_type", "optional_type") and value.type is None:
                value.type = _compound_type(info.type)
        for node in graph.node:
            for inner in subgraphs(node):
                read(inner, [*inner.input, *inner.value_info, *inner.output])

    read(inferred.graph, [*inferred.graph.value_info, *inferred.graph.output])


def _compound_type(proto: onnx.TypeProto) -> ir.TypeProtocol | None:
    import onnx_ir as ir

    return None if has_map(proto) or "()" in type_text(proto) else ir.serde.deserialize_type_proto_for_type(proto)


def _merged(declared: ir.Shape | None, inferred: onnx.TensorShapeProto) -> ir.Shape:
    """What is inferred; where that is unknown, what is declared, unless the two contradict each other."""
    import onnx_ir as ir

    known = [d.dim_value if d.HasField("dim_value") else _symbol(d.dim_param) for d in inferred.dim]
    if declared is None or len(declared) != len(known):
        return ir.Shape(known)
    pairs = list(zip(known, (d if isinstance(d, int) else d.value for d in declared), strict=True))
    if any(isinstance(k, int) and isinstance(g, int) and k != g for k, g in pairs):
        return ir.Shape(known)
    return ir.Shape([g if k is None or (isinstance(g, int) and not isinstance(k, int)) else k for k, g in pairs])


def _symbol(text: str) -> str | None:
    return text if text and not text.startswith(_INVENTED_SYMBOL) else None
