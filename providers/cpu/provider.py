"""CPUExecutionProvider: runs on the host with NumPy; always available."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar

import numpy as np

from onnxgpu.provider import Array, Claim, Operation, Provider, Refusal, Spec
from onnxgpu.providers import cpu
from onnxgpu.providers.cpu.registry import REGISTRY

for _module in iter_modules(cpu.__path__):
    if _module.name != "provider":
        import_module(f"{cpu.__name__}.{_module.name}")


class CPUProvider(Provider):
    """NumPy on the host."""

    name: ClassVar[str] = "CPUExecutionProvider"
    option_types: ClassVar[Mapping[str, type]] = {"arena_extend_strategy": str, "use_arena": bool}
    preference: ClassVar[int] = 90
    fallback: ClassVar[bool] = True

    def domains(self) -> frozenset[str]:
        """See `onnxgpu.provider.Provider`."""
        return REGISTRY.domains()

    def claim(self, operation: Operation) -> Claim | Refusal:
        """See `onnxgpu.provider.Provider`."""
        return REGISTRY.claim(np, operation)

    def allocate(self, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return np.empty(spec.shape, spec.dtype)

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        view: Any = np.ndarray(spec.shape, spec.dtype, memory, offset)
        return view

    def upload(self, array: np.ndarray) -> Array:
        """The array itself: host memory is where it already is."""
        return array

    def download(self, array: Array) -> np.ndarray:
        """The array itself: host memory is where it already is."""
        result: np.ndarray = array
        return result

    def shares_memory(self, first: Array, second: Array) -> bool:
        """See `onnxgpu.provider.Provider`."""
        return isinstance(first, np.ndarray) and isinstance(second, np.ndarray) and np.may_share_memory(first, second)


PROVIDER = CPUProvider
