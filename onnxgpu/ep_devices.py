"""The devices of this machine as a program sees them that chooses providers by device."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnxgpu.discovery import providers
from onnxgpu.errors import Fail
from onnxgpu.options.enums import NamedInteger
from onnxgpu.release import __version__

if TYPE_CHECKING:
    from onnxgpu.memory_info import OrtDeviceMemoryType, OrtMemoryInfo, OrtSyncStream
    from onnxgpu.metadata import ModelMetadata

MOST_SELECTIONS = 8
"""How many devices a delegate may choose, as in onnxruntime."""


class OrtHardwareDeviceType(NamedInteger):
    """What kind of device it is."""

    CPU = 0
    GPU = 1
    NPU = 2


@dataclass(frozen=True, slots=True)
class OrtHardwareDevice:
    """A processor of this machine."""

    type: OrtHardwareDeviceType
    vendor: str = ""
    vendor_id: int = 0
    device_id: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrtEpDevice:
    """A device together with a provider that runs on it.

    Attributes:
        ep_name: the provider.
        ep_vendor: who makes the provider.
        ep_metadata: of the provider; has its version.
        ep_options: options that make the provider use this device.
        device: the device.
    """

    ep_name: str
    ep_vendor: str
    ep_metadata: Mapping[str, str]
    ep_options: Mapping[str, str]
    device: OrtHardwareDevice

    def memory_info(self, arg0: OrtDeviceMemoryType) -> OrtMemoryInfo | None:
        """The memory of the device; None for the host, and for memory that the host can read, of which no provider has its own.

        Args:
            arg0: the device's own memory, or such that the host can read.

        Raises:
            TypeError: it is something else.
        """
        from onnxgpu.devices import memory_at
        from onnxgpu.memory_info import OrtDeviceMemoryType, memory_info_of

        if not isinstance(arg0, OrtDeviceMemoryType):
            raise TypeError(f"memory_info(): incompatible function arguments. It takes an OrtDeviceMemoryType, got {arg0!r}")
        if arg0 != OrtDeviceMemoryType.DEFAULT or providers()[self.ep_name].memory is None:
            return None
        return memory_info_of(memory_at(self.ep_name, self.device.device_id))

    def create_sync_stream(self) -> OrtSyncStream:
        """Refuse: a session orders its work itself, and lends no queue.

        Raises:
            RuntimeError: always.
        """
        if providers()[self.ep_name].memory is None:
            raise RuntimeError("ep_device does not use DEFAULT memory of a non-CPU device.")
        raise RuntimeError(f"{self.ep_name} has no queue of its own to lend; wait with IOBinding.synchronize_outputs() instead")


def get_ep_devices() -> list[OrtEpDevice]:
    """A device for each provider that is available here, in order of preference."""
    return [
        OrtEpDevice(name, "onnxgpu", {"version": __version__}, {}, _device(is_host=provider.memory is None))
        for name, provider in providers().items()
        if provider.listed and not provider.last_resort and provider.unavailable() is None
    ]


def _device(*, is_host: bool) -> OrtHardwareDevice:
    kind = OrtHardwareDeviceType.CPU if is_host else OrtHardwareDeviceType.GPU
    return OrtHardwareDevice(kind, platform.machine() if is_host else "")


def chosen_by(delegate: Callable[..., Any], metadata: ModelMetadata) -> Sequence[tuple[str, Mapping[str, str]]]:
    """The providers of the devices that a selection delegate chooses for a model.

    Raises:
        Fail: it raises, gives something else than devices, or chooses nothing.
    """
    model = {
        "doc_string": metadata.description,
        "domain": metadata.domain,
        "graph_description": metadata.graph_description,
        "graph_name": metadata.graph_name,
        "model_version": str(metadata.version),
        "producer_name": metadata.producer_name,
        **metadata.custom_metadata_map,
    }
    try:
        chosen = list(delegate(get_ep_devices(), model, {}, MOST_SELECTIONS))
    except Exception as error:
        raise Fail(f"EP selection delegate failed: {type(error).__name__}: {error}") from error
    if not chosen:
        raise Fail("EP selection delegate did not select anything.")
    if not all(isinstance(device, OrtEpDevice) for device in chosen):
        raise Fail(f"EP selection delegate failed: it has to give a list of OrtEpDevice, got {chosen!r}")
    return [(device.ep_name, device.ep_options) for device in chosen]
