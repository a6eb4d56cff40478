"""`Session`: what every session has beside loading and running, with the attributes that programs written for onnxruntime touch."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxgpu.errors import EPFail, Fail
from onnxgpu.log import logger
from onnxgpu.shown import shown
from onnxgpu.value_runs import ValueRuns

if TYPE_CHECKING:
    from onnxgpu.assignments import OrtEpAssignedSubgraph
    from onnxgpu.metadata import ModelMetadata, NodeArg
    from onnxgpu.native_session import NativeSession
    from onnxgpu.options import SessionOptions
    from onnxgpu.partition import Placement
    from onnxgpu.profile import Recorder
    from onnxgpu.provider_override import Requested
    from onnxgpu.selection import Selection
    from onnxgpu.surroundings import Surroundings

RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"


class Session(ValueRuns):
    """Base of `InferenceSession`.

    Args:
        enable_fallback: False: a listed provider that is not available is an error.
    """

    _selection: Selection
    _options: SessionOptions
    _placement: Placement
    _metadata: ModelMetadata
    _recorder: Recorder | None
    _profile_start: int
    _surroundings: Surroundings
    _is_plain: bool
    _made_of: tuple[Any, SessionOptions, Any, Any, dict[str, Any]]

    def __init__(self, enable_fallback: bool = True) -> None:
        self._enable_fallback = enable_fallback

    def get_inputs(self) -> list[NodeArg]:
        """The inputs that a run must be given."""
        return list(self._arguments.inputs)

    def get_outputs(self) -> list[NodeArg]:
        """The outputs, in the order of `run(None, …)`."""
        return list(self._arguments.outputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Initializers that are also graph inputs, so that a run may be given another value."""
        return list(self._arguments.overridable)

    def get_modelmeta(self) -> ModelMetadata:
        """The model's metadata."""
        return self._metadata

    def get_session_options(self) -> SessionOptions:
        """The options the session was made with."""
        return self._options

    def get_providers(self) -> list[str]:
        """The providers in use, in order of preference; a second one of a name with the number of its device, `CUDAExecutionProvider:1`."""
        return self._selection.names

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Each provider's options, as texts; the keys are those of `get_providers`."""
        return {p.label: {k: _text(v) for k, v in p.options.items()} for p in self._selection.providers if not p.last_resort}

    def set_providers(
        self, providers: Sequence[Requested] | None = None, provider_options: Sequence[Mapping[Any, Any]] | None = None
    ) -> None:
        """Make the session anew with these providers, from the same model and options; if that fails, it stays as it was.

        Raises:
            OnnxGpuError: as when a session is made.
        """
        source, options, _, _, others = self._made_of
        before = dict(self.__dict__)
        try:
            self._make_anew(source, options, providers, provider_options, {**others, "enable_fallback": self._enable_fallback})
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    @abstractmethod
    def _make_anew(self, source: Any, options: SessionOptions, providers: Any, provider_options: Any, others: dict[str, Any]) -> None:
        """Become the session of these arguments."""
        raise NotImplementedError

    def disable_fallback(self) -> None:
        """Forbid that another provider stands in for one that was asked for: now, and in `set_providers`.

        Raises:
            EPFail: another provider already stands in for one; names the cause.
        """
        self._enable_fallback = False
        if self._selection.replaced:
            causes = "; ".join(f"{name} is not available: {cause}" for name, cause in self._selection.replaced)
            raise EPFail(f"{causes}. disable_fallback() forbids going on without; run `onnxgpu doctor`")

    def enable_fallback(self) -> None:
        """Let the next provider in the list stand in for one that is not available, with a warning."""
        self._enable_fallback = True

    def get_provider_graph_assignment_info(self) -> list[OrtEpAssignedSubgraph]:
        """Which provider has which nodes; neighbours in the order of the graph that one provider has are one subgraph.

        `placement` has more, and needs no configuration entry.

        Raises:
            Fail: the configuration entry `session.record_ep_graph_assignment_info` is not "1", as onnxruntime wants it.
        """
        from onnxgpu.assignments import assigned_subgraphs

        if self._options.config_entries.get(RECORD_ASSIGNMENT) != "1":
            raise Fail(
                f"Session configuration entry '{RECORD_ASSIGNMENT}' must be set to \"1\" to retrieve EP graph assignment information."
            )
        return assigned_subgraphs(self._placement)

    def end_profiling(self) -> str:
        """Write the profile, from now on record nothing, and return the file's name; "" if nothing was recorded."""
        recorder, self._recorder = self._recorder, None
        self._is_plain = self._surroundings.are_threads
        return "" if recorder is None else recorder.finish()

    def get_profiling_start_time_ns(self) -> int:
        """When the profile began, in nanoseconds since 1970; 0 if there is none."""
        return self._profile_start

    def get_tuning_results(self) -> list[dict[str, Any]]:
        """An empty list: no provider here has results of tuning that could be taken to another session."""
        return []

    def set_tuning_results(self, results: Sequence[Mapping[str, Any]], *, error_on_invalid: bool = False) -> None:
        """Take results of `get_tuning_results`; there are none that a provider here could use.

        Args:
            results: mappings with `ep`, `results` and `validators`.
            error_on_invalid: raise for results of another runtime; without it they are logged and left.

        Raises:
            RuntimeError: `error_on_invalid`, and there are results.
        """
        for result in results:
            text = f"SetTuningResults: {result.get('ep')} has no tuning results in onnxgpu, so these cannot be used"
            if error_on_invalid:
                raise RuntimeError(f"Error in execution: {text}")
            logger.warning("%s", text)

    def set_ep_dynamic_options(self, options: Mapping[str, str]) -> None:
        """Accept options for running providers; no provider here has one that changes while it runs, which the log says.

        Raises:
            RuntimeError: there are none.
        """
        if not options:
            raise RuntimeError("No options were provided")
        logger.warning("set_ep_dynamic_options: no provider of this session knows %s", ", ".join(options))

    def release_captured_graph(self, graph_annotation_id: int = 0) -> None:
        """Nothing: a captured graph belongs to a plan, and lives as long as that.

        Raises:
            TypeError: the id is no integer.
        """
        if not hasattr(graph_annotation_id, "__index__"):
            raise TypeError(f"release_captured_graph(): incompatible function arguments. It wants an integer, got {graph_annotation_id!r}")

    @shown
    def _sess(self) -> NativeSession:
        from onnxgpu.native_session import NativeSession

        return NativeSession.of(self)  # type: ignore[arg-type]  # every Session is an InferenceSession

    @shown
    def _model_path(self) -> str | None:
        source = self._made_of[0]
        return os.fspath(source) if isinstance(source, (str, os.PathLike)) else None

    @shown
    def _model_bytes(self) -> bytes | None:
        source = self._made_of[0]
        return None if self._model_path is not None else source if isinstance(source, bytes) else source.SerializeToString()

    @shown
    def _providers(self) -> list[str]:
        return self.get_providers()

    @shown
    def _provider_options(self) -> dict[str, dict[str, str]]:
        return self.get_provider_options()

    @shown
    def _fallback_providers(self) -> list[str]:
        return [provider.name for provider in self._selection.providers if provider.fallback]

    @shown
    def _sess_options(self) -> SessionOptions:
        return self._options

    @shown
    def _sess_options_initial(self) -> SessionOptions:
        return self._options

    @shown
    def _inputs_meta(self) -> list[NodeArg]:
        return self.get_inputs()

    @shown
    def _outputs_meta(self) -> list[NodeArg]:
        return self.get_outputs()

    @shown
    def _overridable_initializers(self) -> list[NodeArg]:
        return self.get_overridable_initializers()

    @shown
    def _model_meta(self) -> ModelMetadata:
        return self._metadata


def _text(value: Any) -> str:
    """An option's value as onnxruntime writes it: 1 and 0 for true and false."""
    return str(int(value)) if isinstance(value, bool) else str(value)
