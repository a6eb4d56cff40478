"""Operators with kernels of our own, in front of those that `array_ops` runs through CuPy."""

from __future__ import annotations

from onnxgpu.operators import Registry
from onnxgpu.providers.array_ops import REGISTRY as ARRAY_OPS

REGISTRY = Registry(base=ARRAY_OPS)
operator = REGISTRY.operator
