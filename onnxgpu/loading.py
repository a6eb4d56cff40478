"""Loading, rewriting and saving a model as its session options say."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxgpu.errors import InvalidArgument, NotImplemented
from onnxgpu.log import logger
from onnxgpu.options import SessionOptions

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxgpu.context_model import ContextRequest
    from onnxgpu.engine_files import EngineFiles
    from onnxgpu.metadata import ModelMetadata
    from onnxgpu.model_file import LoadedModel
    from onnxgpu.partition import Placement
    from onnxgpu.provider import Provider

    ModelSource = str | os.PathLike[str] | bytes | onnx.ModelProto
    """A model file, its bytes, or the parsed protobuf."""


def loaded_for(source: ModelSource, options: SessionOptions, domains: Collection[str]) -> LoadedModel:
    """The model at `source`, with the initializers, external files and the data folder of `options`.

    Args:
        source: of the model.
        options: of the session.
        domains: whose operators the model may use, besides ONNX's own.

    Raises:
        OnnxGpuError: see `onnxgpu.model_file.load`.
        NotImplemented: the options say that it is in onnxruntime's own format.
    """
    from onnxgpu.model_file import load
    from onnxgpu.model_file.context_nodes import DOMAIN, OPERATOR

    config = options.config_entries
    if config.get("session.load_model_format", "").upper() == "ORT":
        raise NotImplemented("session.load_model_format=ORT: onnxgpu does not read onnxruntime's .ort format; give the ONNX model instead")
    folder = config.get("session.model_external_initializers_file_folder_path", "")
    operators = {(DOMAIN, OPERATOR)}
    return load(source, known_domains=domains, known_operators=operators, supplied=options.supplied_data, data_folder=folder)


def known_domains(providers: Iterable[Provider]) -> frozenset[str]:
    """Domains of which a model may use operators; the internal one is for fused nodes alone."""
    from onnxgpu.fuse import INTERNAL_DOMAIN

    return frozenset[str]().union(*(provider.domains() for provider in providers)) - {"", INTERNAL_DOMAIN}


def disabled_rules(options: SessionOptions) -> list[str]:
    """The rewrite rules that the configuration leaves out, separated by `;`."""
    names = options.config_entries.get("optimization.disable_specified_optimizers", "").split(";")
    return [name.strip() for name in names if name.strip()]


def metadata_of(source: ModelSource, options: SessionOptions) -> ModelMetadata:
    """The metadata of the model at `source`."""
    from onnxgpu.discovery import providers

    available = [provider() for provider in providers().values() if provider.unavailable() is None]
    return loaded_for(source, options, known_domains(available)).metadata


def evaluator(model: ir.Model, providers: Sequence[Provider], proceed: Callable[[], None]) -> Any:
    """Runs one node on the host, for constant folding; `proceed` is called before and may raise to end it."""
    from onnxgpu.execute.single import run_on_host
    from onnxgpu.partition.operations import operation_of

    def evaluate(node: ir.Node, inputs: Sequence[Any]) -> Any:
        proceed()
        return run_on_host(operation_of(node, model.opset_imports), inputs, providers)

    return evaluate


def save_optimized(loaded: LoadedModel, options: SessionOptions) -> None:
    """Write the rewritten model to `optimized_model_filepath`.

    Raises:
        InvalidArgument: a file cannot be written, or a configuration entry makes no sense.
        NotImplemented: the options want onnxruntime's own format.
    """
    from onnxgpu.model_file.saving import LEAST_EXTERNAL_BYTES, save

    path, config = options.optimized_model_filepath, options.config_entries
    format_name = config.get("session.save_model_format", "ORT" if path.endswith(".ort") else "").upper()
    if format_name == "ORT":
        raise NotImplemented(
            f"optimized_model_filepath '{path}': onnxgpu does not write onnxruntime's .ort format; give it a name in .onnx"
        )
    external = config.get("session.optimized_model_external_initializers_file_name", "")
    least = config.get("session.optimized_model_external_initializers_min_size_in_bytes", str(LEAST_EXTERNAL_BYTES))
    if not least.isdecimal():
        raise InvalidArgument(f"session.optimized_model_external_initializers_min_size_in_bytes wants a number of bytes, got {least!r}")
    save(loaded, path, external_file=external, least_bytes=int(least))
    logger.info("the optimised model is in '%s'", path)


def context_request(path: Path | None, options: SessionOptions, providers: Sequence[Provider]) -> ContextRequest | None:
    """The model of compiled segments that the session is to write, if any; see `onnxgpu.context_model.requested`."""
    from onnxgpu.context_model import requested

    return requested(options.config_entries, providers, path)


def engine_files(path: Path | None, options: SessionOptions, *, keep: bool) -> EngineFiles:
    """Where the engines of compiled nodes lie.

    Args:
        path: of the model.
        options: of the session.
        keep: they may be written again.
    """
    from onnxgpu.context_model.request import ENABLE, FILE_PATH
    from onnxgpu.engine_files import EngineFiles

    config = options.config_entries
    folder = None if path is None else path.parent
    if config.get(FILE_PATH) and config.get(ENABLE) != "1":
        folder = Path(config[FILE_PATH]).parent
    elif folder is None and config.get("session.model_external_initializers_file_folder_path"):
        folder = Path(config["session.model_external_initializers_file_folder_path"])
    return EngineFiles(None if folder is None else folder.absolute(), *options.context_data_reader, keep=keep)


def may_compile(options: SessionOptions) -> bool:
    """Whether providers may compile parts of the model."""
    return options.config_entries.get("session.disable_model_compile") != "1"


def save_context_model(loaded: LoadedModel, placement: Placement, request: ContextRequest) -> None:
    """Write the model of compiled segments, unless nothing was compiled; then the log says so.

    Raises:
        InvalidArgument, Fail: see `onnxgpu.context_model.with_engines`, and `onnxgpu.model_file.save`.
    """
    from onnxgpu.context_model import with_engines
    from onnxgpu.model_file import save

    compiled = with_engines(loaded, placement, request)
    assert request.path is not None
    if compiled is None:
        logger.warning("'%s' is not written: no provider of the session compiled any node", request.path)
        return
    save(compiled, request.path, external_file=request.external_file, least_bytes=0)
    logger.info("the model with its compiled segments is in '%s'", request.path)
