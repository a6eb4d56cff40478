"""`pycuda.driver` on the emulated device: contexts, streams, events and copies, as strict as PyCUDA and CUDA are."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from onnxgpu.providers.cuda.emulator import install

_INVALID_CONTEXT, _INVALID_HANDLE, _NOT_INITIALISED, _INVALID_VALUE, _INVALID_DEVICE = 201, 400, 3, 1, 101
_TEXTS = {
    1: "invalid argument",
    2: "out of memory",
    3: "initialization error",
    101: "invalid device ordinal",
    201: "invalid device context",
    217: "peer access is not supported between these two devices",
    400: "invalid resource handle",
    600: "device not ready",
    700: "an illegal memory access was encountered",
    704: "peer access is already enabled",
    719: "unspecified launch failure",
}


class Error(Exception):
    """What all errors of PyCUDA are."""


class MemoryError(Error):
    """There is too little memory."""


class LogicError(Error):
    """Most errors."""


class LaunchError(Error):
    """A kernel failed."""


class RuntimeError(Error):
    """No device, no code for it, or not ready."""


def failed(call: str, code: int) -> Error:
    """As PyCUDA words and sorts it."""
    kind = {2: MemoryError, 719: LaunchError, 100: RuntimeError, 209: RuntimeError, 600: RuntimeError}.get(code, LogicError)
    return kind(f"{call} failed: {_TEXTS.get(code, f'error {code}')} - emulated device: {install().message}")


_CALLS = {"cudaMalloc": "cuMemAlloc", "cudaDeviceEnablePeerAccess": "cuCtxEnablePeerAccess"}
"""What the driver calls functions of the runtime, where it has another name."""


def cuda(name: str, *arguments: Any, call: str = "") -> None:
    """Call CUDA's runtime in the current context; `call` is what PyCUDA calls in its place."""
    code = getattr(install().library, name)(*arguments)
    if code:
        raise failed(call or _CALLS.get(name, f"cu{name.removeprefix('cuda')}"), code)


