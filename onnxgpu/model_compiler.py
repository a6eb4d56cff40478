"""ModelCompiler: a model, prepared once and written for later sessions.

What a provider of segments compiles becomes nodes of operator EPContext, which hold its engines; the rest is the model, rewritten
at the level that was asked for, in standard ONNX.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxgpu import knobs
from onnxgpu.ep_context import OrtEpContextData, OrtExternalInitializerInfo
from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.loading import disabled_rules, engine_files, evaluator, known_domains, loaded_for, metadata_of
from onnxgpu.options import GraphOptimizationLevel, OrtCompileApiFlags, SessionOptions
from onnxgpu.options.fields import of_type
from onnxgpu.segment_provider import SegmentProvider
from onnxgpu.selection import requested_by, select
from onnxgpu.surroundings import Surroundings

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxgpu.context_model import ContextRequest
    from onnxgpu.model_file import ExternalPlace, LoadedModel
    from onnxgpu.ort_value import OrtValue
    from onnxgpu.partition import Placement
    from onnxgpu.provider import Provider

LocateInitializer = Callable[[str, "OrtValue", OrtExternalInitializerInfo | None], OrtExternalInitializerInfo | None]
"""Given an initializer's name, its value and where it lay outside of the model (or None): where it is to lie (None: in the model)."""


