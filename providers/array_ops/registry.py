"""The operators that are written once for every array module with NumPy's interface (numpy, cupy)."""

from onnxgpu.operators import Registry

REGISTRY = Registry()
operator = REGISTRY.operator
