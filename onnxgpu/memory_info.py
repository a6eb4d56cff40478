"""Descriptions of memory and of how it is allocated, with onnxruntime's names."""

from __future__ import annotations

from collections.abc import Mapping

from onnxgpu.devices import CPU, DEFAULT_MEMORY, GPU, HOST_ACCESSIBLE_MEMORY, Device, Number, OrtDeviceVendorId, device_of, name_of_memory
from onnxgpu.discovery import get_available_providers
from onnxgpu.options.enums import NamedInteger
from onnxgpu.provider import Provider


class OrtMemType(NamedInteger):
    """What a kernel's memory is used for."""

    CPU_INPUT = -2
    CPU_OUTPUT = -1
    CPU = -1
    DEFAULT = 0


class OrtAllocatorType(NamedInteger):
    """Whether memory is taken from an arena or from the device."""

    INVALID = -1
    ORT_DEVICE_ALLOCATOR = 0
    ORT_ARENA_ALLOCATOR = 1


class OrtMemoryInfoDeviceType(NamedInteger):
    """Kind of device."""

    CPU = 0
    GPU = 1
    NPU = 3
    FPGA = 2


class OrtDeviceMemoryType(NamedInteger):
    """Whether the host can read the memory of a device."""

    DEFAULT = 0
    HOST_ACCESSIBLE = 5


class ArenaExtendStrategy(NamedInteger):
    """How an arena grows; accepted for compatibility, as arenas are planned."""

    kNextPowerOfTwo = 0
    kSameAsRequested = 1


_NAMED = {
    "Cpu": (CPU, OrtDeviceVendorId.NONE, DEFAULT_MEMORY),
    "Cuda": (GPU, OrtDeviceVendorId.NVIDIA, DEFAULT_MEMORY),
    "CudaPinned": (GPU, OrtDeviceVendorId.NVIDIA, HOST_ACCESSIBLE_MEMORY),
    "DML": (GPU, OrtDeviceVendorId.MICROSOFT, DEFAULT_MEMORY),
    "Hip": (GPU, OrtDeviceVendorId.AMD, DEFAULT_MEMORY),
    "HipPinned": (GPU, OrtDeviceVendorId.AMD, HOST_ACCESSIBLE_MEMORY),
    "OpenVINO_GPU": (GPU, OrtDeviceVendorId.INTEL, DEFAULT_MEMORY),
}


class OrtMemoryInfo:
    """A kind of memory.

    Args:
        arg0: its name: `Cpu`, `Cuda`, `CudaPinned`, …
        arg1: from an arena or from the device.
        arg2: which of several devices.
        arg3: what it is used for.

    Raises:
        RuntimeError: the name is not known; `create_v2` takes any.
    """

    def __init__(self, arg0: str, arg1: OrtAllocatorType, arg2: Number, arg3: OrtMemType) -> None:
        if arg0 not in _NAMED:
            raise RuntimeError(f"Specified device is not supported. Try CreateMemoryInfo_V2. ({arg0!r}; known: {', '.join(_NAMED)})")
        kind, vendor, memory = _NAMED[arg0]
        self._fill(arg0, OrtAllocatorType(arg1), OrtMemType(arg3), Device(kind, memory, vendor, 0 if kind == CPU else arg2))

    def _fill(self, name: str, allocator: OrtAllocatorType, memory: OrtMemType, device: Device) -> None:
        self._name, self._allocator_type, self._mem_type, self._device = name, allocator, memory, device

    @staticmethod
    def create_v2(
        arg0: str,
        arg1: OrtMemoryInfoDeviceType,
        arg2: Number,
        arg3: Number,
        arg4: OrtDeviceMemoryType,
        arg5: Number,
        arg6: OrtAllocatorType,
    ) -> OrtMemoryInfo:
        """A kind of memory by its numbers.

        Args:
            arg0: any name.
            arg1: kind of device.
            arg2: PCI vendor.
            arg3: which of several devices.
            arg4: whether the host can read it.
            arg5: alignment in bytes; memory is aligned as the device needs it, whatever is said here.
            arg6: from an arena or from the device.
        """
        info = OrtMemoryInfo.__new__(OrtMemoryInfo)
        memory = OrtMemType.CPU if arg4 == OrtDeviceMemoryType.HOST_ACCESSIBLE else OrtMemType.DEFAULT
        info._fill(arg0, OrtAllocatorType(arg6), memory, Device(arg1, arg4, arg2, arg3))
        return info

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def allocator_type(self) -> OrtAllocatorType:
        """From an arena or from the device."""
        return self._allocator_type

    @property
    def device_id(self) -> int:
        """Which of several devices."""
        return self._device.device_id()

    @property
    def device_mem_type(self) -> OrtDeviceMemoryType:
        """Whether the host can read it."""
        return OrtDeviceMemoryType(self._device.mem_type())

    @property
    def device_vendor_id(self) -> int:
        """PCI vendor."""
        return self._device.vendor_id()

    @property
    def mem_type(self) -> OrtMemType:
        """What it is used for."""
        return self._mem_type

    @property
    def device(self) -> Device:
        """The device, as numbers."""
        return self._device


