"""One execution: what has to be there before, the work on the stream, and the calls to output allocators."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.errors import OnnxGpuError
from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.element_types import bytes_of, numpy_type
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.plan_file import IoTensor

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.stand_in.context import ExecutionContext
    from onnxgpu.providers.tensorrt.stand_in.engine import Engine

CALL = "IExecutionContext::enqueueV3"

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """An input or output of an execution: where it lies, and its shape; the values of a shape tensor were read already."""

    tensor: IoTensor
    address: int
    shape: Shape
    value: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return bytes_of(self.tensor.type, prod(self.shape))


class Execution:
    """Executes for one context.

    Args:
        context: with shapes, addresses and memory; it has this object, and lives as long as the program wants it.
    """

    def __init__(self, context: ExecutionContext) -> None:
        self._owner = weakref.ref(context)
        self._engine, self._reports = context.engine, context.reports
        self._numbers = count(1)
        self._done = 0

    @property
    def _context(self) -> ExecutionContext:
        context = self._owner()
        assert context is not None
        return context

    def enqueue(self, stream: int) -> bool:
        """As `execute_async_v3`."""
        try:
            capturing = gpu.is_capturing(stream)
        except ValueError as error:
            self._reports.error(CALL, str(error))
            return False
        context = self._context
        if not self._is_ready(capturing):
            return False
        inputs = self._inputs()
        if inputs is None:
            return False
        try:
            shapes = {tensor.name: context.output_shape(tensor) for tensor in context.outputs}
        except OnnxGpuError as error:
            self._reports.error(CALL, f"Error in shape inference: {error.message}", "INTERNAL_ERROR")
            return False
        if not self._outputs_fit(shapes) or not context.memory.is_ready(CALL, context.profile):
            return False
        if any(-1 in shape for shape in shapes.values()):
            return self._enqueue_unknown(stream, capturing, inputs, shapes)
        if capturing and not self._may_be_captured(stream):
            return False
        outputs, context_profile = self._outputs(stream, shapes), context.profile
        if outputs is None or not self._are_apart(inputs, outputs):
            return False
        return self._submit(stream, capturing, lambda own: own._work(inputs, outputs, context_profile))

    # ---- before

    def _is_ready(self, capturing: bool) -> bool:
        context = self._context
        if self._engine.missing:
            told = f"the engine has no weights yet for {', '.join(sorted(self._engine.missing)[:3])}: refit it first"
            broken("weights before execution", self._reports, CALL, told, "INVALID_STATE")
            return False
        for tensor in context.inputs:
            if tensor.name not in context.shapes:
                rule = "profile before shapes" if context.lost_shapes() else "shapes before execution"
                told = f"Parameter check failed, condition: allInputDimensionsSpecified(). The shape of {tensor.name} is not set"
                broken(rule, self._reports, CALL, told)
                return False
            if not context.addresses.get(tensor.name):
                told = f"Address is not set for input tensor {tensor.name}. Call setInputTensorAddress or setTensorAddress before enqueue."
                broken("addresses before execution", self._reports, CALL, told)
                return False
        for tensor in context.outputs:
            if not context.addresses.get(tensor.name) and tensor.name not in context.allocators:
                told = (
                    f"Neither address or allocator is set for output tensor {tensor.name}. Call setOutputTensorAddress, setTensorAddress "
                    "or setOutputAllocator before enqueue/execute."
                )
                broken("addresses before execution", self._reports, CALL, told)
                return False
        if capturing and self._engine.is_streaming:
            broken("streamed weights are not captured", self._reports, CALL, "the stream is capturing, and weights are streamed")
            return False
        return True

    def _may_be_captured(self, stream: int) -> bool:
        """Whether nothing is left to prepare, which no capture allows."""
        if self._context.is_prepared:
            return True
        told = "the stream is capturing, and this is the first execution since shapes or the profile were set"
        broken("a run before a capture", self._reports, CALL, told, "FAILED_EXECUTION")
        gpu.synchronize(stream)  # what breaks the capture
        return False

    def _inputs(self) -> list[Bound] | None:
        """Where the inputs lie; shape tensors are read now."""
        context, found = self._context, []
        profile = self._engine.facts.profiles[context.profile][1]
        for tensor in context.inputs:
            shape, address = context.shapes[tensor.name], context.addresses[tensor.name]
            if not tensor.is_shape:
                bound = Bound(tensor, address, shape)
                if not self._is_large_enough(bound):
                    return None
                found.append(bound)
                continue
            value = context.array_at(tensor, address, shape)
            least, _, most = profile[tensor.name]
            if any(not a <= v <= b for a, v, b in zip(least, value.reshape(-1).tolist(), most, strict=True)):
                told = f"{tensor.name}: {value.reshape(-1).tolist()} is outside of {list(least)}..{list(most)} of profile {context.profile}"
                broken("values within the profile", self._reports, CALL, told)
                return None
            found.append(Bound(tensor, address, shape, value))
        return found

    def _outputs_fit(self, shapes: Mapping[str, Shape]) -> bool:
        for name, shape in shapes.items():
            if -1 in shape and name not in self._context.allocators:
                told = f"the shape of {name} is {list(shape)} until it is computed, and it has no output allocator"
                broken("allocator for unknown shapes", self._reports, CALL, told)
                return False
        return True

    def _outputs(self, stream: int, shapes: Mapping[str, Shape]) -> list[Bound] | None:
        """Where the outputs go; allocators are asked."""
        found: list[Bound] = []
        for tensor in self._context.outputs:
            bound = Bound(tensor, self._context.addresses.get(tensor.name, 0), shapes[tensor.name])
            allocator = self._context.allocators.get(tensor.name)
            if allocator is not None:
                address = _reallocated(allocator, tensor.name, bound.address, max(1, bound.size), stream)
                if not address:
                    self._reports.error(CALL, f"the output allocator gave no memory for {tensor.name}", "FAILED_ALLOCATION")
                    return None
                bound = Bound(tensor, address, bound.shape)
                _called(allocator.notify_shape, tensor.name, bound.shape)
            if not self._is_large_enough(bound):
                return None
            found.append(bound)
        return found

    def _is_large_enough(self, bound: Bound) -> bool:
        if gpu.is_device_memory(bound.address, bound.size):
            return True
        told = f"{bound.tensor.name} of shape {list(bound.shape)} takes {bound.size} bytes, which {bound.address:#x} does not have"
        broken("buffers are large enough", self._reports, CALL, told)
        return False

    def _are_apart(self, inputs: Sequence[Bound], outputs: Sequence[Bound]) -> bool:
        """Whether no output overlaps another tensor."""
        known = [bound for bound in inputs if bound.value is None]
        for output in outputs:
            for other in known:
                if output.size and output.address < other.address + other.size and other.address < output.address + output.size:
                    told = f"output {output.tensor.name} overlaps {other.tensor.name}"
                    broken("outputs have memory of their own", self._reports, CALL, told)
                    return False
            known.append(output)
        return True

    # ---- the work

    def _submit(self, stream: int, capturing: bool, work: Callable[[Execution], None]) -> bool:
        context, engine = self._context, self._engine
        gpu.fork(stream, context.aux_streams)
        number = 0 if capturing else next(self._numbers)
        engine.pending += bool(number)
        context.is_prepared = context.is_prepared or not capturing
        problem = gpu.enqueue(stream, partial(_begun, weakref.ref(self), engine, number, context.switches.asked, work))
        gpu.join(stream, context.aux_streams)
        if problem is not None:
            engine.pending -= bool(number)
            self._reports.error(CALL, problem, "FAILED_EXECUTION")
            return False
        if context.consumed_event:
            gpu.record(context.consumed_event, stream)
        if self._engine.is_streaming and (failed := gpu.synchronize(stream)) is not None:
            self._reports.error(CALL, failed, "FAILED_EXECUTION")
            return False
        return True

    def _work(self, inputs: Sequence[Bound], outputs: Sequence[Bound], profile: int) -> None:
        """What the stream comes to."""
        results = self._computed(inputs, profile)
        for bound, result in zip(outputs, results, strict=True):
            self._write(bound, result)

    def _computed(self, inputs: Sequence[Bound], profile: int) -> Sequence[np.ndarray]:
        arrays = {bound.tensor.name: self._array(bound) for bound in inputs}
        self._context.memory.scribble(profile)
        started = time.perf_counter()
        results = self._engine.executable().run(arrays)
        self._report_times(time.perf_counter() - started)
        return results

    def _array(self, bound: Bound) -> np.ndarray:
        if bound.value is not None:
            return bound.value
        if not gpu.is_device_memory(bound.address, bound.size):
            raise RuntimeError(f"input {bound.tensor.name} at {bound.address:#x} was freed before the stream came to it")
        return self._context.array_at(bound.tensor, bound.address, bound.shape)

    def _write(self, bound: Bound, result: np.ndarray) -> None:
        wanted = numpy_type(bound.tensor.type)
        if result.shape != bound.shape or result.dtype != wanted:
            told = f"{result.dtype} {list(result.shape)}, not {wanted} {list(bound.shape)}"
            raise RuntimeError(f"the stand-in of tensorrt inferred another output {bound.tensor.name} than it computed: {told}")
        if not gpu.is_device_memory(bound.address, bound.size):
            raise RuntimeError(f"output {bound.tensor.name} at {bound.address:#x} was freed before the stream came to it")
        gpu.write(bound.address, np.ascontiguousarray(result).tobytes())

    def check_turn(self, number: int) -> None:
        """Executions of one context run one after the other; those in graphs are not counted (0)."""
        if number > self._done + 1:
            told = f"execution {number} of a context runs before execution {self._done + 1}: two streams use it at the same time"
            broken("one stream at a time", self._reports, CALL, told)
        self._done = max(self._done, number)

    def check_profile(self, switches: int) -> None:
        """The profile that was chosen on another stream is there."""
        if self._context.switches.done < switches:
            told = "the stream on which the profile was chosen has not come to it yet"
            broken("profile is there when the work begins", self._reports, CALL, told)

    def _report_times(self, seconds: float) -> None:
        profiler = self._context.profiler
        if profiler is not None and self._context.enqueue_emits_profile:
            layers = self._engine.facts.layers
            for name, _ in layers:
                profiler.report_layer_time(name, 1000 * seconds / len(layers))

    # ---- outputs whose shapes the values decide

    def _enqueue_unknown(self, stream: int, capturing: bool, inputs: Sequence[Bound], shapes: Mapping[str, Shape]) -> bool:
        """Wait for the stream, compute, ask the allocators, and enqueue the copies."""
        names = ", ".join(name for name, shape in shapes.items() if -1 in shape)
        if capturing:
            broken("capture has known shapes", self._reports, CALL, f"the shape of {names} is not known while the stream is capturing")
            gpu.synchronize(stream)
            return False
        if (failed := gpu.synchronize(stream)) is not None:
            self._reports.error(CALL, failed, "FAILED_EXECUTION")
            return False
        try:
            results = self._computed(inputs, self._context.profile)
        except Exception as error:
            self._reports.error(CALL, f"{type(error).__name__}: {error}", "FAILED_EXECUTION")
            gpu.fault(str(error))
            return False
        known = {t.name: tuple(result.shape) for t, result in zip(self._context.outputs, results, strict=True)}
        outputs = self._outputs(stream, known)
        if outputs is None or not self._are_apart(inputs, outputs):
            return False
        return self._submit(stream, capturing, lambda own: own._written(outputs, results))

    def _written(self, outputs: Sequence[Bound], results: Sequence[np.ndarray]) -> None:
        for bound, result in zip(outputs, results, strict=True):
            self._write(bound, result)


def _begun(execution: weakref.ref[Execution], engine: Engine, number: int, switches: int, work: Callable[[Execution], None]) -> None:
    """What the stream calls; its context has to be alive still."""
    engine.pending -= bool(number)
    own = execution()
    if own is None:
        told = "the context was destroyed before the stream came to its work"
        broken("context outlives its work", engine.reports, CALL, told, "INVALID_STATE")
        raise RuntimeError(told)
    own.check_turn(number)
    own.check_profile(switches)
    work(own)


def _reallocated(allocator: Any, name: str, current: int, size: int, stream: int) -> int:
    """The address that an `IOutputAllocator` gives; 0 where it gives none, or raises."""
    if hasattr(allocator, "reallocate_output_async"):
        return int(_called(allocator.reallocate_output_async, name, current, size, gpu.ALIGNMENT, stream) or 0)
    return int(_called(allocator.reallocate_output, name, current, size, gpu.ALIGNMENT) or 0)


def _called(function: Any, *arguments: Any) -> Any:
    """What a callback gives; what it raises is swallowed, as the bindings do."""
    try:
        return function(*arguments)
    except Exception as error:
        print(f"[ERROR] Exception caught in {getattr(function, '__name__', function)}(): {error}")  # noqa: T201
        return None
