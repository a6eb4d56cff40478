"""CPUExecutionProvider: runs on the host with NumPy; always available."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import ClassVar

import numpy as np

from onnxgpu.host_provider import HostProvider
from onnxgpu.provider import Claim, Operation, Refusal
from onnxgpu.providers import cpu
from onnxgpu.providers.cpu.registry import REGISTRY

for _module in iter_modules(cpu.__path__):
    if _module.name != "provider":
        import_module(f"{cpu.__name__}.{_module.name}")


class CPUProvider(HostProvider):
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


PROVIDER = CPUProvider
