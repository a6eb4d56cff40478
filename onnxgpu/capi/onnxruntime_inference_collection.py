"""What programs import from `onnxruntime.capi.onnxruntime_inference_collection`."""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

from onnxgpu.adapters import AdapterFormat
from onnxgpu.base_session import Session
from onnxgpu.bindings import IOBinding
from onnxgpu.devices import OrtDevice, OrtDeviceVendorId, get_ort_device_type, get_vendor_id_for_device_type
from onnxgpu.model_compiler import LocateInitializer, ModelCompiler
from onnxgpu.ort_value import OrtValue, copy_tensors
from onnxgpu.selection import check_and_normalize_provider_args
from onnxgpu.session import InferenceSession
from onnxgpu.sparse import SparseTensor

GetInitializerLocationFunc = LocateInitializer
GetInitializerLocationWrapperFunc = LocateInitializer

__all__ = [
    "AdapterFormat",
    "Any",
    "Callable",
    "GetInitializerLocationFunc",
    "GetInitializerLocationWrapperFunc",
    "IOBinding",
    "InferenceSession",
    "IntEnum",
    "ModelCompiler",
    "OrtDevice",
    "OrtDeviceVendorId",
    "OrtValue",
    "Sequence",
    "Session",
    "SparseTensor",
    "check_and_normalize_provider_args",
    "copy_tensors",
    "get_ort_device_type",
    "get_vendor_id_for_device_type",
    "make_get_initializer_location_func_wrapper",
]


def make_get_initializer_location_func_wrapper(get_initializer_location_func: LocateInitializer) -> LocateInitializer:
    """The function itself: onnxruntime needs an adapter between Python and its own values, onnxgpu does not."""
    return get_initializer_location_func