class ModelCompiler:
    """Prepares one model; each `compile_…` loads it anew.

    Args:
        sess_options: providers, overrides and initializers are taken from there; its optimisation level is not.
        input_model_path_or_bytes: the model.
        embed_compiled_data_into_model: engines go into the model; else into files beside it.
        external_initializers_file_path: for large initializers, a path from the output's folder; None: they stay in the model.
        external_initializers_size_threshold: bytes from which on an initializer is large.
        flags: `OrtCompileApiFlags`, combined with `|`.
        graph_optimization_level: how much the graph is rewritten.
        get_initializer_location_func: called for each initializer; says where its data, which it writes itself, are to be found.

    Raises:
        TypeError: an argument is of another type.
        ValueError: the path or the bytes are empty, or both an external file and a function are given.
    """

    def __init__(
        self,
        sess_options: SessionOptions,
        input_model_path_or_bytes: str | os.PathLike[str] | bytes,
        embed_compiled_data_into_model: bool = False,
        external_initializers_file_path: str | os.PathLike[str] | None = None,
        external_initializers_size_threshold: int = 1024,
        flags: int = OrtCompileApiFlags.NONE,
        graph_optimization_level: GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL,
        get_initializer_location_func: LocateInitializer | None = None,
    ) -> None:
        self._options: SessionOptions = of_type(SessionOptions, "ModelCompiler(): sess_options", sess_options)
        self._source = _checked_source(input_model_path_or_bytes)
        if external_initializers_file_path and not isinstance(external_initializers_file_path, (str, os.PathLike)):
            raise TypeError(f"Output external initializer filepath is of unexpected type '{type(external_initializers_file_path)}'")
        if external_initializers_file_path and get_initializer_location_func is not None:
            raise ValueError(
                "Cannot initialize ModelCompiler with both `external_initializers_file_path` and `get_initializer_location_func`"
            )
        self._external_file = os.fspath(external_initializers_file_path or "")
        self._threshold: int = of_type(int, "ModelCompiler(): external_initializers_size_threshold", external_initializers_size_threshold)
        self._flags: int = of_type(int, "ModelCompiler(): flags", flags)
        self._level = of_type(GraphOptimizationLevel, "ModelCompiler(): graph_optimization_level", graph_optimization_level)
        self._locate = get_initializer_location_func
        self._write_context_data: Callable[[str, OrtEpContextData], None] | None = None
        self._binaries: tuple[Path, str] | None = None
        self._embed: bool = of_type(bool, "ModelCompiler(): embed_compiled_data_into_model", embed_compiled_data_into_model)

    def compile_to_file(self, output_model_path: str | None = None) -> None:
        """Write the result to a file, which appears whole or not at all.

        Args:
            output_model_path: None: beside the input, `model_ctx.onnx` for `model.onnx`.

        Raises:
            InvalidArgument: the file cannot be written, there is no input path to name it by, or the input is not there.
            Fail: a flag forbids it, or the function for initializers fails.
            TypeError: the path is of another type.
        """
        from onnxgpu.model_file import save

        if output_model_path and not isinstance(output_model_path, (str, os.PathLike)):
            raise TypeError(f"Output model's filepath is of unexpected type '{type(output_model_path)}'")
        path = os.fspath(output_model_path) if output_model_path else self._default_path()
        loaded = self._compiled(Path(path))
        save(loaded, path, external_file=self._external_file, least_bytes=self._threshold, place=self._place())

    def compile_to_bytes(self) -> bytes:
        """The result as bytes; external initializers go to their file, a path from the working folder.

        Raises:
            InvalidArgument: it would have more than 2 GiB, a file cannot be written, or the input is not there.
            Fail: a flag forbids it, or the function for initializers fails.
        """
        from onnxgpu.model_file import serialized

        return serialized(self._compiled(None), external_file=self._external_file, least_bytes=self._threshold, place=self._place())

    def compile_to_stream(self, write_function: Callable[[bytes], None]) -> None:
        """Give the result, in one piece, to a function.

        Raises:
            Fail: the function fails; and as `compile_to_bytes`.
        """
        content = self.compile_to_bytes()
        try:
            write_function(content)
        except Exception as error:
            raise Fail(f"{type(error).__name__}: {error} (in the function given to compile_to_stream)") from error

    def set_ep_context_data_write_func(self, write_func: Callable[[str, OrtEpContextData], None]) -> None:
        """Give engines to a function, with the names that the model has for them, in place of files.

        Raises:
            RuntimeError: it is None.
            TypeError: it cannot be called.
        """
        if write_func is None:
            raise RuntimeError("EPContext data write callback must not be None.")
        if not callable(write_func):
            raise TypeError(f"set_ep_context_data_write_func(): incompatible function arguments. It wants a function, got {write_func!r}")
        self._write_context_data = write_func

    def clear_ep_context_data_write_func(self) -> None:
        """Forget the function of `set_ep_context_data_write_func`."""
        self._write_context_data = None

    def set_ep_context_binary_information(self, output_directory: str | os.PathLike[str], model_name: str) -> None:
        """Say where files with engines go, and how their names begin: in front of the extension of `model_name`.

        Raises:
            InvalidArgument: one of the two is empty, or the folder has neither a separator at its end nor an extension.
        """
        folder = os.fspath(output_directory)
        if not folder or not model_name:
            raise InvalidArgument("output_dir or model_name is empty.")
        if not folder.endswith(("/", os.sep)) and not Path(folder).suffix:
            raise InvalidArgument(f"output_dir is not a valid directory. '{folder}' has no separator at its end")
        self._binaries = Path(folder), Path(model_name).stem

    def _default_path(self) -> str:
        from onnxgpu.context_model.request import default_path

        if isinstance(self._source, bytes):
            raise InvalidArgument("compile_to_file() wants a path where the model was given as bytes")
        return str(default_path(Path(self._source)))

    def _compiled(self, path: Path | None) -> LoadedModel:
        """The rewritten model, with what the providers compiled; `path` is where it will lie, if it goes to a file."""
        from onnxgpu.context_model import with_engines
        from onnxgpu.model_file import infer_types, override_dimensions
        from onnxgpu.rewrite import rewrite

        options = self._options
        if not isinstance(self._source, bytes) and not os.path.exists(self._source):
            raise InvalidArgument(f'Input model path does not exist: "{self._source}"')
        requested = requested_by(options, lambda: metadata_of(self._source, options))
        providers = select(requested, strict=bool(knobs.STRICT())).providers
        loaded = loaded_for(self._source, options, known_domains(providers))
        compiles = any(isinstance(provider, SegmentProvider) for provider in providers)
        if not compiles:
            self._refuse_none_compiled(providers)
        override_dimensions(loaded.model, options.dimension_overrides, options.denotation_overrides)
        infer_types(loaded.model)
        evaluate = evaluator(loaded.model, providers, options.check_load_not_canceled)
        rewrite(loaded.model, level=int(self._level), evaluate=evaluate, disabled=disabled_rules(options))
        self._refuse_existing(path)
        if not compiles:
            return loaded
        compiled = with_engines(loaded, self._placed(loaded, providers), self._request(path))
        if compiled is None:
            self._refuse_none_compiled(providers)
        return compiled or loaded

    def _placed(self, loaded: LoadedModel, providers: Sequence[Provider]) -> Placement:
        """Where the nodes of `loaded` run; each compiled segment becomes one of them."""
        from onnxgpu.fuse import collapse
        from onnxgpu.partition import parse_hints, partition

        surroundings = Surroundings(self._options)
        surroundings.prepare(providers)
        hints = parse_hints(self._options.config_entries.get("onnxgpu.placement", ""))
        engines = engine_files(loaded.path, self._options, keep=True)
        with surroundings.entered():
            placement = partition(loaded.model, providers, hints, engines=engines)
            return collapse(loaded.model, placement, providers, hints, is_run=False)

    def _request(self, path: Path | None) -> ContextRequest:
        from onnxgpu.context_model import ContextRequest
        from onnxgpu.context_model.request import tell_what_has_no_effect

        tell_what_has_no_effect(self._options.config_entries)
        folder = None if path is None else path.parent
        engine_folder, stem = self._binaries or (folder, "model_ctx" if path is None else path.stem)
        return ContextRequest(
            folder=folder,
            engine_folder=engine_folder,
            stem=stem,
            embed=self._embed,
            prefix=self._options.config_entries.get("ep.context_node_name_prefix", ""),
            external_file=self._external_file,
            write=self._write_context_data,
        )

    def _refuse_none_compiled(self, providers: Sequence[Provider]) -> None:
        if self._flags & OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED:
            names = ", ".join(provider.name for provider in providers)
            raise Fail(f"Unable to compile any nodes. Check that the session EPs support compilation: none of {names} compiled one")

    def _refuse_existing(self, path: Path | None) -> None:
        if path is not None and self._flags & OrtCompileApiFlags.ERROR_IF_OUTPUT_FILE_EXISTS and path.exists():
            raise Fail(f"Failed to generate EP context model since the file '\"{path}\"' exists already. Please remove it first")

    def _place(self) -> Callable[[ir.Value], ExternalPlace | None] | None:
        """What says for each initializer where it goes, by the user's function."""
        locate = self._locate
        return None if locate is None else lambda value: _located(locate, value)


