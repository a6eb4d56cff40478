"""Devices, by the numbers and names that onnxruntime gives them, and which provider has the memory of each."""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import SupportsIndex, SupportsInt

from onnxgpu.discovery import providers
from onnxgpu.host_provider import HostProvider
from onnxgpu.provider import HOST, DeviceMemory, Provider

Number = SupportsInt | SupportsIndex


class OrtDeviceVendorId(IntEnum):
    """PCI vendor of a device."""

    NONE = 0x0000
    AMD = 0x1002
    NVIDIA = 0x10DE
    ARM = 0x13B5
    MICROSOFT = 0x1414
    HUAWEI = 0x19E5
    QUALCOMM = 0x5143
    INTEL = 0x8086


CPU, GPU, FPGA, NPU, DML = 0, 1, 2, 3, 4
DEFAULT_MEMORY, HOST_ACCESSIBLE_MEMORY = 0, 5

_ALIASES: dict[str, tuple[int, int]] = {
    "cuda": (GPU, OrtDeviceVendorId.NVIDIA),
    "cann": (NPU, OrtDeviceVendorId.HUAWEI),
    "cpu": (CPU, OrtDeviceVendorId.NONE),
    "dml": (DML, OrtDeviceVendorId.MICROSOFT),
    "webgpu": (GPU, OrtDeviceVendorId.NONE),
    "gpu": (GPU, OrtDeviceVendorId.NONE),
    "npu": (NPU, OrtDeviceVendorId.NONE),
}


class Device:
    """A device and a kind of its memory, as numbers: `OrtDevice` of onnxruntime's `capi` layer.

    Args:
        numbers: device type, memory type, vendor (may be left out), device id.
    """

    __slots__ = ("_device_id", "_device_type", "_mem_type", "_vendor_id")

    def __init__(self, *numbers: Number) -> None:
        if len(numbers) not in (3, 4) or not all(hasattr(number, "__index__") for number in numbers):
            raise TypeError(
                "__init__(): incompatible constructor arguments. An OrtDevice takes device type, memory type, vendor id (may be left "
                f"out) and device id, all integers. Invoked with: {', '.join(map(repr, numbers))}"
            )
        kind, memory, *vendor, index = (int(number) for number in numbers)
        if kind == DML:  # a GPU that is reached through DirectML
            kind, vendor = GPU, [int(OrtDeviceVendorId.MICROSOFT)]
        self._device_type, self._mem_type, self._device_id = kind, memory, index
        self._vendor_id = vendor[0] if vendor else 0

    def device_id(self) -> int:
        """Which of several devices."""
        return self._device_id

    def device_type(self) -> int:
        """One of the numbers that `cpu()`, `gpu()`, … give."""
        return self._device_type

    def vendor_id(self) -> int:
        """PCI vendor, 0 where none was given."""
        return self._vendor_id

    def mem_type(self) -> int:
        """0: the device's own memory; 5: memory that the host can read, too."""
        return self._mem_type

    @staticmethod
    def cpu() -> int:
        """Device type of the host."""
        return CPU

    @staticmethod
    def cuda() -> int:
        """Device type of GPUs."""
        return GPU

    @staticmethod
    def gpu() -> int:
        """Device type of GPUs."""
        return GPU

    @staticmethod
    def webgpu() -> int:
        """Device type of GPUs."""
        return GPU

    @staticmethod
    def fpga() -> int:
        """Device type of FPGAs."""
        return FPGA

    @staticmethod
    def npu() -> int:
        """Device type of NPUs."""
        return NPU

    @staticmethod
    def cann() -> int:
        """Device type of NPUs."""
        return NPU

    @staticmethod
    def dml() -> int:
        """Device type of DirectML."""
        return DML

    @staticmethod
    def default_memory() -> int:
        """Memory type of a device's own memory."""
        return DEFAULT_MEMORY


class OrtDevice:
    """A device.

    Args:
        c_ort_device: the device as numbers; `make` finds them by name.

    Raises:
        ValueError: it is no such object.
    """

    def __init__(self, c_ort_device: Device) -> None:
        if not isinstance(c_ort_device, Device):
            raise ValueError("`Provided object` needs to be of type `onnxgpu.capi.onnxruntime_pybind11_state.OrtDevice`")
        self._ort_device = c_ort_device

    def _get_c_device(self) -> Device:
        return self._ort_device

    @staticmethod
    def make(ort_device_name: str, device_id: int, vendor_id: int | OrtDeviceVendorId = -1) -> OrtDevice:
        """The device with this name.

        Args:
            ort_device_name: `cpu`, `cuda`, `gpu`, `npu`, … or the name of a provider's memory.
            device_id: which of several.
            vendor_id: PCI vendor; -1: the one that belongs to the name.

        Raises:
            Exception: no device has this name.
        """
        kind, vendor = _numbers_of(ort_device_name)
        return OrtDevice(Device(kind, DEFAULT_MEMORY, vendor if vendor_id < 0 else int(vendor_id), device_id))

    def device_id(self) -> int:
        """Which of several devices."""
        return self._ort_device.device_id()

    def device_type(self) -> int:
        """0 for the host, 1 for GPUs, 2 for FPGAs, 3 for NPUs."""
        return self._ort_device.device_type()

    def device_vendor_id(self) -> int:
        """PCI vendor, 0 where none was given."""
        return self._ort_device.vendor_id()

    def device_mem_type(self) -> int:
        """0: the device's own memory; 5: memory that the host can read, too."""
        return self._ort_device.mem_type()


