"""CuPy's exceptions as onnxgpu's own errors: what failed, where, and what to do."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from typing import Any

from onnxgpu.errors import DeviceReset, EPFail, InvalidArgument, NotImplemented, OnnxGpuError, OutOfMemory, RuntimeException

_POISONED = (
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorMisalignedAddress",
    "cudaErrorIllegalInstruction",
    "cudaErrorInvalidAddressSpace",
    "cudaErrorInvalidPc",
    "cudaErrorAssert",
    "cudaErrorHardwareStackError",
    "cudaErrorECCUncorrectable",
    "cudaErrorLaunchTimeout",
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_MISALIGNED_ADDRESS",
    "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "an illegal memory access was encountered",
    "unspecified launch failure",
    "misaligned address",
    "an illegal instruction was encountered",
)
"""Names of CuPy's and texts of PyCUDA's errors after which CUDA refuses everything in this process."""

_NO_IMAGE = (
    "CUDA_ERROR_NO_BINARY_FOR_GPU",
    "cudaErrorNoKernelImageForDevice",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    "cudaErrorUnsupportedPtxVersion",
)
_OLD_DRIVER = ("cudaErrorInsufficientDriver", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "cudaErrorSystemDriverMismatch")
_LAUNCHES_KEPT = 8

launched: deque[str] = deque(maxlen=_LAUNCHES_KEPT)
"""The nodes that were launched last, on any device: an error of the device is told later, by another call."""


def translated(error: Exception, what: str, module: Any, memory: Callable[[], object] | None = None) -> OnnxGpuError:
    """`error` with what was being done, and what to do about it.

    Args:
        error: what CuPy raised.
        what: the operation or copy.
        module: `cupy`.
        memory: what there is of the device's memory, in words.
    """
    if isinstance(error, module.cuda.compiler.CompileException):
        return EPFail(f"{what}: a kernel could not be compiled for this device. {_listing(error)}")
    is_of_memory = isinstance(error, module.cuda.memory.OutOfMemoryError) or "cudaErrorMemoryAllocation" in str(error)
    return told(error, what, is_of_memory=is_of_memory, memory=memory)


def told(error: Exception, what: str, *, is_of_memory: bool, memory: Callable[[], object] | None = None) -> OnnxGpuError:
    """As `translated`, of any library.

    Args:
        error: what it raised.
        what: the operation or copy.
        is_of_memory: the device's memory does not suffice.
        memory: what there is of it, in words.
    """
    if isinstance(error, OnnxGpuError):
        return error
    text = f"{what}: {type(error).__name__}: {error}"
    if is_of_memory:
        advice = "free some, use a smaller batch, or raise gpu_mem_limit"
        return OutOfMemory(f"{text}. The device's memory does not suffice: {_state(memory)}{advice}")
    if any(name in str(error) for name in _POISONED):
        nodes = ", ".join(dict.fromkeys(launched)) or "none of a session"
        return DeviceReset(
            f"{text}. A kernel faulted, and the device is of no more use to this process: start a new one. The nodes launched last were "
            f"{nodes}; with CUDA_LAUNCH_BLOCKING=1 and the option enable_cuda_graph=0, the error is raised at the node that causes it"
        )
    if any(name in str(error) for name in _NO_IMAGE):
        return EPFail(f"{text}. The installed CuPy has no code for this GPU: install the release for its CUDA version")
    if any(name in str(error) for name in _OLD_DRIVER):
        return EPFail(f"{text}. The driver is older than the CUDA version of the installed CuPy: update it, or install the CuPy for it")
    if isinstance(error, ImportError) or "DynamicLibNotFound" in type(error).__name__:
        return EPFail(f"{text}. A library of CUDA is missing: `onnxgpu doctor` lists what was found; pip install onnxgpu-gpu")
    if isinstance(error, (ValueError, IndexError)):
        return InvalidArgument(text)
    if isinstance(error, NotImplementedError):
        return NotImplemented(text)
    return RuntimeException(text)


def _state(memory: Callable[[], object] | None) -> str:
    """What there is of the device's memory, if it can still be asked."""
    try:
        return "" if memory is None else f"there are {memory()}; "
    except Exception:
        return ""


def _listing(error: Any) -> str:
    """The compiler's log, options and numbered source."""
    text = io.StringIO()
    error.dump(text)
    return text.getvalue()
