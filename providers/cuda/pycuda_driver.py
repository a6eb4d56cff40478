"""PyCUDA's driver as the parts of a device use it: the primary context, streams, events and memory.

PyCUDA's calls work on the context at the top of the calling thread's stack, which is PyCUDA's own; what is freed by a thread in
which that context is not current stays allocated, with a warning, or ends the process: the first block that goes back to a pool does
that. So everything here happens within a `Context`, what a program lets go of included. What there is when the interpreter ends is
left to the driver.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from types import TracebackType
from typing import Any

import numpy as np

from onnxgpu.errors import EPFail, InvalidArgument
from onnxgpu.providers.cuda import device
from onnxgpu.providers.cuda.memory import MemoryStatistics, checked_options, power_of_two
from onnxgpu.providers.cuda.streams import Streams

_NON_BLOCKING = 1
"""CUDA's `CU_STREAM_NON_BLOCKING`, for which PyCUDA has no name."""


@cache
def driver() -> Any:
    """The module `pycuda.driver`, initialised.

    Raises:
        EPFail: it cannot be imported, or finds no device.
    """
    try:
        import pycuda.driver as module

        module.init()
    except Exception as error:
        raise EPFail(f"PyCUDA is installed but cannot be used: {type(error).__name__}: {error}; run `onnxgpu doctor`") from error
    return module


_kept: dict[int, Any] = {}
"""PyCUDA's objects by identity, until they are let go of in their context; outlives the interpreter, which would destroy them in none."""
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_kept))


class Context:
    """The primary context of a device, which CUDA's runtime, and so TensorRT, uses too; kept for as long as the process lives.

    As a context manager, it is at the top of the calling thread's stack.

    Args:
        index: the device's number.

    Raises:
        InvalidArgument: this machine does not have so many.
    """

    def __init__(self, index: int) -> None:
        device.check_number(index, driver().Device.count())
        self.device = driver().Device(index)
        self.raw = self.device.retain_primary_context()
        _kept[id(self.raw)] = self.raw

    def __enter__(self) -> None:
        self.raw.push()  # also if it is there: another library may have made another device the current one

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        driver().Context.pop()


def dropped_within(context: Context, owner: object, things: deque[Any]) -> None:
    """When `owner` goes, let `things` go while the context is current, whichever thread that is; never if that cannot be."""
    _kept[id(things)] = things
    weakref.finalize(owner, _drop, context, things).atexit = False


def _drop(context: Context, things: deque[Any]) -> None:
    with suppress(Exception), context:
        things.clear()
        del _kept[id(things)]


_contexts: dict[int, Context] = {}


def context(index: int) -> Context:
    """That of the device with this number; one for all threads, as PyCUDA compares contexts by identity."""
    return _contexts.get(index) or _contexts.setdefault(index, Context(index))


class Event:
    """A place in a stream, with the names of CuPy's events."""

    def __init__(self) -> None:
        self.raw = driver().Event(driver().event_flags.DISABLE_TIMING)

    @property
    def done(self) -> bool:
        """True once it is reached."""
        return bool(self.raw.query())

    def synchronize(self) -> None:
        """Wait until it is reached."""
        self.raw.synchronize()


class Stream:
    """A stream, with the names of CuPy's streams.

    Args:
        context: of the device.
        flags: of CUDA.
    """

    def __init__(self, context: Context, flags: int = 0) -> None:
        with context:
            self._held = deque([driver().Stream(flags)])
        dropped_within(context, self, self._held)

    @property
    def raw(self) -> Any:
        """PyCUDA's."""
        return self._held[0]

    @property
    def ptr(self) -> int:
        """Its address."""
        return int(self.raw.handle)

    def record(self, event: Event) -> Event:
        """The event, which is reached when what was launched so far is done."""
        event.raw.record(self.raw)
        return event

    def wait_event(self, event: Event) -> None:
        """What is launched from here on comes after the event."""
        self.raw.wait_for_event(event.raw)

    def synchronize(self) -> None:
        """Wait for what was launched."""
        self.raw.synchronize()


