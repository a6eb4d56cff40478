"""SessionOptions: how a model is loaded, placed and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onnxgpu.errors import Fail, InvalidArgument, ModelLoadCanceled, NotImplemented
from onnxgpu.options.enums import ExecutionMode, ExecutionOrder, GraphOptimizationLevel, OrtExecutionProviderDevicePolicy
from onnxgpu.options.fields import Options, of_type, text
from onnxgpu.supplied import SuppliedData

if TYPE_CHECKING:
    from onnxgpu.ep_context import OrtEpContextDataBuffer
    from onnxgpu.ep_devices import OrtEpDevice

SelectionDelegate = Callable[[Sequence["OrtEpDevice"], Mapping[str, str], Mapping[str, str], int], list["OrtEpDevice"]]
"""Chooses devices: given all devices, the model's metadata, the runtime's metadata, and how many it may choose at most."""


class SessionOptions(Options):
    """Options of an `InferenceSession`; they can be pickled and copied.

    Setting a field to a value of another type raises TypeError.

    Attributes:
        enable_cpu_mem_arena: accepted; memory is always planned, as for the next two.
        enable_mem_pattern: accepted.
        enable_mem_reuse: accepted.
        enable_profiling: record every run until `InferenceSession.end_profiling`.
        execution_mode: accepted; the plan has one order.
        execution_order: accepted.
        graph_optimization_level: how much the graph is rewritten.
        inter_op_num_threads: accepted; nodes run one after the other.
        intra_op_num_threads: how many threads work on one node at most, the caller's included; 0: as many as there are cores.
        log_severity_level: least severity that this session logs, 0 (verbose) to 4 (fatal); -1: the default logger's.
        log_verbosity_level: accepted; there is one level of verbose logging.
        logid: stands in the messages of this session.
        optimized_model_filepath: where the rewritten model is written as standard ONNX; "": nowhere.
        profile_file_prefix: the profile's file name starts with it; `_` and the time follow.
        use_deterministic_compute: accepted.
        use_per_session_threads: False: the number of threads is that of `set_global_thread_pool_sizes`.
    """

    field_types: ClassVar[dict[str, type]] = {
        **dict.fromkeys(("enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse", "enable_profiling"), bool),
        **dict.fromkeys(("use_deterministic_compute", "use_per_session_threads"), bool),
        **dict.fromkeys(("inter_op_num_threads", "intra_op_num_threads", "log_severity_level", "log_verbosity_level"), int),
        **dict.fromkeys(("logid", "optimized_model_filepath", "profile_file_prefix"), str),
        "execution_mode": ExecutionMode,
        "execution_order": ExecutionOrder,
        "graph_optimization_level": GraphOptimizationLevel,
    }

    __slots__ = (
        "_context_data_limit",
        "_context_data_reader",
        "_denotation_overrides",
        "_dimension_overrides",
        "_load_canceled",
        "_policy",
        "_policy_delegate",
        "_providers",
        "_supplied",
        "enable_cpu_mem_arena",
        "enable_mem_pattern",
        "enable_mem_reuse",
        "enable_profiling",
        "execution_mode",
        "execution_order",
        "graph_optimization_level",
        "inter_op_num_threads",
        "intra_op_num_threads",
        "log_severity_level",
        "log_verbosity_level",
        "logid",
        "optimized_model_filepath",
        "profile_file_prefix",
        "use_deterministic_compute",
        "use_per_session_threads",
    )

    def __init__(self) -> None:
        super().__init__()
        self.enable_cpu_mem_arena = True
        self.enable_mem_pattern = True
        self.enable_mem_reuse = True
        self.enable_profiling = False
        self.execution_mode = ExecutionMode.ORT_SEQUENTIAL
        self.execution_order = ExecutionOrder.DEFAULT
        self.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.inter_op_num_threads = 0
        self.intra_op_num_threads = 0
        self.log_severity_level = -1
        self.log_verbosity_level = 0
        self.logid = ""
        self.optimized_model_filepath = ""
        self.profile_file_prefix = "onnxruntime_profile_"
        self.use_deterministic_compute = False
        self.use_per_session_threads = True
        self._dimension_overrides: dict[str, int] = {}
        self._denotation_overrides: dict[str, int] = {}
        self._supplied = SuppliedData()
        self._providers: list[tuple[str, dict[str, str]]] = []
        self._policy: OrtExecutionProviderDevicePolicy | None = None
        self._policy_delegate: SelectionDelegate | None = None
        self._load_canceled = False
        self._context_data_reader: Callable[[str, OrtEpContextDataBuffer], None] | None = None
        self._context_data_limit = 0

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Set a configuration entry; those that have an effect are listed in docs/onnxruntime.md, others are kept.

        Raises:
            TypeError: one of the two is no `str`.
            RuntimeError: the key is empty or longer than 1024 characters.
        """
        self._add_entry(key, value)

    def get_session_config_entry(self, key: str) -> str:
        """The value of a configuration entry.

        Raises:
            RuntimeError: it was never set.
        """
        return self._entry(key)

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Give the symbolic dimension `name` a fixed size.

        Raises:
            TypeError: `name` is no `str`, or `size` no integer.
        """
        self._dimension_overrides[text("the name of a dimension", name)] = of_type(int, "size", size)

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> None:
        """Give each free dimension of an input with this denotation (`DATA_BATCH`) a fixed size.

        Raises:
            TypeError: `denotation` is no `str`, or `size` no integer.
        """
        self._denotation_overrides[text("the denotation of a dimension", denotation)] = of_type(int, "size", size)

    def add_initializer(self, name: str, value: Any) -> None:
        """Use `value`, an `OrtValue` in host memory, in place of the initializer `name`; it is not copied.

        Raises:
            RuntimeError: `value` is no `OrtValue`, or the name was already added.
        """
        _add(self._supplied.initializers, text("the name of an initializer", name), _host_array(value))

    def add_external_initializers(self, names: list[str], values: list[Any]) -> None:
        """Use `values`, `OrtValue`s in host memory, in place of initializers with external data; they are not copied.

        Raises:
            TypeError: one of the two is no list.
            RuntimeError: the lists differ in length, a value is no `OrtValue`, or a name was already added.
        """
        if not isinstance(names, list) or not isinstance(values, list):
            raise TypeError(
                "add_external_initializers(): incompatible function arguments. It wants a list of names and a list of OrtValues"
            )
        if len(names) != len(values):
            raise RuntimeError(f"Expecting names and ort_values lists to have equal length, got {len(names)} and {len(values)}")
        for name, value in zip(names, values, strict=True):
            _add(self._supplied.external_initializers, text("the name of an initializer", name), _host_array(value))

    def add_external_initializers_from_files_in_memory(self, names: Sequence[str], buffers: Sequence[Any], lengths: Sequence[int]) -> None:
        """Take external data from `buffers` instead of from files; they are not copied, and kept alive.

        Args:
            names: file names, as the model's external data names them.
            buffers: the contents of each, bytes or another contiguous buffer.
            lengths: how many bytes of each buffer to use.

        Raises:
            RuntimeError: the sequences differ in length, or a name was already added.
            TypeError: one holds something else.
            InvalidArgument: a buffer has fewer bytes than its length says.
        """
        if not len(names) == len(buffers) == len(lengths):
            raise RuntimeError(
                "add_external_initializers_from_files_in_memory: expecting 'names', 'buffers' and 'lengths' to have equal length"
            )
        for name, buffer, length in zip(names, buffers, lengths, strict=True):
            content = np.frombuffer(memoryview(buffer).cast("B"), np.uint8)
            if of_type(int, "the length of a file", length) < 0:
                raise TypeError(f"the length of file '{name}' wants a number of bytes, got {length}")
            if length > content.size:
                raise InvalidArgument(f"file '{name}' in memory: its length is given as {length}, but its buffer has {content.size} bytes")
            _add(self._supplied.files, text("the name of a file", name), content[:length])

    def add_provider(self, name: str, options: Mapping[str, str]) -> None:
        """Append a provider to the list of a session that names none itself.

        Raises:
            RuntimeError: neither onnxgpu nor onnxruntime knows the provider.
        """
        from onnxgpu.selection import is_known

        if not is_known(text("the name of a provider", name)):
            raise RuntimeError(f"Unknown Provider Type: {name}; a plug-in provider must be installed first")
        self._providers.append((name, dict(options)))

    def add_provider_for_devices(self, devices: Sequence[OrtEpDevice], options: Mapping[str, str]) -> None:
        """Append the provider of `devices` to the list of a session that names none itself.

        Raises:
            InvalidArgument: there is no device, or they belong to different providers.
        """
        if not devices:
            raise InvalidArgument("Must provide one or more OrtEpDevice instances.")
        names = {device.ep_name for device in devices}
        if len(names) > 1:
            raise InvalidArgument(f"All OrtEpDevice instances must be of one execution provider, got {', '.join(sorted(names))}")
        self._providers.append((devices[0].ep_name, {**devices[0].ep_options, **options}))

    def set_provider_selection_policy(self, policy: OrtExecutionProviderDevicePolicy) -> None:
        """Let the session, where it names no provider, choose by `policy`.

        Raises:
            TypeError: it is no `OrtExecutionProviderDevicePolicy`.
        """
        self._policy = of_type(OrtExecutionProviderDevicePolicy, "set_provider_selection_policy(): policy", policy)
        self._policy_delegate = None

    def set_provider_selection_policy_delegate(self, delegate: SelectionDelegate) -> None:
        """Let `delegate` choose where the session names no provider.

        Raises:
            TypeError: it cannot be called.
        """
        if not callable(delegate):
            raise TypeError(f"set_provider_selection_policy_delegate() wants a function, got {delegate!r}")
        self._policy_delegate, self._policy = delegate, None

    def has_providers(self) -> bool:
        """True if providers were added, or a policy chooses them."""
        return bool(self._providers) or self._policy is not None or self._policy_delegate is not None

    def set_load_cancellation_flag(self, cancel: bool) -> None:
        """True, from any thread: sessions being made with these options stop with `ModelLoadCanceled`."""
        self._load_canceled = of_type(bool, "set_load_cancellation_flag()", cancel)

    def check_load_not_canceled(self) -> None:
        """Do nothing, unless `set_load_cancellation_flag(True)` was called.

        Raises:
            ModelLoadCanceled: it was.
        """
        if self._load_canceled:
            raise ModelLoadCanceled("Graph loading canceled due to user request.")

    def set_ep_context_data_read_func(self, read_func: Callable[[str, OrtEpContextDataBuffer], None], max_data_size: int) -> None:
        """Read the engines of compiled nodes by a function, in place of files beside the model.

        Args:
            read_func: called with the name that the model has, and the buffer to fill.
            max_data_size: bytes that it may allocate at most.

        Raises:
            TypeError: `read_func` cannot be called, or the size is no positive integer.
            RuntimeError: `read_func` is None, or the size is 0.
        """
        if of_type(int, "max_data_size", max_data_size) >= 0 and read_func is None:
            raise RuntimeError("EPContext data read callback must not be None.")
        if not callable(read_func) or max_data_size < 0:
            raise TypeError(f"set_ep_context_data_read_func(): expected a function and a size, got {read_func!r} and {max_data_size!r}")
        if max_data_size == 0:
            raise RuntimeError("EPContext data max_data_size must be finite and greater than zero.")
        self._context_data_reader, self._context_data_limit = read_func, int(max_data_size)

    def clear_ep_context_data_read_func(self) -> None:
        """Forget the function of `set_ep_context_data_read_func`."""
        self._context_data_reader, self._context_data_limit = None, 0

    def register_custom_ops_library(self, path: str) -> None:
        """Refuse the library: its kernels are compiled against onnxruntime's C API, which is not here.

        Raises:
            Fail: there is no such file.
            NotImplemented: there is; says what to do instead.
        """
        from pathlib import Path

        if not Path(text("the path of a library", path)).is_file():
            raise Fail(f"Failed to load library {path} with error: {path}: cannot open shared object file: No such file or directory")
        raise NotImplemented(
            f"custom operators of '{path}' are compiled against onnxruntime's C API, which onnxgpu does not have. Write them as a "
            "provider in Python (see docs/architecture.md, Providers and kernels), or expand them into standard operators in the model"
        )

    @property
    def context_data_reader(self) -> tuple[Callable[[str, OrtEpContextDataBuffer], None] | None, int]:
        """What reads engines of compiled nodes, and how many bytes it may fill; (None, 0): files."""
        return self._context_data_reader, self._context_data_limit

    @property
    def config_entries(self) -> Mapping[str, str]:
        """All configuration entries."""
        return dict(self._config)

    @property
    def dimension_overrides(self) -> Mapping[str, int]:
        """Symbol → size."""
        return dict(self._dimension_overrides)

    @property
    def denotation_overrides(self) -> Mapping[str, int]:
        """Denotation → size."""
        return dict(self._denotation_overrides)

    @property
    def supplied_data(self) -> SuppliedData:
        """Initializers and external files that were added."""
        return self._supplied

    @property
    def providers(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        """Providers that were added, with their options, in order."""
        return tuple(self._providers)

    @property
    def selection_policy(self) -> OrtExecutionProviderDevicePolicy | SelectionDelegate | None:
        """What chooses the providers, if anything was set."""
        return self._policy if self._policy_delegate is None else self._policy_delegate


def _add(known: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
    if name in known:
        raise RuntimeError(f"[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : An entry for this name has already been added: {name}")
    known[name] = array


def _host_array(value: Any) -> np.ndarray:
    if not callable(getattr(value, "numpy", None)):
        raise RuntimeError(f"The provided Python object must be an OrtValue, got {type(value).__name__}")
    return np.asarray(value.numpy())
