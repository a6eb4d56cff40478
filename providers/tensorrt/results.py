"""Where an engine writes its outputs: into memory that is there, or, where shapes depend on the data, into memory that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from onnxgpu.errors import OnnxGpuError, RuntimeException
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.cuda.capture import forbid
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.tensorrt.engine import Context
from onnxgpu.providers.tensorrt.library import tensorrt
from onnxgpu.segment_provider import Segment

ALIGNMENT = 256
"""Of every address of the device that TensorRT is given."""

_BYTE = np.dtype(np.uint8)


class Results:
    """The outputs of one run.

    Args:
        device: where they lie.
        segment: whose they are.
        given: memory for them; None: the shapes depend on the data.
        nothing: memory that an empty output is said to lie in.
        context: what runs.
    """

    def __init__(self, device: Gpu, segment: Segment, given: Sequence[Array] | None, nothing: Array, context: Context) -> None:
        self._device, self._segment, self._given, self._nothing, self._context = device, segment, given, nothing, context
        self._positions = {value.name: index for index, value in enumerate(segment.outputs)}
        self._copies: list[tuple[Any, Any]] = []
        if given is None:
            forbid(f"{segment}: the shapes of its outputs depend on the data")
            context.allocator = context.allocator or _allocator_class(tensorrt())(device)
            context.allocator.begin()

    def place(self, name: str) -> None:
        """Tell the context where it writes an output.

        Raises:
            RuntimeException: TensorRT does not take it.
        """
        self._allocate(name, wanted=self._given is None)
        if self._given is None:
            self._context.forget(name)
            return
        target = self._given[self._positions[name]]
        written = target
        if not target.size:
            written = self._nothing
        elif self._device.pointer(target) % ALIGNMENT or not target.flags.c_contiguous:
            written = self._device.allocate(Spec(tuple(target.shape), target.dtype))
            self._copies.append((target, written))
        self._context.place(name, self._device.pointer(written))

    def _allocate(self, name: str, *, wanted: bool) -> None:
        context = self._context
        if wanted == (name in context.allocates):
            return
        if not context.raw.set_output_allocator(name, context.allocator if wanted else None):
            raise RuntimeException(f"TensorRT takes no memory for output '{name}' of {self._segment}")
        context.allocates ^= {name}

    def problem(self) -> OnnxGpuError | None:
        """Why memory that TensorRT asked for was not to be had."""
        return self._context.allocator.error if self._given is None else None

    def taken(self) -> Sequence[Array]:
        """The outputs."""
        if self._given is not None:
            for target, written in self._copies:
                self._device.copy_here(target, written)
            return self._given
        return [self._grown(value.name, value.dtype or _BYTE) for value in self._segment.outputs]

    def _grown(self, name: str, dtype: np.dtype) -> Array:
        allocator = self._context.allocator
        if name not in allocator.shapes:
            raise RuntimeException(f"TensorRT told no shape of output '{name}' of {self._segment}")
        spec = Spec(allocator.shapes[name], dtype)
        memory = allocator.memory.pop(name, None)  # the context keeps the allocator
        if not spec.size:
            return self._device.allocate(spec)
        if memory is None:
            raise RuntimeException(f"TensorRT asked for no memory for output '{name}' of {self._segment}, {spec.nbytes} bytes")
        return self._device.view(memory, 0, spec)


@cache
def _allocator_class(module: Any) -> Any:
    class Allocator(module.IOutputAllocator):  # type: ignore[misc]  # a class of an untyped module
        def __init__(self, device: Gpu) -> None:
            module.IOutputAllocator.__init__(self)
            self._device = device
            self.begin()

        def begin(self) -> None:
            self.memory: dict[str, Array] = {}
            self.shapes: dict[str, tuple[int, ...]] = {}
            self.error: OnnxGpuError | None = None

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            try:
                self.memory[tensor_name] = array = self._device.allocate(Spec((max(size, 1),), _BYTE))
            except Exception as error:  # the bindings would print it
                self.error = error if isinstance(error, OnnxGpuError) else self._device.explained(error, f"output '{tensor_name}'")
                return 0
            return self._device.pointer(array)

        def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Sequence[int]) -> None:
            self.shapes[tensor_name] = tuple(shape)

    return Allocator
