"""What programs import from `onnxruntime.capi._pybind_state`."""

from onnxgpu.capi.onnxruntime_pybind11_state import *  # noqa: F403
from onnxgpu.capi.onnxruntime_pybind11_state import __all__ as __all__
