"""Where a context's activations lie: in memory of its own, of the runtime's allocator, or of the user."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.reports import Reports

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.stand_in.engine import Engine

CALL = "IExecutionContext::setDeviceMemoryV2"


class ContextMemory:
    """The memory of one context.

    Args:
        engine: says how much it takes.
        strategy: a member of `ExecutionContextAllocationStrategy`.
        reports: the context's.

    Raises:
        MemoryError: there is not enough.
    """

    def __init__(self, engine: Engine, strategy: Any, reports: Reports) -> None:
        self._engine, self.strategy, self._reports = engine, strategy, reports
        self.address = self.size = 0
        self._release: Any = None
        if strategy.name == "STATIC":
            self._allocate(engine.device_memory_size_v2)
        elif strategy.name == "ON_PROFILE_CHANGE":
            self._allocate(self.needed(0))

    @property
    def is_users(self) -> bool:
        """Whether the user gives it."""
        return bool(self.strategy.name == "USER_MANAGED")

    def needed(self, profile: int) -> int:
        """Bytes that an execution with this profile wants."""
        return self._engine.get_device_memory_size_for_profile_v2(profile)

    def profile_changed(self, profile: int) -> None:
        """Allocate anew where that is the strategy."""
        if self.strategy.name == "ON_PROFILE_CHANGE":
            self._allocate(self.needed(profile))

    def given(self, address: int, size: int) -> None:
        """What the user gives."""
        if not self.is_users:
            broken("device memory is the user's", self._reports, CALL, f"the context allocates its memory itself ({self.strategy.name})")
        elif address % gpu.ALIGNMENT:
            broken("device memory is aligned", self._reports, CALL, f"{address:#x} is not aligned to {gpu.ALIGNMENT} bytes")
        else:
            self.address, self.size = address, size

    def is_ready(self, call: str, profile: int) -> bool:
        """Whether an execution may begin."""
        needed = self.needed(profile)
        if not self.is_users or not needed:
            return True
        if self.address and self.size >= needed and gpu.is_device_memory(self.address, needed):
            return True
        told = f"{needed} bytes of device memory are needed, {self.size} were given at {self.address:#x}"
        broken("device memory before execution", self._reports, call, told)
        return False

    def scribble(self, profile: int) -> None:
        """Overwrite it, as the layers of an engine do: what somebody else keeps there is lost."""
        size = min(self.size, self.needed(profile)) if self.is_users else self.size
        if self.address and size:
            gpu.write(self.address, b"\xab" * size)

    def _allocate(self, size: int) -> None:
        if self._release is not None:
            self._release()
        self.size = size
        if not size:
            self.address = 0
            return
        allocator = self._engine.runtime.gpu_allocator
        if allocator is None:
            self.address = gpu.allocate(size)
            self._release = weakref.finalize(self, gpu.free, self.address)
            return
        asks_stream = any(cls.__name__ == "IGpuAsyncAllocator" for cls in type(allocator).__mro__)
        self.address = (
            allocator.allocate_async(size, gpu.ALIGNMENT, 0, 0) if asks_stream else allocator.allocate(size, gpu.ALIGNMENT, 0)
        ) or 0
        if not self.address:
            raise MemoryError(f"the GPU allocator gave nothing for {size} bytes")
        release = (lambda address: allocator.deallocate_async(address, 0)) if asks_stream else allocator.deallocate
        self._release = weakref.finalize(self, release, self.address)
