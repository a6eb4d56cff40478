"""CuPy's exceptions as onnxgpu's own errors."""

from __future__ import annotations

from typing import Any

from onnxgpu.errors import DeviceReset, EPFail, InvalidArgument, NotImplemented, OnnxGpuError, OutOfMemory, RuntimeException

_POISONED = (
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "cudaErrorMisalignedAddress",
)
_NO_IMAGE = ("CUDA_ERROR_NO_BINARY_FOR_GPU", "cudaErrorNoKernelImageForDevice")


def translated(error: Exception, what: str, module: Any) -> OnnxGpuError:
    """`error` with what was being done, and what to do about it.

    Args:
        error: what CuPy raised.
        what: the operation or copy.
        module: `cupy`.
    """
    if isinstance(error, OnnxGpuError):
        return error
    text = f"{what}: {type(error).__name__}: {error}"
    if isinstance(error, module.cuda.memory.OutOfMemoryError):
        return OutOfMemory(f"{text}. The device's memory does not suffice: free it, use a smaller batch, or raise gpu_mem_limit")
    if isinstance(error, module.cuda.compiler.CompileException):
        return EPFail(f"{what}: a kernel could not be compiled for this device:\n{error}")
    if any(name in str(error) for name in _POISONED):
        return DeviceReset(f"{text}. The device is of no more use to this process: start a new one")
    if any(name in str(error) for name in _NO_IMAGE):
        return EPFail(f"{text}. The installed CuPy has no code for this GPU: install the release for its CUDA version")
    if isinstance(error, (ValueError, IndexError)):
        return InvalidArgument(text)
    if isinstance(error, NotImplementedError):
        return NotImplemented(text)
    return RuntimeException(text)
