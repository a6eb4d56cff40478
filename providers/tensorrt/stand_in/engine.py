"""Engines: what they take and give, their memory and weights, and contexts to run them in."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import onnx

from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.element_types import bytes_of, data_type, type_name
from onnxgpu.providers.tensorrt.stand_in.executable import Executable
from onnxgpu.providers.tensorrt.stand_in.host_memory import HostMemory
from onnxgpu.providers.tensorrt.stand_in.inspector import EngineInspector
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.plan_file import IoTensor, PlanFile
from onnxgpu.providers.tensorrt.stand_in.registry import enum, implements, major
from onnxgpu.providers.tensorrt.stand_in.reports import Recording, Reports
from onnxgpu.providers.tensorrt.stand_in.runtime_options import RuntimeConfig, SerializationConfig
from onnxgpu.providers.tensorrt.stand_in.shapes import Shapes

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.stand_in.context import ExecutionContext
    from onnxgpu.providers.tensorrt.stand_in.runtime import Runtime

_SCRATCH = 4096
"""Bytes that a context needs besides, where weights are streamed."""


@implements("ICudaEngine")
class Engine(Recording):
    """A deserialised engine.

    Args:
        plan: what was in the bytes.
        runtime: it lives as long.
        reports: where it and its contexts report.

    Attributes:
        weights: name → bytes, of those that are there now.
        missing: names of stripped weights that were not given yet.
    """

    def __init__(self, plan: PlanFile, runtime: Runtime, reports: Reports) -> None:
        self.plan, self.runtime, self.reports = plan, runtime, reports
        self.facts = plan.facts
        self.tensors = {tensor.name: tensor for tensor in self.facts.tensors}
        self.weights = dict(plan.weights)
        self.missing = set(self.facts.stripped)
        self.shapes = Shapes(plan.complete_model({}))
        self._budget = self.streamable_weights_size
        self._contexts: weakref.WeakSet[ExecutionContext] = weakref.WeakSet()
        self._executable: Executable | None = None
        self._lock = threading.Lock()
        self.pending = 0
        """Executions that a stream has not come to."""

    # ---- what it is

    @property
    def name(self) -> str:
        """The network's."""
        return self.facts.name

    @property
    def num_io_tensors(self) -> int:
        """How many inputs and outputs it has together."""
        return len(self.facts.tensors)

    @property
    def num_layers(self) -> int:
        """How many layers it has."""
        return len(self.facts.layers)

    @property
    def num_optimization_profiles(self) -> int:
        """How many profiles it has, at least one."""
        return len(self.facts.profiles)

    @property
    def num_aux_streams(self) -> int:
        """How many streams it uses besides the one that it is given."""
        return self.facts.aux_streams

    @property
    def refittable(self) -> bool:
        """Whether weights can be changed."""
        return bool(self.facts.refittable)

    @property
    def engine_capability(self) -> Any:
        """A member of `EngineCapability`."""
        return getattr(enum("EngineCapability"), self.facts.engine_capability)

    @property
    def hardware_compatibility_level(self) -> Any:
        """A member of `HardwareCompatibilityLevel`."""
        return getattr(enum("HardwareCompatibilityLevel"), self.facts.compatibility)

    @property
    def profiling_verbosity(self) -> Any:
        """A member of `ProfilingVerbosity`."""
        return getattr(enum("ProfilingVerbosity"), self.facts.verbosity)

    @property
    def tactic_sources(self) -> int:
        """A bit for each."""
        return self.facts.tactic_sources

    has_implicit_batch_dimension = False

    # ---- inputs and outputs

    def __getitem__(self, index: int) -> str:
        return self.facts.tensors[index].name

    def get_tensor_name(self, index: int) -> str | None:
        """The name of an input or output; None, with an error in the log, where there is none."""
        if 0 <= index < len(self.facts.tensors):
            return self.facts.tensors[index].name
        self.reports.error(
            "ICudaEngine::getIOTensorName", f"Parameter check failed, condition: index >= 0 && index < {self.num_io_tensors}"
        )
        return None

    def get_tensor_mode(self, name: str) -> Any:
        """INPUT, OUTPUT, or NONE for a name that is neither."""
        tensor = self.tensor(name, "ICudaEngine::getTensorIOMode")
        modes = enum("TensorIOMode")
        return modes.NONE if tensor is None else modes.INPUT if tensor.is_input else modes.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """With -1 for what is known when it runs."""
        tensor = self.tensor(name, "ICudaEngine::getTensorShape")
        return () if tensor is None else tensor.shape

    def get_tensor_dtype(self, name: str) -> Any:
        """A member of `DataType`."""
        tensor = self.tensor(name, "ICudaEngine::getTensorDataType")
        return data_type("FLOAT" if tensor is None else tensor.type)

    def get_tensor_location(self, name: str) -> Any:
        """HOST for shape tensors."""
        tensor = self.tensor(name, "ICudaEngine::getTensorLocation")
        places = enum("TensorLocation")
        return places.HOST if tensor is not None and tensor.is_shape else places.DEVICE

    def is_shape_inference_io(self, name: str) -> bool:
        """Whether its values are read to know shapes."""
        tensor = self.tensor(name, "ICudaEngine::isShapeInferenceIO")
        return tensor is not None and tensor.is_shape

    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        """-1: formats here are linear, so elements are not vectors."""
        return -1

    def get_tensor_components_per_element(self, name: str, profile_index: int = 0) -> int:
        """-1: formats here are linear."""
        return -1

    def get_tensor_vectorized_dim(self, name: str, profile_index: int = 0) -> int:
        """-1: formats here are linear."""
        return -1

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        """LINEAR."""
        return enum("TensorFormat").LINEAR

    def get_tensor_format_desc(self, name: str, profile_index: int = 0) -> str:
        """In words."""
        tensor = self.tensors.get(name)
        return f"Row major linear {tensor.type if tensor else 'unknown'} format (kLINEAR)"

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        """Minimum, optimum and maximum of an input."""
        call = "ICudaEngine::getProfileShape"
        tensor = self.tensor(name, call)
        if tensor is None or not tensor.is_input or not 0 <= profile_index < self.num_optimization_profiles:
            self.reports.error(call, f"{name} is no input, or there is no profile {profile_index}")
            return []
        return list(self.facts.profiles[profile_index][0][name])

    def get_tensor_profile_values(self, name: int, profile_index: str) -> list[list[int]]:
        """Minimum, optimum and maximum of a shape tensor; in the bindings, the number of the profile comes first, then the name.

        Raises:
            RuntimeError: it is no shape tensor.
        """
        number, tensor_name = name, profile_index
        if not self.is_shape_inference_io(tensor_name):
            raise RuntimeError("Binding index does not correspond to an input shape tensor.")
        if not 0 <= number < self.num_optimization_profiles:
            return []
        return [list(values) for values in self.facts.profiles[number][1][tensor_name]]

    def is_debug_tensor(self, name: str) -> bool:
        """None is kept for debugging."""
        return False

    def get_aliased_input_tensor(self, name: str) -> str | None:
        """None: no operator here writes into its input."""
        return None

    def tensor(self, name: str, call: str) -> IoTensor | None:
        """An input or output; None, with an error in the log, where there is none of that name."""
        found = self.tensors.get(name)
        if found is None:
            self.reports.error(call, f"Given invalid tensor name: {name}. Get valid tensor names with getIOTensorName()")
        return found

    # ---- memory and weights

    @property
    def device_memory_size_v2(self) -> int:
        """Bytes of activations that suffice for every profile."""
        return max(self.facts.memory) + self.weight_streaming_scratch_memory_size

    @property
    def device_memory_size(self) -> int:
        """As `device_memory_size_v2`."""
        return self.device_memory_size_v2

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        """Bytes of activations that suffice for one profile."""
        if not 0 <= profile_index < self.num_optimization_profiles:
            self.reports.error("ICudaEngine::getDeviceMemorySizeForProfileV2", f"there is no profile {profile_index}")
            return 0
        return self.facts.memory[profile_index] + self.weight_streaming_scratch_memory_size

    @property
    def streamable_weights_size(self) -> int:
        """Bytes of weights that may be streamed; 0 if that was not asked of the builder."""
        return sum(map(len, self.weights.values())) if "WEIGHT_STREAMING" in self.facts.flags else 0

    @property
    def is_streaming(self) -> bool:
        """Whether not all weights may be on the GPU."""
        return self._budget < self.streamable_weights_size

    @property
    def weight_streaming_scratch_memory_size(self) -> int:
        """Bytes that a context needs besides."""
        return _SCRATCH if "WEIGHT_STREAMING" in self.facts.flags and self.is_streaming else 0

    def get_weight_streaming_automatic_budget(self) -> int:
        """Bytes that fit."""
        return min(self.streamable_weights_size, gpu.memory() // 2)

    @property
    def weight_streaming_budget_v2(self) -> int:
        """Bytes of weights that may be on the GPU."""
        return self._budget

    @weight_streaming_budget_v2.setter
    def weight_streaming_budget_v2(self, budget: int) -> None:
        call = "ICudaEngine::setWeightStreamingBudgetV2"
        if "WEIGHT_STREAMING" not in self.facts.flags:
            broken("streaming asked of the builder", self.reports, call, "the engine was built without BuilderFlag::kWEIGHT_STREAMING")
        elif len(self._contexts):
            broken("budget before contexts", self.reports, call, f"{len(self._contexts)} contexts are alive")
        elif budget < 0:
            self.reports.error(call, f"gpuMemoryBudget {budget} is negative")
        else:
            self._budget = min(budget, self.streamable_weights_size)

    def get_engine_stat(self, stat: Any = None) -> int:
        """Bytes of weights, or of those that were stripped (-1: none were)."""
        if stat is None or stat.name == "TOTAL_WEIGHTS_SIZE":
            return sum(bytes_of_tensor(tensor) for tensor in self._model().graph.initializer)
        stripped = set(self.facts.stripped)
        return sum(bytes_of_tensor(t) for t in self._model().graph.initializer if t.name in stripped) if stripped else -1

    def _model(self) -> onnx.ModelProto:
        return self.plan.complete_model({})

    # ---- bytes and contexts

    def serialize(self) -> HostMemory:
        """As bytes; weights as they are now."""
        return HostMemory(self._current(stays_refittable=False).serialized())

    def create_serialization_config(self) -> SerializationConfig:
        """With EXCLUDE_WEIGHTS where it was built so: NVIDIA's notebook on weight stripping clears it to "include weights in plan"."""
        config = SerializationConfig()
        if "STRIP_PLAN" in self.facts.flags:
            config.set_flag(enum("SerializationFlag").EXCLUDE_WEIGHTS)
        return config

    def serialize_with_config(self, config: SerializationConfig) -> HostMemory | None:
        """As bytes, without weights where the flags say so; None, with an error in the log, where the engine cannot be without."""
        if not config.has("EXCLUDE_WEIGHTS"):
            return HostMemory(self._current(stays_refittable=config.has("INCLUDE_REFIT")).serialized())
        if not self.refittable:
            call, told = "ICudaEngine::serializeWithConfig", "kEXCLUDE_WEIGHTS of an engine that was built without a flag for refitting"
            broken("refittable asked of the builder", self.reports, call, told, "INVALID_STATE")
            return None
        return HostMemory(self._current(stays_refittable=True).without(self.facts.refittable).serialized())

    def _current(self, *, stays_refittable: bool) -> PlanFile:
        """From 11 on, an engine that was built without weights and has them now is not refittable again unless that is asked for."""
        is_final = major() >= 11 and "STRIP_PLAN" in self.facts.flags and not self.missing and not stays_refittable
        facts = replace(self.facts, stripped=tuple(sorted(self.missing)), refittable=() if is_final else self.facts.refittable)
        return PlanFile(self.plan.version, self.plan.platform, facts, self.plan.model, self.weights)

    def create_runtime_config(self) -> RuntimeConfig:
        """With the defaults."""
        return RuntimeConfig()

    def create_execution_context(self, strategy: Any = None) -> ExecutionContext | None:
        """A context; `strategy` says who allocates its memory, or is a `IRuntimeConfig` that does.

        Returns:
            None, with the reason in the log, where there is not enough memory.
        """
        from onnxgpu.providers.tensorrt.stand_in.context import ExecutionContext

        if isinstance(strategy, RuntimeConfig):
            strategy = strategy.get_execution_context_allocation_strategy()
        strategies = enum("ExecutionContextAllocationStrategy")
        try:
            context = ExecutionContext(self, strategies.STATIC if strategy is None else strategy)
        except MemoryError as error:
            self.reports.error("ICudaEngine::createExecutionContext", f"Requested amount of GPU memory: {error}", "FAILED_ALLOCATION")
            return None
        self._contexts.add(context)
        return context

    def create_execution_context_without_device_memory(self) -> ExecutionContext | None:
        """A context whose memory the user gives."""
        return self.create_execution_context(enum("ExecutionContextAllocationStrategy").USER_MANAGED)

    def create_engine_inspector(self) -> EngineInspector:
        """Tells of the layers."""
        return EngineInspector(self.facts, self.reports)

    def executable(self) -> Executable:
        """The model with its weights, compiled when it is first wanted."""
        with self._lock:
            if self._executable is None:
                self._executable = Executable(self.plan.complete_model(self.weights))
            return self._executable

    def refitted(self) -> None:
        """The weights changed."""
        with self._lock:
            self._executable = None


def bytes_of_tensor(tensor: onnx.TensorProto) -> int:
    """Of an initializer with or without data."""
    return bytes_of(type_name(tensor.data_type) or "FLOAT", prod(tensor.dims))