def _located(locate: LocateInitializer, value: ir.Value) -> ExternalPlace | None:
    from onnxgpu.model_file import ExternalPlace, array_of, external_place
    from onnxgpu.ort_value import OrtValue

    assert value.const_value is not None
    before = external_place(value)
    info = None if before is None else OrtExternalInitializerInfo(before.location, before.offset, before.length)
    try:
        answer: Any = locate(value.name or "", OrtValue.ortvalue_from_numpy(array_of(value.const_value)), info)
    except Exception as error:
        raise Fail(f"{type(error).__name__}: {error} (in get_initializer_location_func, for '{value.name}')") from error
    if answer is None:
        return None
    if not isinstance(answer, OrtExternalInitializerInfo):
        raise Fail(f"get_initializer_location_func has to give an OrtExternalInitializerInfo or None, got {answer!r} for '{value.name}'")
    return ExternalPlace(answer.filepath, answer.file_offset, answer.byte_size)


def _checked_source(source: Any) -> str | bytes:
    if isinstance(source, (str, os.PathLike)):
        if not os.fspath(source):
            raise ValueError("Input model path is empty")
        return str(os.fspath(source))
    if isinstance(source, bytes):
        if not source:
            raise ValueError("Input model bytes array is empty")
        return source
    raise TypeError(f"Unable to load from type '{type(source)}'")
