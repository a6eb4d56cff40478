"""What programs reach as `onnxruntime_pybind11_state.opkernel`."""

from onnxgpu.kernel_defs import KernelDef

__all__ = ["KernelDef"]
