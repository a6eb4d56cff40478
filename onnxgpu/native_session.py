"""The session as onnxruntime's native layer has it (`session._sess`, `onnxruntime_pybind11_state.InferenceSession`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxgpu.errors import Fail
from onnxgpu.options import RunOptions, SessionOptions

if TYPE_CHECKING:
    from onnxgpu.assignments import OrtEpAssignedSubgraph
    from onnxgpu.bindings import IOBinding, SessionIOBinding
    from onnxgpu.devices import Device
    from onnxgpu.ep_devices import OrtEpDevice
    from onnxgpu.memory_info import OrtMemoryInfo
    from onnxgpu.metadata import ModelMetadata, NodeArg
    from onnxgpu.ort_value import OrtValueHandle, OrtValueVector
    from onnxgpu.session import InferenceSession


class NativeSession:
    """A model that becomes a session by `initialize_session`.

    Args:
        arg0: options.
        arg1: a path, or the bytes of a model.
        arg2: True: `arg1` is a path.
        arg3: True to read settings from the model; accepted, as models hold none for onnxgpu.
    """

    def __init__(self, arg0: SessionOptions, arg1: str | bytes, arg2: bool, arg3: bool) -> None:
        if arg2 != isinstance(arg1, str):
            raise TypeError(f"InferenceSession(): expected {'a path' if arg2 else 'the bytes of a model'}, got {type(arg1).__name__}")
        self._options, self._source = arg0, arg1
        self._made: InferenceSession | None = None

    @classmethod
    def of(cls, session: InferenceSession) -> NativeSession:
        """The native side of a session."""
        self = cls.__new__(cls)
        self._made = session
        return self

    @property
    def _session(self) -> InferenceSession:
        if self._made is None:
            raise Fail("Session was not initialized: call initialize_session() first")
        return self._made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NativeSession) and self._made is not None and self._made is other._made

    def __hash__(self) -> int:
        return id(self._made)

    def initialize_session(self, arg0: Sequence[str], arg1: Sequence[Mapping[str, str]], arg2: Collection[str]) -> None:
        """Make the session.

        Args:
            arg0: providers; none: those available that need not be named.
            arg1: options of each; may be empty.
            arg2: optimizers to leave out.
        """
        from onnxgpu.session import InferenceSession

        self._made = InferenceSession(self._source, self._options, list(arg0) or None, list(arg1) or None, disabled_optimizers=arg2)

    def run(self, arg0: Sequence[str] | None, arg1: Mapping[str, Any], arg2: RunOptions | None = None) -> list[Any]:
        """The outputs named in `arg0`, for the feed `arg1`."""
        return self._session.run(arg0, arg1, arg2)

    def run_async(
        self,
        arg0: Sequence[str],
        arg1: Mapping[str, Any],
        arg2: Callable[[list[Any], Any, str], None],
        arg3: Any,
        arg4: RunOptions | None = None,
    ) -> None:
        """As `run`, in another thread; `arg2` is called with the outputs, `arg3`, and the error's text."""
        self._session.run_async(arg0, arg1, arg2, arg3, arg4)

    def run_with_iobinding(self, arg0: IOBinding | SessionIOBinding, arg1: RunOptions | None = None) -> None:
        """Run on bound memory."""
        self._session.run_with_iobinding(arg0, arg1)

    def run_with_ort_values(self, arg0: Mapping[str, Any], arg1: Sequence[str], arg2: RunOptions | None = None) -> OrtValueVector:
        """The outputs named in `arg1`, for values `arg0`."""
        from onnxgpu.ort_value import OrtValueVector

        vector = OrtValueVector()
        vector.extend(self._session.run_with_ort_values(arg1, arg0, arg2))
        return vector

    def run_with_ortvaluevector(
        self, arg0: RunOptions, arg1: Sequence[str], arg2: OrtValueVector, arg3: Sequence[str], arg4: OrtValueVector, arg5: Sequence[Any]
    ) -> None:
        """See `InferenceSession.run_with_ortvaluevector`."""
        self._session.run_with_ortvaluevector(arg0, arg1, arg2, arg3, arg4, arg5)

    def create_ortvalue_from_shape_and_type(self, arg0: Sequence[int], arg1: Any, arg2: Device) -> OrtValueHandle:
        """Memory for a tensor on a device of the session."""
        from onnxgpu.ort_value import OrtValueHandle

        return OrtValueHandle.ortvalue_from_shape_and_type(arg0, arg1, arg2)

    def create_ortvalue_from_shape_and_onnx_type(self, arg0: Sequence[int], arg1: int, arg2: Device) -> OrtValueHandle:
        """As `create_ortvalue_from_shape_and_type`, with ONNX's number of the element type."""
        from onnxgpu.ort_value import OrtValueHandle

        return OrtValueHandle.ortvalue_from_shape_and_onnx_type(arg0, arg1, arg2)

    def get_providers(self) -> list[str]:
        """See `InferenceSession.get_providers`."""
        return self._session.get_providers()

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """See `InferenceSession.get_provider_options`."""
        return self._session.get_provider_options()

    def get_provider_graph_assignment_info(self) -> list[OrtEpAssignedSubgraph]:
        """See `InferenceSession.get_provider_graph_assignment_info`."""
        return self._session.get_provider_graph_assignment_info()

    def get_tuning_results(self) -> list[dict[str, Any]]:
        """See `InferenceSession.get_tuning_results`."""
        return self._session.get_tuning_results()

    def set_tuning_results(self, arg0: Sequence[Mapping[str, Any]], arg1: bool) -> None:
        """See `InferenceSession.set_tuning_results`."""
        self._session.set_tuning_results(arg0, error_on_invalid=arg1)

    def set_ep_dynamic_options(self, arg0: Mapping[str, str]) -> None:
        """See `InferenceSession.set_ep_dynamic_options`."""
        self._session.set_ep_dynamic_options(arg0)

    def release_captured_graph(self, arg0: int) -> None:
        """See `InferenceSession.release_captured_graph`."""
        self._session.release_captured_graph(arg0)

    def end_profiling(self) -> str:
        """See `InferenceSession.end_profiling`."""
        return self._session.end_profiling()

    def is_webgpu_graph_capture_enabled(self) -> bool:
        """False: onnxgpu has no WebGPU provider."""
        return False

    def webgpu_context_id(self) -> int:
        """-1: onnxgpu has no WebGPU provider."""
        return -1

    @property
    def get_profiling_start_time_ns(self) -> int:
        """See `InferenceSession.get_profiling_start_time_ns`."""
        return self._session.get_profiling_start_time_ns()

    @property
    def inputs_meta(self) -> list[NodeArg]:
        """The inputs."""
        return self._session.get_inputs()

    @property
    def outputs_meta(self) -> list[NodeArg]:
        """The outputs."""
        return self._session.get_outputs()

    @property
    def overridable_initializers(self) -> list[NodeArg]:
        """Initializers that are also graph inputs."""
        return self._session.get_overridable_initializers()

    @property
    def model_meta(self) -> ModelMetadata:
        """The model's metadata."""
        return self._session.get_modelmeta()

    @property
    def session_options(self) -> SessionOptions:
        """The options the session was made with."""
        return self._session.get_session_options()

    @property
    def input_meminfos(self) -> list[OrtMemoryInfo]:
        """Where the inputs are read."""
        return self._session.get_input_memory_infos()

    @property
    def output_meminfos(self) -> list[OrtMemoryInfo]:
        """Where the outputs are written."""
        return self._session.get_output_memory_infos()

    @property
    def input_epdevices(self) -> list[OrtEpDevice | None]:
        """Who reads the inputs."""
        return self._session.get_input_epdevices()


class SessionObjectInitializer:
    """Stands for default settings where a program passes it on; it has none of its own."""


def get_session_initializer() -> SessionObjectInitializer:
    """A default object initializer."""
    return SessionObjectInitializer()


def get_default_session_options() -> SessionOptions:
    """New options with the defaults."""
    return SessionOptions()
