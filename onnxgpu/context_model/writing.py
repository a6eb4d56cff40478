"""A placed graph as a model: each compiled segment becomes one node of operator EPContext, all else stays standard ONNX.

The node has the attributes of onnxruntime's schema. `notes` is JSON that says which bytes belong to the node, and what its
values were called when the engine was made: `{"sha256", "bytes", "inputs", "outputs", "engine"}`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.atomic_file import whole_file
from onnxgpu.context_model.marks import COMPATIBILITY, marks
from onnxgpu.context_model.request import ContextRequest
from onnxgpu.ep_context import OrtEpContextData
from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.log import logger
from onnxgpu.model_file.context_nodes import CONTENT, DOMAIN, EMBEDDED, OPERATOR
from onnxgpu.model_file.loaded import LoadedModel
from onnxgpu.model_file.saving import MOST_BYTES, initializers
from onnxgpu.segment_provider import Engine, SegmentClaim

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxgpu.partition import Assignment, Placement

_ROOM_FOR_THE_GRAPH = 1 << 20


def with_engines(loaded: LoadedModel, placement: Placement, request: ContextRequest) -> LoadedModel | None:
    """The model with its compiled segments as nodes that hold engines; files with engines are written.

    Args:
        loaded: the model whose graph was placed; it is not changed.
        placement: of its nodes, each segment being one of them.
        request: what to write, and where.

    Returns:
        The model; None if nothing was compiled.

    Raises:
        Fail: a provider cannot keep what it compiled, or the function that takes engines fails.
        InvalidArgument: engines have to go into files, and there is no place for these, or it is outside of the model's folder.
    """
    copy = loaded.model.clone()
    compiled = [
        (twin, assignment, _keeper(assignment))
        for original, graph in zip(list(loaded.model.graphs()), list(copy.graphs()), strict=True)
        for node, twin in zip(list(original), list(graph), strict=True)
        if _is_compiled(assignment := placement[node])
    ]
    if not compiled:
        return None
    embedded = [keep() for *_, keep in compiled] if request.embed else []
    if not _fit(copy, embedded, request):
        embedded = []
    for number, (node, assignment, keep) in enumerate(compiled):
        engine = embedded[number] if embedded else keep()
        file_name = "" if embedded else f"{request.stem}_{assignment.provider.name}_{number}.engine"
        _make_context(node, assignment, engine, request, file_name)
        if loaded.path is not None:
            _set(node, onnx_model_filename=loaded.path.name)
        copy.metadata_props[f"{COMPATIBILITY}{assignment.provider.name}"] = marks(engine)
    copy.opset_imports[DOMAIN] = 1
    return replace(loaded, model=copy)


def _is_compiled(assignment: Assignment) -> bool:
    return bool(assignment.members) or (isinstance(assignment.claim, SegmentClaim) and assignment.claim.engine is not None)


def _keeper(assignment: Assignment) -> Callable[[], Engine]:
    claim = assignment.claim
    if not isinstance(claim, SegmentClaim) or claim.engine is None:
        raise Fail(f"{assignment.provider.name} cannot keep in a model what it compiles; leave ep.context_enable out, or the provider")
    return claim.engine


def _fit(model: ir.Model, engines: Sequence[Engine], request: ContextRequest) -> bool:
    """Whether a model file can hold `engines`, and with them the initializers that it does not put elsewhere."""
    if not engines:
        return True
    weights = 0 if request.external_file else sum(value.const_value.nbytes for value in initializers(model) if value.const_value)
    size = sum(memoryview(engine.content).nbytes for engine in engines) + weights
    if size + _ROOM_FOR_THE_GRAPH <= MOST_BYTES:
        return True
    logger.warning("engines and initializers have %d bytes, more than protobuf holds: engines are written to files beside the model", size)
    return False


def _make_context(node: ir.Node, assignment: Assignment, engine: Engine, request: ContextRequest, file_name: str) -> None:
    """Make a copied node one that holds `engine`, in a file of that name, or in itself if that is empty."""
    import onnx_ir as ir

    name = assignment.operation.attributes.get("partition_name", "") or node.name or ""
    name = f"{request.prefix}{name}"
    content = memoryview(engine.content).cast("B")
    if file_name:
        where = ir.AttrString(CONTENT, _written(content, file_name, request))
    else:
        where = ir.AttrTensor(CONTENT, ir.tensor(np.frombuffer(content, np.uint8)))
    facts = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": content.nbytes,
        "inputs": [value.name for value in node.inputs if value is not None],
        "outputs": [value.name for value in node.outputs],
        "engine": dict(engine.notes),
    }
    node.domain, node.op_type, node.version, node.name = DOMAIN, OPERATOR, 1, name
    _take_out_bodies(node)
    node.attributes.clear()
    node.attributes.add(where)
    _set(node, main_context=1, source=assignment.provider.name, partition_name=name, notes=json.dumps(facts))
    _set(node, ep_sdk_version=engine.version, hardware_architecture=engine.hardware, **{EMBEDDED: int(not file_name)})


def _take_out_bodies(node: ir.Node) -> None:
    """Let what stands by for a segment use no weights any more, so that these are not written."""
    from onnx_ir.traversal import RecursiveGraphIterator

    for attribute in node.attributes.values():
        if attribute.type.name == "GRAPH":
            for inner in RecursiveGraphIterator(attribute.as_graph()):
                for index in range(len(inner.inputs)):
                    inner.replace_input_with(index, None)


def _set(node: ir.Node, **values: str | int) -> None:
    import onnx_ir as ir

    for name, value in values.items():
        node.attributes.add(ir.AttrString(name, value) if isinstance(value, str) else ir.AttrInt64(name, value))


def _written(content: memoryview, file_name: str, request: ContextRequest) -> str:
    """Write an engine where `request` says; what the model is to say of it."""
    if request.write is not None:
        with OrtEpContextData(content).lent() as data:
            try:
                request.write(file_name, data)
            except Exception as error:
                raise Fail(f"Python EPContext data write callback failed: {type(error).__name__}: {error} (for '{file_name}')") from error
        return file_name
    if request.engine_folder is None:
        raise InvalidArgument(
            f"there is no folder for the engine '{file_name}': embed engines into the model, or say where they go by "
            "set_ep_context_binary_information, or give a function to set_ep_context_data_write_func"
        )
    location = _from_model(request.engine_folder / file_name, request.folder)
    try:
        if request.engine_folder != request.folder:
            request.engine_folder.mkdir(parents=True, exist_ok=True)
        with whole_file(request.engine_folder / file_name) as file:
            file.write(content)
    except OSError as error:
        raise InvalidArgument(f'open file "{request.engine_folder / file_name}" failed: {error.strerror or error}') from error
    return location


def _from_model(path: Path, folder: Path | None) -> str:
    if folder is None:
        return path.name
    file, home = path.parent.resolve() / path.name, folder.resolve()
    if not file.is_relative_to(home):
        raise InvalidArgument(f"engines would go to '{path.parent}', outside of the model's folder '{folder}', where no session reads them")
    return file.relative_to(home).as_posix()
