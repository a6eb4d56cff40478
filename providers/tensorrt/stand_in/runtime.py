"""Runtime: bytes in, engines out."""

from __future__ import annotations

from typing import Any

from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.engine import Engine
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.plan_file import PlanError, restored
from onnxgpu.providers.tensorrt.stand_in.plugins import PluginRegistry, get_plugin_registry, plugin_operators
from onnxgpu.providers.tensorrt.stand_in.registry import enum, has_enum, implements, version
from onnxgpu.providers.tensorrt.stand_in.reports import Reporting, Reports

CALL = "IRuntime::deserializeCudaEngine"


@implements("Runtime")
class Runtime(Reporting):
    """Deserialises engines for the emulated GPU.

    Args:
        logger: where it and what it makes report.
    """

    num_DLA_cores = 0

    def __init__(self, logger: Any) -> None:
        gpu.device()
        self.reports = Reports(logger)
        self.gpu_allocator: Any = None
        self.DLA_core = -1
        self.max_threads = 0
        self.temporary_directory = ""
        self.tempfile_control_flags = 3
        self.engine_host_code_allowed = False
        if has_enum("DLAWorkspaceAllocationStrategy"):
            self.dla_workspace_allocation_strategy = next(iter(enum("DLAWorkspaceAllocationStrategy").__members__.values()))

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Engine | None:
        """The engine of some bytes, or of an `IStreamReaderV2`; None, with the reason in the log, if they are no engine for here."""
        content = _read_all(serialized_engine) if hasattr(serialized_engine, "seek") else bytes(memoryview(serialized_engine))
        try:
            plan = restored(content, version(), gpu.platform(), gpu.capability())
        except PlanError as error:
            self.reports.error(CALL, str(error), "UNSPECIFIED_ERROR")
            return None
        if (missing := set(plan.facts.plugin_operators) - plugin_operators().keys()) and not plan.facts.plugins:
            told = f"Cannot find plugin: {', '.join(sorted(missing))}"
            broken("plugins before deserialisation", self.reports, CALL, told, "UNSPECIFIED_ERROR")
            return None
        if (
            "VERSION_COMPATIBLE" in plan.facts.flags
            and not self.engine_host_code_allowed
            and "EXCLUDE_LEAN_RUNTIME" not in plan.facts.flags
        ):
            told = "the plan contains a lean runtime: set engine_host_code_allowed before it is deserialised"
            self.reports.error(CALL, told, "UNSPECIFIED_ERROR")
            return None
        return Engine(plan, self, self.reports.of_part())

    def load_runtime(self, path: str) -> Runtime | None:
        """None: there are no lean runtimes here."""
        self.reports.error("IRuntime::loadRuntime", f"{path} is no lean runtime", "INVALID_ARGUMENT")
        return None

    def get_plugin_registry(self) -> PluginRegistry:
        """The process's."""
        return get_plugin_registry()


_CHUNK = 1 << 20


def _read_all(reader: Any) -> bytes:
    parts: list[bytes] = []
    while part := bytes(reader.read(_CHUNK, 0)):
        parts.append(part)
    return b"".join(parts)
