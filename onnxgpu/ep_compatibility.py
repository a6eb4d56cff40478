"""Whether a provider can use a device, or a model that was compiled before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.context_model.marks import COMPATIBILITY, marks_in
from onnxgpu.discovery import providers
from onnxgpu.ep_devices import OrtEpDevice, OrtHardwareDevice, OrtHardwareDeviceType, get_ep_devices
from onnxgpu.errors import InvalidArgument
from onnxgpu.options.enums import NamedInteger
from onnxgpu.provider import Provider
from onnxgpu.segment_provider import SegmentProvider


class OrtCompiledModelCompatibility(NamedInteger):
    """Whether a compiled model fits."""

    EP_NOT_APPLICABLE = 0
    EP_SUPPORTED_OPTIMAL = 1
    EP_SUPPORTED_PREFER_RECOMPILATION = 2
    EP_UNSUPPORTED = 3


class OrtDeviceEpIncompatibilityReason(NamedInteger):
    """Why a provider cannot use a device; bits."""

    NONE = 0
    DRIVER_INCOMPATIBLE = 1
    DEVICE_INCOMPATIBLE = 2
    MISSING_DEPENDENCY = 4
    UNKNOWN = -2147483648


def get_hardware_devices() -> list[OrtHardwareDevice]:
    """The devices of this machine that a provider can use."""
    return list({device.device.type: device.device for device in get_ep_devices()}.values())


def get_hardware_device_ep_incompatibility_details(arg0: str, arg1: OrtHardwareDevice) -> dict[str, Any]:
    """Why the provider `arg0` cannot use the device `arg1`: `reasons_bitmask` (0: it can), `notes` (in words), `error_code`.

    Raises:
        InvalidArgument: there is no such provider.
    """
    provider = providers().get(arg0)
    if provider is None:
        raise InvalidArgument(f"No valid factory found for execution provider '{arg0}'.")
    cause = provider.unavailable()
    reason, notes = OrtDeviceEpIncompatibilityReason.NONE, None
    if cause is not None:
        reason, notes = OrtDeviceEpIncompatibilityReason.MISSING_DEPENDENCY, cause
    elif (arg1.type == OrtHardwareDeviceType.CPU) != (provider.memory is None):
        reason, notes = OrtDeviceEpIncompatibilityReason.DEVICE_INCOMPATIBLE, f"{arg0} does not run on a {arg1.type}"
    return {"reasons_bitmask": int(reason), "notes": notes, "error_code": 0}


def get_model_compatibility_for_ep_devices(arg0: Sequence[OrtEpDevice], arg1: str) -> OrtCompiledModelCompatibility:
    """Whether engines of which a model's metadata say `arg1` run on all of these devices.

    Args:
        arg0: devices, at least one.
        arg1: what `get_compatibility_info_from_model` gave.

    Returns:
        `EP_SUPPORTED_OPTIMAL`, `EP_UNSUPPORTED`, or `EP_NOT_APPLICABLE`: the text is not ours, or a provider has no engines.

    Raises:
        RuntimeError: there is no device.
    """
    if not arg0 or not all(isinstance(device, OrtEpDevice) for device in arg0):
        raise RuntimeError("Invalid argument provided to GetModelCompatibilityForEpDevices.")
    told = marks_in(arg1)
    classes = [providers()[device.ep_name] for device in arg0]
    if told is None or not all(issubclass(provider, SegmentProvider) for provider in classes):
        return OrtCompiledModelCompatibility.EP_NOT_APPLICABLE
    fit = all(_runs(provider, told) for provider in classes)
    return OrtCompiledModelCompatibility.EP_SUPPORTED_OPTIMAL if fit else OrtCompiledModelCompatibility.EP_UNSUPPORTED


def _runs(provider: type[Provider], told: tuple[str, str]) -> bool:
    if provider.unavailable() is not None:
        return False
    made = provider()
    return isinstance(made, SegmentProvider) and made.misfit(*told) is None


def get_compatibility_info_from_model(arg0: str, arg1: str) -> str | None:
    """What a compiled model's metadata says of the provider `arg1`; None if it says nothing.

    Args:
        arg0: the model's path.
        arg1: a provider.

    Raises:
        OnnxGpuError: the model cannot be read.
    """
    return _compatibility_info(arg0, arg1)


def get_compatibility_info_from_model_bytes(arg0: bytes, arg1: str) -> str | None:
    """As `get_compatibility_info_from_model`, for the bytes of a model."""
    return _compatibility_info(bytes(arg0), arg1)


def _compatibility_info(source: str | bytes, provider: str) -> str | None:
    from onnxgpu.loading import metadata_of
    from onnxgpu.options import SessionOptions

    return metadata_of(source, SessionOptions()).custom_metadata_map.get(f"{COMPATIBILITY}{provider}")
