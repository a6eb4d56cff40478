"""Operators with kernels of our own, in front of those that `array_ops` runs through CuPy."""

from __future__ import annotations

from onnxgpu.operators import NEWEST_OPSET, Registry, SpecsFunction
from onnxgpu.providers.array_ops import REGISTRY as ARRAY_OPS

REGISTRY = Registry(base=ARRAY_OPS)
operator = REGISTRY.operator


def array_specs(name: str, version: int | None = None, domain: str = "") -> SpecsFunction:
    """The outputs' specs as `array_ops` declares them for an operator, at opset `version` (its newest by default).

    Raises:
        LookupError: `array_ops` has no such operator, or does not know its outputs beforehand.
    """
    entry = ARRAY_OPS.entry(name, domain, NEWEST_OPSET[domain] if version is None else version)
    if entry is None or entry.specs is None:
        raise LookupError(f"array_ops declares no specs for {domain or 'ai.onnx'}.{name}")
    return entry.specs