def _numbers_of(name: str) -> tuple[int, int]:
    if name in _ALIASES:
        return _ALIASES[name]
    memories = {memory.name.lower(): memory for memory in (cls.memory for cls in providers().values()) if memory is not None}
    if name not in memories:
        known = ", ".join((*_ALIASES, *(other for other in memories if other not in _ALIASES)))
        # onnxruntime raises a bare Exception here, and programs may rely on its being no subclass
        raise Exception(f"Unsupported device type: {name} (known: {known})")
    return memories[name].device_type, memories[name].vendor_id


def get_ort_device_type(device_type: str) -> int:
    """The number of a kind of device: `cpu`, `cuda`, `gpu`, …

    Raises:
        Exception: there is no such kind.
    """
    return _numbers_of(device_type)[0]


def get_vendor_id_for_device_type(device_type: str) -> OrtDeviceVendorId | None:
    """The vendor that a name of a device stands for; None if it stands for none."""
    vendors = {
        "cuda": OrtDeviceVendorId.NVIDIA,
        "dml": OrtDeviceVendorId.MICROSOFT,
        "cann": OrtDeviceVendorId.HUAWEI,
        "webgpu": OrtDeviceVendorId.NONE,
    }
    return vendors.get(device_type)


HOST_MEMORY = HostProvider()
"""The provider through which the values that no session made reach host memory."""


def memory_of(device: Device) -> Provider:
    """The provider through which memory of `device` is allocated and copied.

    Raises:
        RuntimeError: no provider that is available here has memory of this kind.
    """
    if device.device_type() == CPU or device.mem_type() == HOST_ACCESSIBLE_MEMORY:
        return HOST_MEMORY
    candidates = [
        cls
        for cls in providers().values()
        if cls.memory is not None and cls.memory.device_type == device.device_type() and device.vendor_id() in (0, cls.memory.vendor_id)
    ]
    reasons = {cls.name: cls.unavailable() for cls in candidates}
    usable = next((cls for cls in candidates if reasons[cls.name] is None), None)
    if usable is None:
        causes = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "no provider has memory of this kind"
        raise RuntimeError(
            "Can't allocate memory on the device using this package of OnnxRuntime. Please use the appropriate package of OnnxRuntime "
            f"for your hardware to use this feature. ({describe(device)}: {causes})"
        )
    return memory_at(usable.name, device.device_id())


@cache
def memory_at(provider: str, index: int) -> Provider:
    """The instance of the provider with this name, for its device `index`, that all values outside of sessions share."""
    return providers()[provider]({"device_id": index})


def memory_for_dlpack(device_type: int, index: int) -> Provider:
    """The provider that has the memory which DLPack calls by these numbers.

    Raises:
        RuntimeError: none that is available here has.
    """
    if device_type in (1, 3):  # kDLCPU, kDLCUDAHost
        return HOST_MEMORY
    for cls in providers().values():
        if cls.memory is not None and cls.memory.dlpack_type == device_type and cls.unavailable() is None:
            return memory_at(cls.name, index)
    raise RuntimeError(f"DLPack device type {device_type}: no provider that is available here has memory of this kind")


def device_of(memory: Provider) -> Device:
    """The device at which `memory` has its place."""
    named = memory.memory
    if memory.place == HOST or named is None:
        return Device(CPU, DEFAULT_MEMORY, 0, 0)
    return Device(named.device_type, DEFAULT_MEMORY, named.vendor_id, memory.place.index)


def name_of_memory(memory: Provider) -> str:
    """What onnxruntime calls the memory: `Cpu`, `Cuda`, …"""
    named: DeviceMemory | None = memory.memory
    return "Cpu" if named is None else named.name


def describe(device: Device) -> str:
    """The numbers of a device, as onnxruntime's messages show them."""
    return (
        f"Device:[DeviceType:{device.device_type()} MemoryType:{device.mem_type()} VendorId:{device.vendor_id()} "
        f"DeviceId:{device.device_id()}]"
    )
