"""Session and run options, with onnxruntime's names and defaults, and the checks of provider options."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Provider


class _NamedInteger(IntEnum):
    """An integer that prints as its name."""

    __str__ = Enum.__str__


class GraphOptimizationLevel(_NamedInteger):
    """How much the graph is rewritten before it is placed."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(_NamedInteger):
    """Order of execution; onnxgpu always runs a plan, whose order is fixed."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(_NamedInteger):
    """Accepted for compatibility; the plan decides the order."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


class _Options:
    """Fields whose types are checked when they are set, and configuration entries."""

    __slots__ = ("_config",)

    def __init__(self) -> None:
        self._config: dict[str, str] = {}

    if not TYPE_CHECKING:  # a type checker is to see that a misspelt field does not exist

        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, _checked_field(type(self).__name__, name, value))

    def _add_entry(self, key: str, value: str) -> None:
        self._config[_text(key)] = _text(value)

    def _entry(self, key: str) -> str:
        if key not in self._config:
            raise RuntimeError(f"{type(self).__name__} does not have configuration with key: {key}")
        return self._config[key]


class SessionOptions(_Options):
    """Options of an `InferenceSession`.

    The fields for threads, memory and execution order are accepted and change nothing in this version: memory is always
    planned, and kernels use the cores of the machine. Setting a field to a value of another type raises TypeError.
    """

    __slots__ = (
        "_dimension_overrides",
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

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Set a configuration entry (`session.disable_cpu_ep_fallback`, `onnxgpu.placement`, …).

        Raises:
            TypeError: one of the two is no `str`.
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
        self._dimension_overrides[_text(name)] = _of_type(int, "add_free_dimension_override_by_name(): size", size)

    @property
    def config_entries(self) -> Mapping[str, str]:
        """All configuration entries."""
        return dict(self._config)

    @property
    def dimension_overrides(self) -> Mapping[str, int]:
        """Symbol → size."""
        return dict(self._dimension_overrides)


class RunOptions(_Options):
    """Options of one run; `terminate` set from another thread ends it after the step it is in."""

    __slots__ = ("log_severity_level", "log_verbosity_level", "logid", "only_execute_path_to_fetches", "terminate")

    def __init__(self) -> None:
        super().__init__()
        self.log_severity_level = -1
        self.log_verbosity_level = 0
        self.logid = ""
        self.only_execute_path_to_fetches = False
        self.terminate = False

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Set a configuration entry of this run.

        Raises:
            TypeError: one of the two is no `str`.
        """
        self._add_entry(key, value)

    def get_run_config_entry(self, key: str) -> str:
        """The value of a configuration entry.

        Raises:
            RuntimeError: it was never set.
        """
        return self._entry(key)


_FIELD_TYPES: dict[str, type] = {
    **dict.fromkeys(("enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse", "enable_profiling"), bool),
    **dict.fromkeys(("use_deterministic_compute", "use_per_session_threads", "only_execute_path_to_fetches", "terminate"), bool),
    **dict.fromkeys(("inter_op_num_threads", "intra_op_num_threads", "log_severity_level", "log_verbosity_level"), int),
    **dict.fromkeys(("logid", "optimized_model_filepath", "profile_file_prefix"), str),
    "execution_mode": ExecutionMode,
    "execution_order": ExecutionOrder,
    "graph_optimization_level": GraphOptimizationLevel,
}


def _checked_field(owner: str, name: str, value: Any) -> Any:
    """`value`, if it is what the field takes; fields for internal use are not checked."""
    wanted = _FIELD_TYPES.get(name)
    return value if wanted is None else _of_type(wanted, f"{owner}.{name}", value)


def _of_type(wanted: type, where: str, value: Any) -> Any:
    if wanted is bool and (isinstance(value, int) or type(value).__name__ == "bool"):
        return bool(value)
    if wanted is int and hasattr(value, "__index__"):
        return int(value)
    if not isinstance(value, wanted):
        raise TypeError(f"{where} wants {wanted.__name__}, got {type(value).__name__} {value!r}")
    return value


def _text(value: str) -> str:
    text: str = _of_type(str, "a configuration entry, like the name of a dimension,", value)
    return text


def checked_provider_options(provider: type[Provider], options: Mapping[Any, Any]) -> dict[str, Any]:
    """`options` with every value parsed to the type that the provider declares for it.

    Raises:
        InvalidArgument: an option is unknown, or its value is not of that type.
    """
    parsed: dict[str, Any] = {}
    for key, value in options.items():
        kind = provider.option_types.get(str(key))
        if kind is None:
            known = ", ".join(sorted(provider.option_types)) or "none"
            raise InvalidArgument(f"{provider.name} has no option {str(key)!r}; it knows: {known}")
        try:
            parsed[str(key)] = _parsed(kind, value)
        except (ValueError, TypeError, OverflowError):
            raise InvalidArgument(f"option {str(key)!r} of {provider.name} wants {kind.__name__}, got {value!r}") from None
    return parsed


def _parsed(kind: type, value: Any) -> Any:
    if kind is bool:
        text = str(value).lower()
        if text in ("1", "true"):
            return True
        if text in ("0", "false"):
            return False
        raise ValueError(value)
    if kind is str:
        return str(value)
    if isinstance(value, bool):
        return kind(value)
    if isinstance(value, (int, float)) and not isinstance(value, str) and kind(value) != value:
        raise ValueError(value)
    return kind(value)
