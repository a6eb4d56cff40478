"""`pycuda.driver` on the emulated device: contexts, streams, events and copies, as strict as PyCUDA and CUDA are."""

from __future__ import annotations

import ctypes
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from onnxgpu.providers.cuda.emulator import install

_INVALID_CONTEXT, _NOT_INITIALISED, _INVALID_VALUE = 201, 3, 1
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


def cuda(name: str, *arguments: Any) -> None:
    """Call CUDA's runtime in the current context."""
    code = getattr(install().library, name)(*arguments)
    if code:
        raise failed(f"cu{name.removeprefix('cuda')}", code)


class _Thread(threading.local):
    def __init__(self) -> None:
        self.stack: list[Context] = []


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
            raise failed("cuDeviceGet", 101)
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
        self._index, self._thread_id = index, threading.get_ident()

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
        current("m_context::pop")
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
        current("cuCtxEnablePeerAccess")
        cuda("cudaDeviceEnablePeerAccess", peer._index, flags)


class Dependent:
    """What is cleaned up in the context in which it was made; by another thread only while that is the current one there."""

    def __init__(self, call: str) -> None:
        self._context = current(call)

    @contextmanager
    def _activated(self) -> Iterator[None]:
        if Context.get_current() != self._context and threading.get_ident() != self._context._thread_id:
            raise failed("cannot activate out-of-thread context", _INVALID_CONTEXT)
        self._context.push()
        try:
            yield
        finally:
            Context.pop()

    def _clean_up(self, what: str, function: str, handle: Any) -> None:
        if Context.get_current() != self._context and threading.get_ident() != self._context._thread_id:
            warnings.warn(f"{what} in out-of-thread context could not be cleaned up", UserWarning, stacklevel=2)
            return
        with self._activated():
            getattr(install().library, function)(handle)


class Event(Dependent):
    def __init__(self, flags: int = 0) -> None:
        super().__init__("cuEventCreate")
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
        super().__init__("cuStreamCreate")
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
    def __init__(self, size: int) -> None:
        Dependent.__init__(self, "cuMemAlloc")
        self._pointer = allocated(size)

    def free(self) -> None:
        self._clean_up("device_allocation", "cudaFree", ctypes.c_void_p(self._pointer))
        del self._pointer

    def __del__(self) -> None:
        if "_pointer" in vars(self):
            self.free()


def allocated(size: int) -> int:
    """New memory on the device of the current context."""
    found = ctypes.c_void_p()
    cuda("cudaMalloc", ctypes.byref(found), ctypes.c_size_t(size))
    return found.value or 0


def mem_alloc(size: int) -> DeviceAllocation:
    return DeviceAllocation(size)


def mem_get_info() -> tuple[int, int]:
    current("cuMemGetInfo")
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    cuda("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


def _address(given: Any) -> ctypes.c_void_p:
    if not isinstance(given, (int, np.integer, Allocation)):
        raise TypeError(f"Python argument types did not match C++ signature: {type(given).__name__} is no CUdeviceptr")
    return ctypes.c_void_p(int(given))


def _buffer(given: Any, *, writable: bool) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    view = memoryview(given)  # as PyObject_GetBuffer: not of element types that the buffer protocol has no letters for
    if not view.contiguous or (writable and view.readonly):
        raise ValueError("ndarray is not contiguous" if not view.contiguous else "buffer source array is read-only")
    array = np.asarray(view)
    return ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)


_TO_DEVICE, _TO_HOST, _ON_DEVICE = 1, 2, 3


def memcpy_htod_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    current("cuMemcpyHtoDAsync")
    source, size = _buffer(src, writable=False)
    cuda("cudaMemcpyAsync", _address(dest), source, size, _TO_DEVICE, _stream(stream))


def memcpy_dtoh_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    current("cuMemcpyDtoHAsync")
    target, size = _buffer(dest, writable=True)
    cuda("cudaMemcpyAsync", target, _address(src), size, _TO_HOST, _stream(stream))


def memcpy_htod(dest: Any, src: Any) -> None:
    current("cuMemcpyHtoD")
    source, size = _buffer(src, writable=False)
    cuda("cudaMemcpy", _address(dest), source, size, _TO_DEVICE)


def memcpy_dtoh(dest: Any, src: Any) -> None:
    current("cuMemcpyDtoH")
    target, size = _buffer(dest, writable=True)
    cuda("cudaMemcpy", target, _address(src), size, _TO_HOST)


def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Stream | None = None) -> None:
    current("cuMemcpyDtoDAsync")
    cuda("cudaMemcpyAsync", _address(dest), _address(src), ctypes.c_size_t(size), _ON_DEVICE, _stream(stream))


def memcpy_peer_async(
    dest: Any, src: Any, size: int, dest_context: Context | None = None, src_context: Context | None = None, stream: Stream | None = None
) -> None:
    here = current("cuMemcpyPeerAsync")
    to, origin = dest_context or here, src_context or here
    cuda("cudaMemcpyPeerAsync", _address(dest), to._index, _address(src), origin._index, ctypes.c_size_t(size), _stream(stream))


class event_flags:  # noqa: N801  PyCUDA's name
    DEFAULT, BLOCKING_SYNC, DISABLE_TIMING, INTERPROCESS = 0, 1, 2, 4


class device_attribute:  # noqa: N801  PyCUDA's name
    MULTIPROCESSOR_COUNT: ClassVar[int] = 16
    WARP_SIZE: ClassVar[int] = 10
