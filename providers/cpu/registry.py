"""The operators that are written for NumPy alone, over those of `array_ops`."""

from onnxgpu.operators import Registry
from onnxgpu.providers import array_ops

REGISTRY = Registry(base=array_ops.REGISTRY)
operator = REGISTRY.operator