class _Stack(list["Context"]):
    """A thread's contexts; also who the thread is, since numbers of threads are used again."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __del__(self) -> None:
        if self:
            ends_the_process("PyCUDA ERROR: The context stack was not empty upon module cleanup.")


def ends_the_process(text: str) -> None:
    """As an exception does that leaves a destructor of C++."""
    print(text, file=sys.stderr, flush=True)
    os.abort()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.stack = _Stack()


_thread = _Thread()
_initialised = False


def init(flags: int = 0) -> None:
    global _initialised
    _initialised = True


def current(call: str) -> Context:
    """The context at the top of the stack; CUDA's device is then that one's."""
    if not _thread.stack:
        raise failed(call, _INVALID_CONTEXT)
    top = _thread.stack[-1]
    cuda("cudaSetDevice", top._index)
    return top


class Device:
    def __init__(self, ordinal: int) -> None:
        if not 0 <= ordinal < Device.count():
            raise failed("cuDeviceGet", _INVALID_DEVICE)
        self._index = ordinal

    @staticmethod
    def count() -> int:
        if not _initialised:
            raise failed("cuDeviceGetCount", _NOT_INITIALISED)
        found = ctypes.c_int()
        cuda("cudaGetDeviceCount", ctypes.byref(found))
        return found.value

    def name(self) -> str:
        return "onnxgpu emulated device"

    def compute_capability(self) -> tuple[int, int]:
        return divmod(install().settings.capability, 10)

    def get_attribute(self, attribute: int) -> int:
        found = ctypes.c_int()
        cuda("cudaDeviceGetAttribute", ctypes.byref(found), attribute, self._index)
        return found.value

    def can_access_peer(self, other: Device) -> bool:
        found = ctypes.c_int()
        cuda("cudaDeviceCanAccessPeer", ctypes.byref(found), self._index, other._index)
        return bool(found.value)

    def retain_primary_context(self) -> Context:
        return Context(self._index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other._index == self._index

    def __hash__(self) -> int:
        return self._index


class Context:
    def __init__(self, index: int) -> None:
        self._index, self._thread = index, _thread.stack

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and other._index == self._index

    def __hash__(self) -> int:
        return self._index

    @property
    def handle(self) -> int:
        return 0x1000 + self._index

    def push(self) -> None:
        _thread.stack.append(self)
        cuda("cudaSetDevice", self._index)

    @staticmethod
    def pop() -> None:
        current("context::pop")
        _thread.stack.pop()
        if _thread.stack:
            cuda("cudaSetDevice", _thread.stack[-1]._index)

    @staticmethod
    def get_current() -> Context | None:
        return _thread.stack[-1] if _thread.stack else None

    @staticmethod
    def get_device() -> Device:
        return Device(current("cuCtxGetDevice")._index)

    @staticmethod
    def synchronize() -> None:
        current("cuCtxSynchronize")
        cuda("cudaDeviceSynchronize")

    @staticmethod
    def enable_peer_access(peer: Context, flags: int = 0) -> None:
        if current("cuCtxEnablePeerAccess") == peer:
            raise failed("cuCtxEnablePeerAccess", _INVALID_DEVICE)
        cuda("cudaDeviceEnablePeerAccess", peer._index, flags)


class Dependent:
    """What is cleaned up in the context in which it was made; by another thread only while that is the current one there."""

    def __init__(self) -> None:
        self._context = current("explicit_context_dependent")

    def _is_out_of_reach(self) -> bool:
        """PyCUDA compares contexts by identity."""
        return Context.get_current() is not self._context and _thread.stack is not self._context._thread

    @contextmanager
    def _activated(self) -> Iterator[None]:
        if self._is_out_of_reach():
            raise failed("cannot activate out-of-thread context", _INVALID_CONTEXT)
        self._context.push()
        try:
            yield
        finally:
            Context.pop()

    def _clean_up(self, what: str, function: str, handle: Any) -> None:
        if self._is_out_of_reach():
            warnings.warn(f"{what} in out-of-thread context could not be cleaned up", UserWarning, stacklevel=2)
            return
        with self._activated():
            getattr(install().library, function)(handle)


class Event(Dependent):
    def __init__(self, flags: int = 0) -> None:
        super().__init__()
        self._handle = ctypes.c_void_p()
        cuda("cudaEventCreateWithFlags", ctypes.byref(self._handle), flags)

    def record(self, stream: Stream | None = None) -> Event:
        cuda("cudaEventRecord", self._handle, _stream(stream))
        return self

    def synchronize(self) -> Event:
        cuda("cudaEventSynchronize", self._handle)
        return self

    def query(self) -> bool:
        code: int = install().library.cudaEventQuery(self._handle)
        if code not in (0, 600):
            raise failed("cuEventQuery", code)
        return code == 0

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self._clean_up("event", "cudaEventDestroy", self._handle)


class Stream(Dependent):
    def __init__(self, flags: int = 0) -> None:
        if not isinstance(flags, int):
            raise TypeError("Python argument types in Stream.__init__ did not match C++ signature")
        super().__init__()
        self._handle = ctypes.c_void_p()
        cuda("cudaStreamCreateWithFlags", ctypes.byref(self._handle), flags)

    @property
    def handle(self) -> int:
        return self._handle.value or 0

    def synchronize(self) -> None:
        cuda("cudaStreamSynchronize", self._handle)

    def wait_for_event(self, event: Event) -> None:
        if not isinstance(event, Event):
            raise TypeError("Python argument types in Stream.wait_for_event did not match C++ signature")
        cuda("cudaStreamWaitEvent", self._handle, event._handle, 0)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self._clean_up("stream", "cudaStreamDestroy", self._handle)


def _stream(stream: Stream | None) -> ctypes.c_void_p:
    if stream is not None and not isinstance(stream, Stream):
        raise TypeError(f"No registered converter was able to extract a C++ reference to type pycuda::stream from {stream!r}")
    return ctypes.c_void_p() if stream is None else stream._handle


class Allocation:
    """Device memory that a program may hand over where an address is wanted."""

    _pointer: int

    def __int__(self) -> int:
        return self._pointer

    def __index__(self) -> int:
        return self._pointer


class DeviceAllocation(Allocation, Dependent):
    def __init__(self, pointer: int) -> None:
        Dependent.__init__(self)
        self._pointer, self._is_valid = pointer, True

    def free(self) -> None:
        if not self._is_valid:
            raise failed("device_allocation::free", _INVALID_HANDLE)
        self._is_valid = False
        self._clean_up("device_allocation", "cudaFree", ctypes.c_void_p(self._pointer))

    def __del__(self) -> None:
        if self._is_valid:
            self.free()


def allocated(size: int) -> int:
    """New memory on the device of the current context."""
    current("cuMemAlloc")
    if not size:
        raise failed("cuMemAlloc", _INVALID_VALUE)
    found = ctypes.c_void_p()
    cuda("cudaMalloc", ctypes.byref(found), ctypes.c_size_t(size))
    return found.value or 0


def mem_alloc(size: int) -> DeviceAllocation:
    return DeviceAllocation(allocated(size))


def mem_get_info() -> tuple[int, int]:
    current("cuMemGetInfo")
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    cuda("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


def _address(given: Any) -> ctypes.c_void_p:
    if not isinstance(given, int | Allocation):
        raise TypeError(f"Python argument types did not match C++ signature: {type(given).__name__} is no CUdeviceptr")
    return ctypes.c_void_p(int(given))


def _buffer(given: Any, *, writable: bool) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    array = np.asarray(given if isinstance(given, np.ndarray) else memoryview(given))
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise ValueError("ndarray is not contiguous")
    if writable and not array.flags.writeable:
        raise ValueError("buffer source array is read-only") if isinstance(given, np.ndarray) else BufferError("Object is not writable.")
    return ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)


_TO_DEVICE, _TO_HOST, _ON_DEVICE = 1, 2, 3


def memcpy_htod_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    current("cuMemcpyHtoDAsync")
    source, size = _buffer(src, writable=False)
    cuda("cudaMemcpyAsync", _address(dest), source, size, _TO_DEVICE, _stream(stream), call="cuMemcpyHtoDAsync")


def memcpy_dtoh_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    current("cuMemcpyDtoHAsync")
    target, size = _buffer(dest, writable=True)
    cuda("cudaMemcpyAsync", target, _address(src), size, _TO_HOST, _stream(stream), call="cuMemcpyDtoHAsync")


def memcpy_htod(dest: Any, src: Any) -> None:
    current("cuMemcpyHtoD")
    source, size = _buffer(src, writable=False)
    cuda("cudaMemcpy", _address(dest), source, size, _TO_DEVICE, call="cuMemcpyHtoD")


def memcpy_dtoh(dest: Any, src: Any) -> None:
    current("cuMemcpyDtoH")
    target, size = _buffer(dest, writable=True)
    cuda("cudaMemcpy", target, _address(src), size, _TO_HOST, call="cuMemcpyDtoH")


def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Stream | None = None) -> None:
    current("cuMemcpyDtoDAsync")
    cuda("cudaMemcpyAsync", _address(dest), _address(src), ctypes.c_size_t(size), _ON_DEVICE, _stream(stream), call="cuMemcpyDtoDAsync")


def memcpy_peer_async(
    dest: Any, src: Any, size: int, dest_context: Context | None = None, src_context: Context | None = None, stream: Stream | None = None
) -> None:
    here = current("cuMemcpyPeerAsync")
    if dest_context is None or src_context is None:
        os.kill(os.getpid(), signal.SIGSEGV)  # PyCUDA has the condition the wrong way round, and so ignores what is given
    cuda("cudaMemcpyPeerAsync", _address(dest), here._index, _address(src), here._index, ctypes.c_size_t(size), _stream(stream))


class event_flags:  # noqa: N801  PyCUDA's name
    DEFAULT, BLOCKING_SYNC, DISABLE_TIMING, INTERPROCESS = 0, 1, 2, 4


class device_attribute:  # noqa: N801  PyCUDA's name
    MULTIPROCESSOR_COUNT: ClassVar[int] = 16
    WARP_SIZE: ClassVar[int] = 10
