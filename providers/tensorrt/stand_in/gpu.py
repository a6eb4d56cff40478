"""The emulated GPU as TensorRT uses it: its name, memory by address, and functions in the order of a stream."""

from __future__ import annotations

import ctypes
import itertools
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from onnxgpu.providers.cuda.emulator import EmulatedDevice, installed

ALIGNMENT = 256
"""Bytes; of every address that TensorRT is given, and of what it asks of allocators."""

_LAUNCH_FAILURE = 719
_CAPTURING = 1
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)

_numbers = itertools.count(1)
_functions: dict[int, tuple[Callable[[], None], bool]] = {}
"""Number → a function that was enqueued, and whether it is called once alone."""


def device() -> EmulatedDevice:
    """The emulated device.

    Raises:
        RuntimeError: there is none in this process.
    """
    found = installed()
    if found is None:
        raise RuntimeError("the stand-in of tensorrt works on the emulated CUDA device: set ONNXGPU_CUDA=emulated before the first session")
    return found


def platform() -> str:
    """What engines and timing caches are bound to: the GPU and its compute capability."""
    return f"emulated GPU, compute capability {capability() // 10}.{capability() % 10}"


def capability() -> int:
    """90 for 9.0."""
    return int(device().settings.capability)


def memory() -> int:
    """Bytes of the GPU."""
    return int(device().settings.memory)


def is_capturing(stream: int) -> bool:
    """Whether a stream is captured into a graph.

    Raises:
        ValueError: it is no stream.
    """
    status = ctypes.c_int()
    error = device().library.cudaStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(status))
    if error:
        raise ValueError(f"{stream:#x} is no CUDA stream: {device().message}")
    return status.value == _CAPTURING


def synchronize(stream: int) -> str | None:
    """Wait for a stream; what CUDA says against it, or None."""
    error = device().library.cudaStreamSynchronize(ctypes.c_void_p(stream))
    return f"Cuda failure {error}: {device().message}" if error else None


def is_device_memory(address: int, size: int) -> bool:
    """Whether bytes lie in one allocation of the device."""
    return bool(device().library.emulated_is_inside(ctypes.c_void_p(address), ctypes.c_size_t(size)))


def read(address: int, size: int) -> bytes:
    """Bytes at an address; for functions on a stream, and for host memory."""
    return ctypes.string_at(address, size) if size else b""


def write(address: int, content: bytes) -> None:
    """Bytes to an address of the device; for functions on a stream."""
    ctypes.memmove(address, content, len(content))
    device().library.emulated_mark_written(ctypes.c_void_p(address), ctypes.c_size_t(len(content)))


def fault(why: str) -> int:
    """What a kernel that fails does: every later call fails too. Returns CUDA's error."""
    return int(device().library.emulated_fault(_LAUNCH_FAILURE, why.encode()))


def allocate(size: int) -> int:
    """Memory of the device.

    Raises:
        MemoryError: there is not enough.
    """
    address = ctypes.c_void_p()
    if device().library.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(size)):
        raise MemoryError(f"cudaMalloc of {size} bytes: {device().message}")
    return address.value or 0


def free(address: int) -> None:
    """Give it back."""
    found = installed()
    if found is not None and address:
        found.library.cudaFree(ctypes.c_void_p(address))


def record(event: int, stream: int) -> None:
    """Record an event on a stream."""
    device().library.cudaEventRecord(ctypes.c_void_p(event), ctypes.c_void_p(stream))


def fork(stream: int, others: Sequence[int]) -> None:
    """Have other streams wait for what is on a stream."""
    for other in others:
        _follow(other, stream)


def join(stream: int, others: Sequence[int]) -> None:
    """Have a stream wait for what is on other streams."""
    for other in others:
        _follow(stream, other)


def _follow(stream: int, leader: int) -> None:
    library, event = device().library, ctypes.c_void_p()
    library.cudaEventCreate(ctypes.byref(event))
    library.cudaEventRecord(event, ctypes.c_void_p(leader))
    library.cudaStreamWaitEvent(ctypes.c_void_p(stream), event, 0)
    library.cudaEventDestroy(event)


def enqueue(stream: int, function: Callable[[], None]) -> str | None:
    """Call a function when a stream comes to it, in a graph each time it is launched; what CUDA says against it, or None.

    What it raises becomes a fault of the device, whose message has the traceback.
    """
    captured = is_capturing(stream)
    number = next(_numbers)
    _functions[number] = (function, not captured)
    error = device().library.emulated_call(ctypes.c_void_p(stream), _dispatch, ctypes.c_uint64(number))
    if error:
        _functions.pop(number, None)
        return f"Cuda failure {error}: {device().message}"
    return None


def _call(number: int) -> int:
    function, once = _functions[number]
    if once:
        del _functions[number]
    try:
        function()
    except Exception:
        return fault(traceback.format_exc())
    return 0


_dispatch: Any = _FUNCTION(_call)
