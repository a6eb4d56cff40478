"""Base of the providers whose tensors lie on an NVIDIA GPU; those of a session that work on the same one share its streams and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from onnxgpu.libraries import Library, python_package
from onnxgpu.provider import Array, DeviceMemory, Place, Provider, Spec, Work
from onnxgpu.providers.cuda import device
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.cuda.libraries import found
from onnxgpu.providers.cuda.memory import MemoryStatistics


def cupy_package() -> Library:
    """CuPy, without which no operators run on a GPU."""
    return python_package("cupy", ("cupy-cuda13x", "cupy-cuda12x", "cupy"), remedy=found.remedy())


def pycuda_package(*, needed: bool) -> Library:
    """PyCUDA, which may stand in for CuPy where nothing but TensorRT runs."""
    remedy = 'pip install "onnxgpu[pycuda]", which compiles it with nvcc'
    return python_package("pycuda", ("pycuda",), remedy=remedy, needed=needed)


def arrays_package() -> Library:
    """The package whose arrays lie on the device."""
    return pycuda_package(needed=True) if device.library() == "pycuda" else cupy_package()


def gpu(index: int, options: Mapping[str, Any]) -> Gpu:
    """The GPU of that number, through the library whose arrays lie on it; see `Gpu` for the options."""
    if device.library() == "pycuda":
        from onnxgpu.providers.cuda.pycuda_device import PycudaDevice

        return PycudaDevice(index, options)
    from onnxgpu.providers.cuda.cupy_device import CupyDevice

    return CupyDevice(index, options)


class DeviceProvider(Provider):
    """What is the same for all of them: their tensors are the device's, and so are copies, streams and graphs.

    Attributes:
        device: shared with the session's other providers there.
    """

    memory: ClassVar[DeviceMemory] = DeviceMemory("Cuda", device_type=1, vendor_id=0x10DE, dlpack_type=2)

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._device_options = dict(self.options)
        self.device = gpu(self.place.index, self._device_options)

    def join(self, others: Sequence[Provider]) -> None:
        """Work on the device of the first of `others` that is on the same GPU; options that it was not given come from here.

        Raises:
            InvalidArgument: this machine has no GPU of that number.
        """
        self.device.check()
        for other in others:
            if isinstance(other, DeviceProvider) and other.place == self.place:
                for name, value in self._device_options.items():
                    other._device_options.setdefault(name, value)
                self.device, self._device_options = other.device, other._device_options
                return

    @property
    def place(self) -> Place:
        """The GPU with the number `device_id`."""
        return Place("cuda", int(self.options.get("device_id", 0)))

    @classmethod
    def option_value(cls, name: str, value: Any) -> Any:
        """A stream may be given as an object with `__cuda_stream__`, which has to live as long as the session."""
        if name == "user_compute_stream" and hasattr(value, "__cuda_stream__"):
            return value.__cuda_stream__()[1]
        return value

    def launching(self) -> AbstractContextManager[None]:
        """See `onnxgpu.provider.Provider`."""
        return self.device.launching()

    def completed(self) -> None:
        """See `onnxgpu.provider.Provider`."""
        self.device.completed()

    @property
    def recorded_with(self) -> object | None:
        """The device: one CUDA graph may have launches of all providers that share it."""
        return self.device

    def recorder(self) -> Callable[[Work], Work | None] | None:
        """See `onnxgpu.provider.Provider`."""
        return self.device.recorder()

    def allocate(self, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return self.device.allocate(spec)

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return self.device.view(memory, offset, spec)

    def upload(self, array: np.ndarray) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return self.device.upload(array)

    def upload_constant(self, array: np.ndarray) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return self.device.upload_constant(array)

    def download(self, array: Array) -> np.ndarray:
        """See `onnxgpu.provider.Provider`."""
        return self.device.download(array)

    def download_later(self, array: Array) -> np.ndarray:
        """See `onnxgpu.provider.Provider`."""
        return self.device.download_later(array)

    def settle(self) -> None:
        """See `onnxgpu.provider.Provider`."""
        self.device.settle()

    def shares_memory(self, first: Array, second: Array) -> bool:
        """See `onnxgpu.provider.Provider`."""
        return self.device.shares_memory(first, second)

    def synchronize(self) -> None:
        """See `onnxgpu.provider.Provider`."""
        self.device.synchronize()

    def copy_into(self, target: Array, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        self.device.copy_into(target, source)

    def reaches(self, other: Provider) -> bool:
        """See `onnxgpu.provider.Provider`."""
        return isinstance(other, DeviceProvider) and self.device.reaches(other.device)

    def copy_across(self, target: Array, source: Array, other: Provider) -> None:
        """See `onnxgpu.provider.Provider`."""
        assert isinstance(other, DeviceProvider)
        self.device.copy_across(target, source, other.device)

    def upload_into(self, target: Array, source: np.ndarray) -> None:
        """See `onnxgpu.provider.Provider`."""
        self.device.upload_into(target, source)

    def download_into(self, target: np.ndarray, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        self.device.download_into(target, source)

    def pointer(self, array: Array) -> int:
        """See `onnxgpu.provider.Provider`."""
        return self.device.pointer(array)

    def index_at(self, pointer: int) -> int:
        """See `onnxgpu.provider.Provider`."""
        return self.device.index_at(pointer)

    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return self.device.wrap(pointer, spec, owner)

    def to_dlpack(self, array: Array) -> object:
        """See `onnxgpu.provider.Provider`."""
        return self.device.to_dlpack(array)

    def memory_available(self) -> int | None:
        """See `onnxgpu.provider.Provider`."""
        return self.device.memory_available()

    def wait_for_stream(self, stream: int) -> None:
        """See `onnxgpu.provider.Provider`."""
        self.device.wait_for_stream(stream)

    def memory_statistics(self) -> MemoryStatistics:
        """Bytes used, held and left where this provider allocates; of CuPy's own pool unless `gpu_mem_limit` is set."""
        return self.device.memory_statistics()
