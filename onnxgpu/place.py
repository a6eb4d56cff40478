"""Where tensors live: the host, or a device of some kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a tensor lives: two GPUs are two places."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "host" else f"{self.kind}:{self.index}"


HOST = Place("host")


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """How onnxruntime's API and DLPack name a kind of device memory.

    Attributes:
        name: as `OrtMemoryInfo` has it; in lower case, the name for `OrtDevice.make`.
        device_type: as `OrtDevice` has it: 1 for GPUs, 2 for FPGAs, 3 for NPUs.
        vendor_id: PCI vendor, 0 for none.
        dlpack_type: DLPack's `DLDeviceType`.
    """

    name: str
    device_type: int
    vendor_id: int
    dlpack_type: int
