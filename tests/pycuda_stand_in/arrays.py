"""`pycuda.gpuarray` and the pools of `pycuda.tools`, on the emulated device."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.pycuda_stand_in import driver

_LEADING_BITS = 4
"""Of a size, those that decide which bin of a pool it is in."""


class _Pool:
    """Blocks by size; what is freed is given out again at once."""

    def __init__(self) -> None:
        self._held: dict[int, list[int]] = {}
        self._holds = True
        self.active_bytes = self.managed_bytes = self.active_blocks = self.held_blocks = 0

    def _new_block(self, size: int) -> int:
        raise NotImplementedError

    def _free_block(self, pointer: int) -> None:
        raise NotImplementedError

    def _begin_to_hold(self) -> None:
        """A block comes back while the pool has none."""

    def alloc_size(self, bin_number: int) -> int:
        shift = (bin_number >> _LEADING_BITS) - _LEADING_BITS
        leading = 1 << _LEADING_BITS | bin_number & (1 << _LEADING_BITS) - 1
        return leading << shift | (1 << shift) - 1 if shift > 0 else leading >> -shift

    def bin_number(self, size: int) -> int:
        exponent = max(size.bit_length() - 1, 0)
        shift = exponent - _LEADING_BITS
        leading = size >> shift if shift > 0 else size << -shift
        return exponent << _LEADING_BITS | leading & (1 << _LEADING_BITS) - 1

    def _taken(self, size: int) -> int:
        number = self.bin_number(size)
        if not self._held.get(number):
            pointer = self._from_the_driver(self.alloc_size(number))
        else:
            pointer = self._held[number].pop()
            self.held_blocks -= 1
        self.active_blocks += 1
        self.active_bytes += size
        return pointer

    def _from_the_driver(self, size: int) -> int:
        """A new block; while there is no memory for it, those that are held are freed one by one, the largest first."""
        while True:
            try:
                pointer = self._new_block(size)
            except driver.MemoryError:
                held = [number for number, pointers in self._held.items() if pointers]
                if not held:
                    raise driver.failed("memory_pool::allocate", 2) from None
                self._free_one(max(held))
            else:
                self.managed_bytes += size
                return pointer

    def _free_one(self, number: int) -> None:
        self._free_block(self._held[number].pop())
        self.managed_bytes -= self.alloc_size(number)
        self.held_blocks -= 1

    def _returned(self, pointer: int, size: int) -> None:
        number = self.bin_number(size)
        self.active_blocks -= 1
        self.active_bytes -= size
        if not self._holds:
            self._free_block(pointer)
            self.managed_bytes -= self.alloc_size(number)
            return
        if not self.held_blocks:
            self._begin_to_hold()
        self._held.setdefault(number, []).append(pointer)
        self.held_blocks += 1

    def free_held(self) -> None:
        for number in sorted(self._held):
            while self._held[number]:
                self._free_one(number)

    def stop_holding(self) -> None:
        self._holds = False
        self.free_held()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.free_held()


class DeviceMemoryPool(_Pool, driver.Dependent):
    def __init__(self) -> None:
        _Pool.__init__(self)
        driver.Dependent.__init__(self)

    def allocate(self, size: int) -> PooledDeviceAllocation:
        return PooledDeviceAllocation(self, size)

    def _new_block(self, size: int) -> int:
        with self._activated():
            return driver.allocated(size)

    def _begin_to_hold(self) -> None:
        driver.current("explicit_context_dependent")

    def _free_block(self, pointer: int) -> None:
        self._clean_up("pooled_device_allocation", "cudaFree", ctypes.c_void_p(pointer))


class PooledDeviceAllocation(driver.Allocation):
    def __init__(self, pool: DeviceMemoryPool, size: int) -> None:
        driver.current("explicit_context_dependent")
        self._pool, self._size = pool, size
        self._pointer, self._is_valid = pool._taken(size), True

    def free(self) -> None:
        if not self._is_valid:
            raise driver.failed("pooled_device_allocation::free", 400)
        self._pool._returned(self._pointer, self._size)
        self._is_valid = False

    def __len__(self) -> int:
        return self._size

    def __del__(self) -> None:
        if vars(self).get("_is_valid"):
            try:
                self.free()
            except driver.Error as error:
                driver.ends_the_process(f"terminate called after throwing an instance of 'pycuda::error'\n  what():  {error}")


class PageLockedMemoryPool(_Pool):
    def allocate(self, shape: Sequence[int], dtype: Any, order: str = "C") -> np.ndarray:
        if isinstance(shape, int):
            raise AttributeError("'int' object has no attribute '__iter__'")
        if order not in ("C", "F"):
            raise SystemError("returned a result with an exception set")
        memory = np.asarray(_HostBlock(self, math.prod(shape) * np.dtype(dtype).itemsize))
        return memory.view(dtype).reshape(shape, order=order)  # type: ignore[no-any-return]

    def _new_block(self, size: int) -> int:
        driver.current("cuMemHostAlloc")
        found = ctypes.c_void_p()
        driver.cuda("cudaHostAlloc", ctypes.byref(found), ctypes.c_size_t(size), 0)
        return found.value or 0

    def _free_block(self, pointer: int) -> None:
        driver.cuda("cudaFreeHost", ctypes.c_void_p(pointer))


class _HostBlock:
    def __init__(self, pool: PageLockedMemoryPool, size: int) -> None:
        self._pool, self._size = pool, size
        self._pointer = pool._taken(size)
        self.__array_interface__ = {"data": (self._pointer, False), "shape": (size,), "typestr": "|u1", "version": 3}

    def __del__(self) -> None:
        if "_pointer" in vars(self):
            self._pool._returned(self._pointer, self._size)


class _ArrayFlags:
    def __init__(self, ary: GPUArray) -> None:
        like = np.lib.stride_tricks.as_strided(np.empty(0, np.dtype((np.void, ary.itemsize))), ary.shape, ary.strides)
        self.c_contiguous, self.f_contiguous = like.flags.c_contiguous, like.flags.f_contiguous
        self.forc = self.c_contiguous or self.f_contiguous


class GPUArray:
    def __init__(
        self,
        shape: Any,
        dtype: Any,
        allocator: Callable[[int], Any] = driver.mem_alloc,
        base: Any = None,
        gpudata: Any = None,
        strides: Sequence[int] | None = None,
        order: str = "C",
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.shape = tuple(int(size) for size in shape) if not isinstance(shape, int) else (shape,)
        self.size = self.mem_size = int(np.prod(self.shape, dtype=np.int64))
        self.itemsize, self.nbytes = self.dtype.itemsize, self.dtype.itemsize * self.size
        self.strides = tuple(strides) if strides is not None else _strides(self.shape, self.itemsize, order)
        self.allocator, self.base, self.gpudata = allocator, base, gpudata
        if gpudata is None:
            if self.size:
                self.gpudata = allocator(self.nbytes)
            assert base is None
        driver.Context.get_device().get_attribute(driver.device_attribute.MULTIPROCESSOR_COUNT)  # how kernels are launched on it

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "strides": self.strides,
            "data": (int(self.gpudata) if self.gpudata is not None else 0, False),
            "typestr": self.dtype.str,
            "stream": None,
            "version": 3,
        }

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def flags(self) -> _ArrayFlags:
        return _ArrayFlags(self)

    @property
    def ptr(self) -> int:
        pointer: int = self.gpudata.__int__()
        return pointer

    def get(self) -> np.ndarray:
        found = np.empty(self.shape, self.dtype)
        if self.size:
            driver.memcpy_dtoh(found, self.gpudata)
        return found


def _strides(shape: tuple[int, ...], itemsize: int, order: str) -> tuple[int, ...]:
    sizes = shape if order == "F" else shape[::-1]
    steps = [itemsize * int(np.prod(sizes[:axis], dtype=np.int64)) for axis in range(len(sizes))]
    return tuple(steps if order == "F" else steps[::-1])


def to_gpu(ary: np.ndarray, allocator: Callable[[int], Any] = driver.mem_alloc) -> GPUArray:
    made = GPUArray(ary.shape, ary.dtype, allocator, strides=ary.strides)
    if made.size:
        driver.memcpy_htod(made.gpudata, ary)
    return made
