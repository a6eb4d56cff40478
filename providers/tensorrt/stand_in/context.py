"""Execution contexts: shapes and addresses of one execution, checked as TensorRT's documentation has it, then the work on a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.errors import OnnxGpuError
from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.context_memory import ContextMemory
from onnxgpu.providers.tensorrt.stand_in.element_types import bytes_of, numpy_type
from onnxgpu.providers.tensorrt.stand_in.execution import Execution
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.plan_file import IoTensor
from onnxgpu.providers.tensorrt.stand_in.registry import implements
from onnxgpu.providers.tensorrt.stand_in.reports import Recording

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.stand_in.engine import Engine

Shape = tuple[int, ...]


@dataclass
class Switches:
    """How often another profile was chosen, and how often the stream came to that."""

    asked: int = 0
    done: int = 0

    def happened(self) -> None:
        """On the stream."""
        self.done += 1


@implements("IExecutionContext")
class ExecutionContext(Recording):
    """One execution after another of an engine.

    Args:
        engine: that it runs.
        strategy: who allocates its memory.
    """

    def __init__(self, engine: Engine, strategy: Any) -> None:
        self.engine, self.reports = engine, engine.reports.of_part()
        self.name = engine.name
        self.memory = ContextMemory(engine, strategy, self.reports)
        self.profile = 0
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self.allocators: dict[str, Any] = {}
        self._given_allocators: list[Any] = []
        """All that were ever set: the bindings declare `py::keep_alive<1, 3>`, so that they live as long as the context."""
        self.aux_streams: tuple[int, ...] = ()
        self.consumed_event = 0
        self.profiler: Any = None
        self.debug_sync = False
        self.enqueue_emits_profile = True
        self.temporary_allocator: Any = None
        self.persistent_cache_limit = 0
        self.nvtx_verbosity = engine.profiling_verbosity
        self.unfused_tensors_debug_state = False
        self._listener: Any = None
        self._lost_shapes = False
        self.is_prepared = False
        """An execution with the shapes that are set was enqueued outside of a capture."""
        self.switches = Switches()
        self._execution = Execution(self)
        self.set_static_shapes()

    def set_static_shapes(self) -> None:
        """Those of inputs that have no other."""
        self.shapes = {tensor.name: tensor.shape for tensor in self.inputs if -1 not in tensor.shape}

    @property
    def inputs(self) -> list[IoTensor]:
        """The engine's."""
        return [tensor for tensor in self.engine.facts.tensors if tensor.is_input]

    @property
    def outputs(self) -> list[IoTensor]:
        """The engine's."""
        return [tensor for tensor in self.engine.facts.tensors if not tensor.is_input]

    # ---- profile and shapes

    @property
    def active_optimization_profile(self) -> int:
        """The number of the profile."""
        return self.profile

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose a profile; shapes that were set are forgotten.

        Raises:
            RuntimeError: there is no such profile.
        """
        call = "IExecutionContext::setOptimizationProfileAsync"
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            told = f"Parameter check failed, condition: profileIndex {profile_index} < {self.engine.num_optimization_profiles}"
            broken("profile exists", self.reports, call, told)
            raise RuntimeError("Error in set optimization profile async.")
        if profile_index != self.profile:
            self._lost_shapes = any(-1 in tensor.shape and tensor.name in self.shapes for tensor in self.inputs)
            self.profile = profile_index
            self.set_static_shapes()
            self.memory.profile_changed(profile_index)
            self.is_prepared = False
            if not gpu.is_capturing(stream_handle):
                self.switches.asked += 1
                gpu.enqueue(stream_handle, self.switches.happened)
        return True

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        """Set the shape of an input; False, with an error in the log, where it does not fit."""
        call, sizes = "IExecutionContext::setInputShape", tuple(int(size) for size in shape)
        tensor = self.engine.tensor(name, call)
        if tensor is None:
            return False
        if not tensor.is_input:
            self.reports.error(call, f"Parameter check failed. {name} is an output")
            return False
        declared = tensor.shape
        if len(sizes) != len(declared) or any(b not in (-1, a) or a < 0 for a, b in zip(sizes, declared, strict=True)):
            told = (
                "Parameter check failed, condition: engineDims.d[i] == dims.d[i]. Static dimension mismatch while setting input shape for "
                f"{name}. Set dimensions are {_told(sizes)}. Expected dimensions are {_told(declared)}."
            )
            broken("shape fits the network", self.reports, call, told)
            return False
        least, _, most = self.engine.facts.profiles[self.profile][0][name]
        if any(not a <= size <= c for a, size, c in zip(least, sizes, most, strict=True)):
            told = (
                f"Parameter check failed, condition: satisfyProfile. Set dimension {_told(sizes)} for tensor {name} does not satisfy any "
                f"optimization profiles. Valid range for profile {self.profile}: {_told(least)}..{_told(most)}."
            )
            broken("shape within the profile", self.reports, call, told)
            return False
        self.is_prepared = self.is_prepared and self.shapes.get(name) == sizes
        self.shapes[name] = sizes
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        """As far as it is known with the shapes, and the values of shape tensors, that were set."""
        tensor = self.engine.tensor(name, "IExecutionContext::getTensorShape")
        if tensor is None:
            return ()
        if tensor.is_input:
            return self.shapes.get(name, tensor.shape)
        if self._insufficient():
            return tensor.shape
        try:
            return self.output_shape(tensor)
        except OnnxGpuError as error:
            self.reports.error("IExecutionContext::getTensorShape", f"Error in shape inference: {error.message}", "INTERNAL_ERROR")
            return tensor.shape

    def get_tensor_strides(self, name: str) -> Shape:
        """Of a dense tensor, in elements."""
        shape = self.get_tensor_shape(name)
        return tuple(prod(shape[axis + 1 :]) if -1 not in shape[axis + 1 :] else -1 for axis in range(len(shape)))

    def get_max_output_size(self, name: str) -> int:
        """An upper bound of the bytes of an output; -1 if shapes are not set."""
        tensor = self.engine.tensors.get(name)
        if tensor is None or tensor.is_input or self._insufficient():
            return -1
        most = max([prod(shape) for shape in self.shapes.values()] or [1])
        count = prod(size if size >= 0 else most for size in self.output_shape(tensor))
        return -(-bytes_of(tensor.type, count) // gpu.ALIGNMENT) * gpu.ALIGNMENT

    def infer_shapes(self) -> list[str]:
        """The inputs of which not enough is known.

        Raises:
            RuntimeError: the shapes do not go together.
        """
        missing = self._insufficient()
        if not missing:
            try:
                for tensor in self.outputs:
                    self.output_shape(tensor)
            except OnnxGpuError as error:
                self.reports.error("IExecutionContext::inferShapes", f"Error in shape inference: {error.message}", "INTERNAL_ERROR")
                raise RuntimeError("infer_shapes error code: -1") from error
        return missing

    @property
    def all_binding_shapes_specified(self) -> bool:
        """Whether the shapes of all inputs are known."""
        return all(tensor.name in self.shapes for tensor in self.inputs)

    @property
    def all_shape_inputs_specified(self) -> bool:
        """Whether the values of all shape tensors are known."""
        return all(self.addresses.get(tensor.name) for tensor in self.inputs if tensor.is_shape)

    def output_shape(self, tensor: IoTensor) -> Shape:
        """With -1 for what the values of inputs decide; all shapes have to be known.

        Raises:
            OnnxGpuError: the shapes of the inputs do not go together.
        """
        if -1 not in tensor.shape:
            return tensor.shape
        found = self.engine.shapes.of(self.shapes, self.values()).get(tensor.name)
        return tensor.shape if found is None else found

    def values(self) -> Mapping[str, np.ndarray]:
        """Of the shape tensors, as they lie on the host now."""
        return {tensor.name: self.array_at(tensor, self.addresses[tensor.name], tensor.shape) for tensor in self.inputs if tensor.is_shape}

    @staticmethod
    def array_at(tensor: IoTensor, address: int, shape: Shape) -> np.ndarray:
        """A copy of the elements at an address."""
        count = prod(shape)
        content = gpu.read(address, bytes_of(tensor.type, count))
        return np.frombuffer(content, numpy_type(tensor.type), count).reshape(shape)

    def _insufficient(self) -> list[str]:
        return [t.name for t in self.inputs if t.name not in self.shapes or (t.is_shape and not self.addresses.get(t.name))]

    def lost_shapes(self) -> bool:
        """Whether shapes were set before the profile was changed, and not since."""
        return self._lost_shapes

    # ---- addresses

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Where an input or output lies; 0: nowhere."""
        call = "IExecutionContext::setTensorAddress"
        tensor = self.engine.tensor(name, call)
        if tensor is None:
            return False
        if memory and not tensor.is_shape and memory % gpu.ALIGNMENT:
            told = f"Parameter check failed, condition: isAligned. {memory:#x} for {name} is not aligned to {gpu.ALIGNMENT} bytes"
            broken("addresses are aligned", self.reports, call, told)
            return False
        if memory and tensor.is_shape and gpu.is_device_memory(memory, 1):
            broken("shape tensors on the host", self.reports, call, f"{name} is a shape tensor, and {memory:#x} is memory of the device")
            return False
        if memory and not tensor.is_shape and not gpu.is_device_memory(memory, 0):
            broken("tensors on the device", self.reports, call, f"{memory:#x} for {name} is no memory of the device")
            return False
        self.addresses[name] = memory
        return True

    def get_tensor_address(self, name: str) -> int:
        """The address, 0 if there is none."""
        return self.addresses.get(name, 0) if self.engine.tensor(name, "IExecutionContext::getTensorAddress") else 0

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        """Who allocates an output; None: nobody."""
        call = "IExecutionContext::setOutputAllocator"
        tensor = self.engine.tensor(name, call)
        if tensor is None or tensor.is_input:
            self.reports.error(call, f"{name} is no output")
            return False
        if output_allocator is None:
            self.allocators.pop(name, None)
        else:
            self.allocators[name] = output_allocator
            self._given_allocators.append(output_allocator)
        return True

    def get_output_allocator(self, name: str) -> Any:
        """The allocator of an output, or None."""
        return self.allocators.get(name)

    def set_input_consumed_event(self, event: int) -> bool:
        """An event that is recorded when the inputs have been read; 0: none."""
        self.consumed_event = event
        return True

    def get_input_consumed_event(self) -> int:
        """The event, 0 if there is none."""
        return self.consumed_event

    # ---- memory and streams

    def set_device_memory(self, memory: int, size: int) -> None:
        """Memory for activations, where the user manages it."""
        self.memory.given(memory, size)

    @property
    def device_memory(self) -> int:
        """What was given."""
        return self.memory.address

    @device_memory.setter
    def device_memory(self, memory: int) -> None:
        self.memory.given(memory, self.engine.device_memory_size_v2)

    def update_device_memory_size_for_shapes(self) -> int:
        """Bytes that suffice for the shapes that are set; 0 if they are not."""
        if self._insufficient():
            self.reports.error("IExecutionContext::updateDeviceMemorySizeForShapes", "not all input shapes are specified")
            return 0
        return self.memory.needed(self.profile)

    def set_aux_streams(self, aux_streams: Sequence[int]) -> None:
        """Streams besides that of the execution."""
        call, streams = "IExecutionContext::setAuxStreams", tuple(aux_streams)
        if any(stream in (0, 1, 2) for stream in streams) or len(set(streams)) < len(streams):
            broken("auxiliary streams differ", self.reports, call, f"{list(streams)} has the default stream, or a stream twice")
            return
        self.aux_streams = streams[: self.engine.num_aux_streams]

    # ---- execution

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Enqueue the work; False, with an error in the log, where something is not as it has to be."""
        return self._execution.enqueue(stream_handle)

    def execute_v2(self, bindings: Sequence[int]) -> bool:
        """Do the work, and wait for it; an address for each input and output."""
        if len(bindings) != self.engine.num_io_tensors:
            self.reports.error("IExecutionContext::executeV2", f"{len(bindings)} bindings for {self.engine.num_io_tensors} tensors")
            return False
        if not all(self.set_tensor_address(t.name, address) for t, address in zip(self.engine.facts.tensors, bindings, strict=True)):
            return False
        return self._execution.enqueue(0) and gpu.synchronize(0) is None

    def report_to_profiler(self) -> bool:
        """Tell the profiler of the last execution."""
        if self.profiler is None:
            return False
        for name, _ in self.engine.facts.layers:
            self.profiler.report_layer_time(name, 0.0)
        return True

    # ---- what is kept and has no effect

    def set_debug_listener(self, listener: Any) -> bool:
        """Nothing here is marked for debugging."""
        self._listener = listener
        return True

    def get_debug_listener(self) -> Any:
        """The listener, or None."""
        return self._listener

    def set_tensor_debug_state(self, name: str, flag: bool) -> bool:
        """False: no tensor here is marked for debugging."""
        return False

    def get_debug_state(self, name: str) -> bool:
        """False: no tensor here is marked for debugging."""
        return False

    def set_all_tensors_debug_state(self, flag: bool) -> bool:
        """Nothing here is marked for debugging."""
        return True

    def get_runtime_config(self) -> Any:
        """The strategy it was made with."""
        from onnxgpu.providers.tensorrt.stand_in.runtime_options import RuntimeConfig

        config = RuntimeConfig()
        config.set_execution_context_allocation_strategy(self.memory.strategy)
        return config


def _told(shape: Shape) -> str:
    return f"[{','.join(map(str, shape))}]"
