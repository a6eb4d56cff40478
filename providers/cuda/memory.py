"""Device memory of one provider: a pool of its own, so that all of it goes with the session; and what there is of it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.providers.cuda.capture import going_on

STRATEGIES = ("kNextPowerOfTwo", "kSameAsRequested")
_memories: weakref.WeakSet[Memory] = weakref.WeakSet()


class _Used(threading.local):
    """By the calling thread: the number of a device, and the memory for arrays on it."""

    def __init__(self) -> None:
        self.by_device: dict[int, Memory] = {}


_used = _Used()


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """Bytes on one device.

    Attributes:
        used: taken from the pool and not given back.
        held: taken from the driver, free blocks of the pool included.
        limit: of the pool; 0 for none.
        free: what the driver has left.
        total: the device's.
    """

    used: int
    held: int
    limit: int
    free: int
    total: int

    @property
    def available(self) -> int:
        """What can still be allocated at most."""
        ours = self.held - self.used
        return ours + (self.free if not self.limit else min(self.free, max(0, self.limit - self.held)))

    def __str__(self) -> str:
        limit = f", gpu_mem_limit {self.limit:,}" if self.limit else ""
        return f"{self.used:,} bytes in use, {self.available:,} available, {self.total:,} on the device{limit}"


class Memory:
    """Where arrays of one provider get their memory; an allocator that the program gave CuPy is used in place of a pool.

    Options, as onnxruntime names them:
        gpu_mem_limit: bytes that the provider takes from the driver at most.
        arena_extend_strategy: `kSameAsRequested` takes what a plan needs, the default here, since plans know it beforehand;
            `kNextPowerOfTwo` takes powers of two, of which more are used again where shapes keep changing.

    Args:
        module: `cupy`.
        device: the `cupy.cuda.Device`.
        options: of the provider.

    Raises:
        InvalidArgument: a limit that is negative, or a strategy that does not exist.
    """

    def __init__(self, module: Any, device: Any, options: Mapping[str, Any]) -> None:
        self._module, self._device = module, device
        self.limit, self._rounds_up = checked_options(options)
        others = tuple(_used.by_device.values())  # within theirs, CuPy's allocator is one of ours
        self._given: Any = others[0]._given if others else module.cuda.get_allocator()
        self._malloc = self._given
        self._pool = module.get_default_memory_pool()
        if self.limit or self._given == self._pool.malloc:
            self._pool = module.cuda.MemoryPool()
            self._malloc = self._pool.malloc
            with device:
                self._pool.set_limit(size=min(self.limit, 1 << 62))
            weakref.finalize(self, _give_back, self._pool, device).atexit = False
        _memories.add(self)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Arrays that this thread makes on the device lie in this memory."""
        before = _used.by_device
        _used.by_device = {**before, self._device.id: self}
        allocate = self.allocate if len(_used.by_device) == 1 else self._allocate_on_current_device
        try:
            with self._module.cuda.using_allocator(allocate):
                yield
        finally:
            _used.by_device = before

    def free_unused(self) -> None:
        """Give the driver back what nobody uses; on the device, whose work is done."""
        self._pool.free_all_blocks()

    def statistics(self) -> MemoryStatistics:
        """What there is now."""
        with self._device:
            free, total = self._module.cuda.runtime.memGetInfo()
            return MemoryStatistics(self._pool.used_bytes(), self._pool.total_bytes(), self.limit, free, total)

    def allocate(self, size: int) -> Any:
        """New memory, as a `cupy.cuda.MemoryPointer`.

        Raises:
            cupy.cuda.memory.OutOfMemoryError: there is none, also when the other sessions' pools have given back what they do not use.
        """
        wanted = power_of_two(size) if self._rounds_up else size
        try:
            return self._malloc(wanted)
        except self._module.cuda.memory.OutOfMemoryError:
            for memory in tuple(_memories):
                memory._pool.free_all_blocks()
            return self._malloc(wanted)

    def _allocate_on_current_device(self, size: int) -> Any:
        """Several devices are in use, and CuPy has one allocator for all of them."""
        current = self._module.cuda.runtime.getDevice()
        memory = _used.by_device.get(current)
        return self._module.get_default_memory_pool().malloc(size) if memory is None else memory.allocate(size)


def checked_options(options: Mapping[str, Any]) -> tuple[int, bool]:
    """The limit in bytes, 0 for none, and whether sizes are rounded up to powers of two.

    Raises:
        InvalidArgument: a limit that is negative, or a strategy that does not exist.
    """
    limit = int(options.get("gpu_mem_limit", 0))
    strategy = str(options.get("arena_extend_strategy", "kSameAsRequested"))
    if strategy not in STRATEGIES:
        raise InvalidArgument(f"option 'arena_extend_strategy' is {' or '.join(STRATEGIES)}, got {strategy!r}")
    if limit < 0:
        raise InvalidArgument(f"option 'gpu_mem_limit' is a number of bytes, or 0 for no limit; got {limit}")
    return limit, strategy == "kNextPowerOfTwo"


def power_of_two(size: int) -> int:
    """The smallest that is not less; 0 for 0."""
    return 1 << (size - 1).bit_length() if size else 0


def _give_back(pool: Any, device: Any) -> None:
    """Free the blocks that nobody uses, which CuPy's pools do not do when they go; a faulted device takes none back."""
    with suppress(Exception), going_on, device:
        device.synchronize()
        pool.free_all_blocks()