def memory_info_of(memory: Provider) -> OrtMemoryInfo:
    """The memory at a provider's place."""
    info = OrtMemoryInfo.__new__(OrtMemoryInfo)
    info._fill(name_of_memory(memory), OrtAllocatorType.ORT_ARENA_ALLOCATOR, OrtMemType.DEFAULT, device_of(memory))
    return info


_ARENA_FIELDS = ("max_mem", "arena_extend_strategy", "initial_chunk_size_bytes", "max_dead_bytes_per_chunk")


class OrtArenaCfg:
    """Settings of an arena; accepted for compatibility, as onnxgpu plans its arenas for each set of shapes.

    Args:
        settings: a dict, or the first four fields, as integers of 0 and more.

    Raises:
        RuntimeError: the dict has a key that is no field.
    """

    __slots__ = (*_ARENA_FIELDS, "initial_growth_chunk_size_bytes", "max_power_of_two_extend_bytes")

    max_mem: int
    arena_extend_strategy: int
    initial_chunk_size_bytes: int
    max_dead_bytes_per_chunk: int
    initial_growth_chunk_size_bytes: int
    max_power_of_two_extend_bytes: int

    def __init__(self, *settings: Number | Mapping[str, Number]) -> None:
        for name in self.__slots__:
            setattr(self, name, 0 if name == "max_mem" else -1)
        if len(settings) == 1 and isinstance(settings[0], Mapping):
            chosen: Mapping[str, object] = settings[0]
        elif len(settings) == len(_ARENA_FIELDS):
            chosen = dict(zip(_ARENA_FIELDS, settings, strict=True))
        else:
            raise TypeError(f"__init__(): incompatible constructor arguments. An OrtArenaCfg takes a dict or {', '.join(_ARENA_FIELDS)}")
        for name, value in chosen.items():
            if name not in self.__slots__:
                raise RuntimeError(f"Invalid OrtArenaCfg option: {name} (known: {', '.join(self.__slots__)})")
            if not hasattr(value, "__index__"):
                raise TypeError(f"OrtArenaCfg.{name} wants an integer, got {type(value).__name__} {value!r}")
            setattr(self, name, int(value))


def create_and_register_allocator(arg0: OrtMemoryInfo, arg1: OrtArenaCfg | None) -> None:
    """Accepted for compatibility: sessions plan their arenas, and share none.

    Args:
        arg0: host memory.
        arg1: settings.

    Raises:
        TypeError: one of the two is something else.
        RuntimeError: the memory is not the host's.
    """
    _check_registration("create_and_register_allocator()", arg0, arg1)
    if arg0.device.device_type() != CPU:
        begin = "Error when creating and registering allocator: Only CPU devices are supported."
        raise RuntimeError(f"{begin} Please call CreateAndRegisterAllocatorV2() for other device.")


def create_and_register_allocator_v2(arg0: str, arg1: OrtMemoryInfo, arg2: Mapping[str, str], arg3: OrtArenaCfg | None) -> None:
    """Accepted for compatibility: sessions plan their arenas, and share none.

    Args:
        arg0: a provider that is available.
        arg1: memory.
        arg2: options of the provider.
        arg3: settings.

    Raises:
        TypeError: one of them is something else.
        RuntimeError: the provider is not available.
    """
    _check_registration("create_and_register_allocator_v2()", arg1, arg3)
    if arg0 not in get_available_providers():
        begin = "Error when creating and registering allocator in create_and_register_allocator_v2:"
        raise RuntimeError(f"{begin} {arg0} is not implemented in CreateAndRegisterAllocatorV2()")


def _check_registration(caller: str, memory: OrtMemoryInfo, settings: OrtArenaCfg | None) -> None:
    if not isinstance(memory, OrtMemoryInfo) or not (settings is None or isinstance(settings, OrtArenaCfg)):
        got = f"{type(memory).__name__} and {type(settings).__name__}"
        raise TypeError(f"{caller}: incompatible function arguments. It takes an OrtMemoryInfo and an OrtArenaCfg, got {got}")


class OrtSyncStream:
    """A queue of a device; a provider that has queues makes it, programs do not.

    Raises:
        TypeError: always, when it is called.
    """

    _handle: int

    def __init__(self) -> None:
        raise TypeError("onnxgpu.capi.onnxruntime_pybind11_state.OrtSyncStream: No constructor defined!")

    def get_handle(self) -> int:
        """The queue's address, for `SessionOptions` and provider options that take one."""
        return self._handle
