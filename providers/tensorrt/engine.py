"""An engine that TensorRT reads back, its weights, and its contexts, of which each run has one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxgpu.errors import EPFail, InvalidArgument, RuntimeException
from onnxgpu.log import logger
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.segments.cache import Content
from onnxgpu.providers.tensorrt.library import tensorrt, version
from onnxgpu.providers.tensorrt.messages import listening, made, trt_logger
from onnxgpu.providers.tensorrt.network import embedded, errors_of, takes_references
from onnxgpu.providers.tensorrt.plugins import load_plugins
from onnxgpu.providers.tensorrt.settings import BuildSettings

Key = tuple[object, ...]
"""A profile, the shapes of the inputs, and the values of those on the host: what a context is set up for."""

AUTOMATIC = -1
"""The weight streaming budget that TensorRT chooses by the memory that is free."""


@dataclass(eq=False, slots=True)
class Context:
    """A `tensorrt.IExecutionContext` and what it was last told.

    Attributes:
        raw: the context; its scratch memory is given to it before each run.
        key: what it is set up for; None for nothing.
        profile: the chosen one.
        addresses: tensor → where it lies.
        has_run: it ran with this key, so that TensorRT has nothing left to prepare.
        held: memory of the host that it reads.
        memory: address and size of its scratch memory.
        allocator: its `tensorrt.IOutputAllocator`, one for all runs: the bindings keep whichever they are given as long as the context.
        allocates: outputs that it was given the allocator for.
    """

    raw: Any
    key: Key | None = None
    profile: int = 0
    addresses: dict[str, int] = field(default_factory=dict)
    has_run: bool = False
    held: dict[str, object] = field(default_factory=dict)
    memory: tuple[int, int] = (0, 0)
    allocator: Any = None
    allocates: set[str] = field(default_factory=set)

    def place(self, name: str, address: int) -> None:
        """Tell it where a tensor lies, unless it knows.

        Raises:
            RuntimeException: TensorRT does not take it.
        """
        if self.addresses.get(name) == address:
            return
        with listening() as told:
            if not self.raw.set_tensor_address(name, address):
                raise told.failed(RuntimeException, f"TensorRT takes no address for tensor '{name}'")
        self.addresses[name] = address

    def forget(self, name: str) -> None:
        """Tell it that an output lies nowhere, so that it asks its allocator: memory of the last run belongs to the caller now."""
        self.raw.set_tensor_address(name, 0)
        self.addresses.pop(name, None)


class Engine:
    """A `tensorrt.ICudaEngine`; threads share it.

    Args:
        plan: the serialized engine.
        settings: those that it was built with.
        name: of the segment, for messages.
        budget: bytes of weights on the device, `AUTOMATIC`, or 0 for all.

    Attributes:
        raw: the engine.
        streams_weights: some stay on the host; no CUDA graph can be captured from it then.

    Raises:
        EPFail: TensorRT does not read it.
        InvalidArgument: it does not take the budget.
    """

    def __init__(self, plan: Content, settings: BuildSettings, name: str, budget: int = 0) -> None:
        trt = tensorrt()
        self._name = name
        self._runtime = made(trt.Runtime)
        if settings.dla_core is not None and settings.dla_core < self._runtime.num_DLA_cores:
            self._runtime.DLA_core = settings.dla_core
        with listening(detailed=settings.detailed_log) as told:
            load_plugins(settings.plugins)
            self.raw = self._runtime.deserialize_cuda_engine(plan)
        if self.raw is None:
            raise told.failed(EPFail, f"TensorRT {version()} does not read the engine of {name}")
        self.streams_weights = bool(budget) and self._stream_weights(budget)
        self._idle: list[Context] = []
        self._lock = threading.RLock()  # a graph that is collected gives its context back, at any moment

    def _stream_weights(self, budget: int) -> bool:
        """Leave weights on the host that are more than the budget; True if there are any."""
        if not (streamable := int(self.raw.streamable_weights_size)):
            return False
        wanted = int(self.raw.get_weight_streaming_automatic_budget()) if budget == AUTOMATIC else min(budget, streamable)
        with listening() as told:
            self.raw.weight_streaming_budget_v2 = wanted
        if int(self.raw.weight_streaming_budget_v2) != wanted:  # the bindings drop what the setter says
            raise told.failed(InvalidArgument, f"option 'trt_weight_streaming_budget': {wanted:,} of {streamable:,} bytes for {self._name}")
        logger.info("%s keeps %s of %s bytes of weights on the device", self._name, f"{wanted:,}", f"{streamable:,}")
        return wanted < streamable

    def reads_on_host(self, name: str) -> bool:
        """Whether an input lies on the host: as its place is, and as NVIDIA's own tools have it, if its values are read to know shapes."""
        return self._lies_on_host(name) or bool(self.raw.is_shape_inference_io(name))

    def writes_on_host(self, name: str) -> bool:
        """Whether an output lies on the host."""
        return self._lies_on_host(name)

    def _lies_on_host(self, name: str) -> bool:
        return bool(self.raw.get_tensor_location(name) == tensorrt().TensorLocation.HOST)

    def workspace(self, profile: int) -> int:
        """Bytes of device memory that a context needs with this profile."""
        return int(self.raw.get_device_memory_size_for_profile_v2(profile))

    def take(self, key: Key) -> Context:
        """A context that nobody else uses: one that is set up for this, the one that was not used for longest, or a new one."""
        return self.take_ready(key) or self._any() or self._made()

    def take_ready(self, key: Key) -> Context | None:
        """A context that ran with this key before; None if there is none that nobody uses."""
        with self._lock:
            for index in reversed(range(len(self._idle))):
                if self._idle[index].key == key and self._idle[index].has_run:
                    return self._idle.pop(index)
        return None

    def give_back(self, context: Context) -> None:
        """Let others have a context; what it was given to do may still be going on, on the stream of the session."""
        with self._lock:
            self._idle.append(context)

    def _any(self) -> Context | None:
        with self._lock:
            return self._idle.pop(0) if self._idle else None

    def _made(self) -> Context:
        with listening() as told:
            raw = self.raw.create_execution_context(tensorrt().ExecutionContextAllocationStrategy.USER_MANAGED)
        if raw is None:
            raise told.failed(EPFail, f"TensorRT makes no execution context for {self._name}")
        return Context(raw, profile=int(raw.active_optimization_profile))


def refit(engine: Engine, model: CutModel, name: str) -> None:
    """Give an engine that was built without them the weights of its model.

    Args:
        engine: nothing was run with it yet.
        model: what it was built from.
        name: of the segment, for messages.

    Raises:
        EPFail: TensorRT does not take the weights.
    """
    trt = tensorrt()
    with listening() as told:
        refitter = trt.Refitter(engine.raw, trt_logger())
        parser = trt.OnnxParserRefitter(refitter, trt_logger())
        if not (_given(parser, model) and refitter.refit_cuda_engine()):
            words: Mapping[int, str] = errors_of(parser)
            raise EPFail(
                f"TensorRT does not take the weights for the engine of {name}: {'; '.join(words.values()) or told.reason()}; "
                "the engine may be of another model: remove it from the cache"
            )


def _given(parser: Any, model: CutModel) -> bool:
    """Hand over the weights where they lie, if this version can."""
    if not model.weights or not takes_references(parser):
        return bool(parser.refit_from_bytes(embedded(model)))
    return (
        bool(parser.load_model_proto(model.proto.SerializeToString()))
        and all(parser.load_initializer(name, array.ctypes.data, array.nbytes) for name, array in model.weights.items())
        and bool(parser.refit_model_proto())
    )
