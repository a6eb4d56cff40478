"""Every error onnxgpu raises on purpose, as one tree.

    OnnxGpuError
    ├── Fail                     code 1    something went wrong that no other class names
    ├── InvalidArgument          code 2    an input, name or option given by the caller is wrong
    ├── NoSuchFile               code 3    a model or its external data is not where it was said to be
    ├── NoModel                  code 4    there is no model to run
    ├── EngineError              code 5    a compiled engine could not be built or run
    ├── RuntimeException         code 6    an operator failed while the model ran
    ├── InvalidProtobuf          code 7    the bytes are not an ONNX model
    ├── ModelLoaded              code 8    the model was already loaded
    ├── NotImplemented           code 9    no provider implements this
    ├── InvalidGraph             code 10   the model is an ONNX file, but not a valid graph
    ├── EPFail                   code 11   an execution provider could not be started
    ├── ModelLoadCanceled        code 12
    ├── ModelRequiresCompilation code 13
    ├── NotFound                 code 14
    ├── DeviceReset              code 15   a device was reset while a session used it
    └── OutOfMemory              code 6    device or host memory does not suffice

The class names, codes and the text in front of the message are onnxruntime's, so that a program's `except` clauses and
log filters keep working.
"""

from __future__ import annotations

from typing import ClassVar


class OnnxGpuError(Exception):
    """Base of every error that onnxgpu raises on purpose.

    Args:
        message: what was found wrong, where, what was expected, what came, and what to do.
    """

    code: ClassVar[int] = 1
    label: ClassVar[str] = "FAIL"

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)

    def __str__(self) -> str:
        return f"[ONNXRuntimeError] : {self.code} : {self.label} : {self.message}"

    def within(self, where: str) -> OnnxGpuError:
        """The same error with `where` put in front of its message (context is added while unwinding)."""
        return type(self)(f"{where}: {self.message}")


class Fail(OnnxGpuError):
    """Something went wrong that no other class names."""


class InvalidArgument(OnnxGpuError):
    """An input, a name or an option given by the caller is wrong."""

    code, label = 2, "INVALID_ARGUMENT"


class NoSuchFile(OnnxGpuError):
    """A model, or external data that it names, is not there."""

    code, label = 3, "NO_SUCHFILE"


class NoModel(OnnxGpuError):
    """There is no model to run."""

    code, label = 4, "NO_MODEL"


class EngineError(OnnxGpuError):
    """A compiled engine could not be built or run."""

    code, label = 5, "ENGINE_ERROR"


class RuntimeException(OnnxGpuError):
    """An operator failed while the model ran."""

    code, label = 6, "RUNTIME_EXCEPTION"


class OutOfMemory(RuntimeException):
    """Device or host memory does not suffice."""


class InvalidProtobuf(OnnxGpuError):
    """The bytes are not an ONNX model."""

    code, label = 7, "INVALID_PROTOBUF"


class ModelLoaded(OnnxGpuError):
    """The model was already loaded."""

    code, label = 8, "MODEL_LOADED"


class NotImplemented(OnnxGpuError):
    """No provider in use implements an operator, a type or an option of the model."""

    code, label = 9, "NOT_IMPLEMENTED"


class InvalidGraph(OnnxGpuError):
    """The model is an ONNX file, but its graph breaks a rule of ONNX."""

    code, label = 10, "INVALID_GRAPH"


class EPFail(OnnxGpuError):
    """An execution provider could not be started or failed."""

    code, label = 11, "EP_FAIL"


class ModelLoadCanceled(OnnxGpuError):
    """Loading the model was cancelled by the caller."""

    code, label = 12, "MODEL_LOAD_CANCELED"


class ModelRequiresCompilation(OnnxGpuError):
    """The model must be compiled first, and compiling on load was forbidden."""

    code, label = 13, "MODEL_REQUIRES_COMPILATION"


class NotFound(OnnxGpuError):
    """A named thing does not exist."""

    code, label = 14, "NOT_FOUND"


class DeviceReset(OnnxGpuError):
    """A device was reset or removed while a session used it."""

    code, label = 15, "DEVICE_RESET"


class ProviderFallbackWarning(UserWarning):
    """A provider the caller asked for is not available here; the next one in the list takes its place."""
