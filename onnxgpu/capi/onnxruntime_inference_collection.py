"""What programs import from `onnxruntime.capi.onnxruntime_inference_collection`."""

from onnxgpu.adapters import AdapterFormat
from onnxgpu.base_session import Session
from onnxgpu.bindings import IOBinding
from onnxgpu.devices import OrtDevice, OrtDeviceVendorId, get_ort_device_type, get_vendor_id_for_device_type
from onnxgpu.model_compiler import ModelCompiler
from onnxgpu.ort_value import OrtValue, copy_tensors
from onnxgpu.selection import check_and_normalize_provider_args
from onnxgpu.session import InferenceSession
from onnxgpu.sparse import SparseTensor

__all__ = [
    "AdapterFormat",
    "IOBinding",
    "InferenceSession",
    "ModelCompiler",
    "OrtDevice",
    "OrtDeviceVendorId",
    "OrtValue",
    "Session",
    "SparseTensor",
    "check_and_normalize_provider_args",
    "copy_tensors",
    "get_ort_device_type",
    "get_vendor_id_for_device_type",
]
