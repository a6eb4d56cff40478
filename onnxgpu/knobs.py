"""Every environment variable onnxgpu reads, declared once with its type, default and meaning."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onnxgpu.errors import InvalidArgument


@dataclass(frozen=True)
class Knob:
    """One environment variable; `parse` raises ValueError for a value it does not take."""

    name: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str

    def __call__(self) -> Any:
        """The value now.

        Raises:
            InvalidArgument: the variable holds something `parse` refuses.
        """
        text = os.environ.get(self.name)
        if text is None or text == "":
            return self.default
        try:
            return self.parse(text)
        except ValueError as error:
            raise InvalidArgument(f"environment variable {self.name}={text!r}: {error}. It is {self.meaning}") from None


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected 0 or 1")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ValueError("expected a number above 0")


def _cuda(text: str) -> str:
    if text.lower() in ("emulated", "device"):
        return text.lower()
    raise ValueError("expected `emulated` or `device`")


def _tensorrt(text: str) -> str:
    if text in ("10.13", "11.4"):
        return text
    raise ValueError("expected `10.13` or `11.4`")


def _cuda_library(text: str) -> str:
    if text.lower() in ("cupy", "pycuda"):
        return text.lower()
    raise ValueError("expected `cupy` or `pycuda`")


STRICT = Knob("ONNXGPU_STRICT", _flag, False, "1 to raise where a requested provider is not available, instead of warning")
PROVIDERS = Knob("ONNXGPU_PROVIDERS", _names, (), "a comma-separated list of providers that overrides what programs name")
PROVIDERS_DISABLED = Knob(
    "ONNXGPU_PROVIDERS_DISABLED", _names, (), "a comma-separated list of providers, or their folders, to leave out, `reference` for one"
)
CHECK = Knob(
    "ONNXGPU_CHECK", _flag, False, "1 to check onnxgpu's own invariants after every stage of making a session (onnxgpu's tests do)"
)
CUDA = Knob("ONNXGPU_CUDA", _cuda, "", "`emulated` to run the CUDA provider on the emulated device, on the host")
EMULATOR = Knob("ONNXGPU_EMULATOR", str, "", "settings of the emulated device: `lazy,checked,schedule=7,devices=2,memory=512`")
CUDA_LIBRARY = Knob(
    "ONNXGPU_CUDA_LIBRARY",
    _cuda_library,
    "",
    "`cupy` or `pycuda`: whose arrays lie on GPUs; PyCUDA's where CuPy is not installed, and then only TensorRT runs there",
)
TENSORRT = Knob(
    "ONNXGPU_TENSORRT",
    _tensorrt,
    "",
    "`10.13` or `11.4` to run the TensorRT provider on a stand-in of that version, on the emulated device",
)
BUILDS = Knob("ONNXGPU_BUILDS", _count, 1, "how many engines this process builds at once; more than 1 disturbs what TensorRT measures")
CACHE = Knob("ONNXGPU_CACHE", str, "", "the folder for what is compiled once and kept, `~/.cache/onnxgpu` for one")

ALL = (STRICT, PROVIDERS, PROVIDERS_DISABLED, CHECK, CUDA, EMULATOR, CUDA_LIBRARY, TENSORRT, BUILDS, CACHE)
