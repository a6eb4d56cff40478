"""CPUExecutionProvider: runs on the host with NumPy; always available."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pkgutil import iter_modules
from typing import ClassVar

from onnxgpu.host_provider import HostProvider
from onnxgpu.log import logger
from onnxgpu.provider import Claim, Operation, Refusal, RunSettings
from onnxgpu.providers import cpu
from onnxgpu.providers.cpu import threads
from onnxgpu.providers.cpu.array_module import NUMPY
from onnxgpu.providers.cpu.blas import can_limit_threads, limit_threads, restore_threads
from onnxgpu.providers.cpu.denormals import can_flush
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
        return REGISTRY.claim(NUMPY, operation)

    def prepare(self, settings: RunSettings) -> None:
        """See `onnxgpu.provider.Provider`."""
        if settings.threads and not can_limit_threads():
            logger.warning("intra_op_num_threads does not hold for matrix products: NumPy's BLAS here takes no thread count from onnxgpu")
        if settings.flush_denormals and not can_flush():
            logger.warning("session.set_denormal_as_zero has no effect on this machine")

    def running(self, settings: RunSettings) -> AbstractContextManager[None]:
        """Threads of our own and of the BLAS as `settings` wants them."""
        return _Running(settings)


class _Running:
    """A run on one thread; a class of its own because a generator would take longer than a small model."""

    __slots__ = ("_before", "_settings")

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings

    def __enter__(self) -> None:
        self._before = threads.apply(self._settings)
        if self._settings.threads:
            limit_threads()

    def __exit__(self, *_: object) -> None:
        if self._settings.threads:
            restore_threads()
        threads.apply(self._before)


PROVIDER = CPUProvider