class PycudaStreams(Streams):
    """The streams of one device.

    Args:
        context: of the device.
        options: see `onnxgpu.providers.cuda.gpu.Gpu`.

    Raises:
        InvalidArgument: the user gives a stream, which PyCUDA cannot work on.
    """

    def __init__(self, context: Context, options: Mapping[str, Any]) -> None:
        if options.get("user_compute_stream"):
            raise InvalidArgument(
                "option 'user_compute_stream': PyCUDA works on no stream that it did not make; leave the option out, or install CuPy"
            )
        self._context, self.are_own = context, True
        self.compute = Stream(context)
        self.copying = self.compute if options.get("do_copy_in_default_stream") else Stream(context, _NON_BLOCKING)

    def __enter__(self) -> None:
        self._context.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._context.__exit__(kind, error, trace)

    def event(self) -> Event:
        """A new event for order alone."""
        return Event()


class Allocation:
    """Memory on a device, which goes back to its pool while the context is current.

    Args:
        context: of the device.
        memory: what PyCUDA calls a pooled allocation.
    """

    def __init__(self, context: Context, memory: Any) -> None:
        self.pointer = int(memory)
        dropped_within(context, self, deque([memory]))


class PycudaMemory:
    """A pool of device memory, which goes with the session and its arrays; see `onnxgpu.providers.cuda.memory.Memory` for the options.

    Args:
        context: of the device.
        options: of the provider.

    Raises:
        InvalidArgument: a limit that is negative, or a strategy that does not exist.
    """

    def __init__(self, context: Context, options: Mapping[str, Any]) -> None:
        from pycuda.tools import DeviceMemoryPool

        self.limit, self._rounds_up = checked_options(options)
        self._context = context
        with context:
            self._pool = DeviceMemoryPool()
        _kept[id(self._pool)] = self._pool
        weakref.finalize(self, _close, context, self._pool).atexit = False

    @contextmanager
    def used(self) -> Iterator[None]:
        """Nothing: arrays ask `allocate`."""
        yield

    def allocate(self, size: int) -> Allocation:
        """New memory.

        Raises:
            pycuda.driver.MemoryError: there is none, or it would pass the limit.
        """
        for wanted in (power_of_two(size), size) if self._rounds_up else (size,):
            for _ in range(2):
                memory = self._taken(wanted)
                if memory is not None:
                    return Allocation(self._context, memory)
                self._pool.free_held()
        raise driver().MemoryError(f"{size:,} bytes would pass the limit")

    def statistics(self) -> MemoryStatistics:
        """What there is now."""
        with self._context:
            free, total = driver().mem_get_info()
        return MemoryStatistics(self._pool.active_bytes, self._pool.managed_bytes, self.limit, free, total)

    def _taken(self, size: int) -> Any:
        """None if the pool has more than the limit then: it rounds sizes up by itself too."""
        memory = self._pool.allocate(size)
        if not self.limit or self._pool.managed_bytes <= self.limit:
            return memory
        memory.free()
        return None


def _close(context: Context, pool: Any) -> None:
    """Free what nobody uses, and from now on what comes back; a faulted device takes none."""
    with suppress(Exception), context:
        driver().Context.synchronize()
        pool.stop_holding()
        del _kept[id(pool)]


class PycudaTransport:
    """See `onnxgpu.providers.cuda.copies.Transport`.

    Args:
        context: of the device.
    """

    is_lending = False  # what a thread frees in which the context is not current stays allocated

    def __init__(self, context: Context) -> None:
        from pycuda.tools import PageLockedMemoryPool

        self._held = deque([PageLockedMemoryPool()])
        dropped_within(context, self, self._held)

    def pinned(self, nbytes: int) -> np.ndarray:
        """See `onnxgpu.providers.cuda.copies.Transport`."""
        memory: np.ndarray = self._held[0].allocate((nbytes,), np.uint8)
        return memory

    def to_device(self, target: Any, source: np.ndarray, stream: Stream) -> None:
        """See `onnxgpu.providers.cuda.copies.Transport`."""
        driver().memcpy_htod_async(target.ptr, source, stream.raw)

    def to_host(self, target: np.ndarray, source: Any, stream: Stream) -> None:
        """See `onnxgpu.providers.cuda.copies.Transport`."""
        driver().memcpy_dtoh_async(target, source.ptr, stream.raw)
