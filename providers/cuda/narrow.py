"""Tensors of the element types that CuPy has none of: 8- and 4-bit floats, 4- and 2-bit integers, one element a byte.

A `NarrowArray` is an array of bytes with the name of what they are. Kernels of our own read it; operators that give views of their
input do so with the bytes (`BytesKernel`); every other operator refuses the types when it is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Claim, Kernel, Operation, Refusal, Spec, Value, ValueInfo

Implementation = TypeVar("Implementation", bound=Callable[..., Any])

BYTE = np.dtype(np.uint8)

C_TYPES = {
    "float8e4m3fn": "Float8E4M3FN",
    "float8e4m3fnuz": "Float8E4M3FNUZ",
    "float8e5m2": "Float8E5M2",
    "float8e5m2fnuz": "Float8E5M2FNUZ",
    "float8e8m0": "PowerOfTwo",
    "float4e2m1": "Float4E2M1",
    "int4": "Int4",
    "uint4": "UInt4",
    "int2": "Int2",
    "uint2": "UInt2",
}
"""ONNX's names → those of `narrow.cuh`."""

VIEWS = frozenset({"Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that show their input's elements in another shape, whatever these mean."""


class NarrowArray:
    """Elements of `dtype` over a uint8 array of CuPy.

    Args:
        bits: an element a byte.
        dtype: one of `ml_dtypes`'s.
    """

    __slots__ = ("bits", "dtype")

    def __init__(self, bits: Array, dtype: np.dtype) -> None:
        self.bits, self.dtype = bits, dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(self.bits.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.bits.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self.bits.size)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, one an element."""
        return int(self.bits.size)

    @property
    def flags(self) -> Any:
        """As CuPy's: `c_contiguous`."""
        return self.bits.flags

    def reshape(self, shape: Sequence[int]) -> NarrowArray:
        """The same elements in another shape."""
        return NarrowArray(self.bits.reshape(shape), self.dtype)


@cache
def is_narrow(dtype: np.dtype | None) -> bool:
    """True for an element type that only a `NarrowArray` holds."""
    return dtype is not None and name_of(dtype) in C_TYPES


def stored_dtype(dtype: np.dtype) -> np.dtype:
    """What CuPy's array of such elements has."""
    return BYTE if is_narrow(dtype) else dtype


def typed(array: Array, dtype: np.dtype) -> Array:
    """An array of `stored_dtype(dtype)` as one of `dtype`."""
    return NarrowArray(array, dtype) if is_narrow(dtype) else array


def bits_of(array: Array) -> Array:
    """The array of CuPy, or of NumPy, that holds the elements."""
    if isinstance(array, NarrowArray):
        return array.bits
    return array.view(BYTE) if isinstance(array, np.ndarray) and is_narrow(array.dtype) else array


_known: set[Callable[..., Any]] = set()


def takes_narrow(implementation: Implementation) -> Implementation:
    """Mark an operator whose kernels read and write `NarrowArray`s."""
    _known.add(implementation)
    return implementation


def claim(registry: Registry, xp: Any, operation: Operation) -> Claim | Refusal:
    """Claim `operation`; with narrow values only an operator that knows them, or that gives a view."""
    dtypes = [value.dtype for value in (*operation.inputs, *operation.outputs) if value is not None and value.dtype is not None]
    narrow = [name_of(dtype) for dtype in dtypes if is_narrow(dtype)]
    if not narrow:
        return registry.claim(xp, operation)
    entry = registry.entry(operation.operator, operation.domain, operation.version)
    reason = None
    if entry is not None and entry.implementation in _known:
        reason = entry.refusal(operation)
        if reason is None:
            return registry.claim(xp, operation)
    if operation.operator not in VIEWS or operation.domain:
        return Refusal(f"{operation.operator} {reason}" if reason else f"has no kernel for {narrow[0]}, of which CuPy has no arrays")
    moved = registry.claim(xp, _on_bytes(operation))
    if isinstance(moved, Refusal):
        return moved
    return replace(moved, build=lambda: BytesKernel(moved.build(), operation))


class BytesKernel:
    """Runs a kernel that gives views on the bytes of narrow elements.

    Args:
        kernel: made for bytes.
        operation: with the element types as they are.
    """

    def __init__(self, kernel: Kernel, operation: Operation) -> None:
        self._kernel = kernel
        self._dtypes = [None if value is None else value.dtype for value in operation.outputs]

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `onnxgpu.provider.Kernel`."""
        specs = self._kernel.outputs([_bytes_spec(value) for value in inputs])
        return None if specs is None else [_typed_spec(spec, dtype) for spec, dtype in zip(specs, self._dtypes, strict=False)]

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `onnxgpu.provider.Kernel`."""
        return self._kernel.workspace([_bytes_spec(value) for value in inputs])

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        given = None if outputs is None else [bits_of(output) for output in outputs]
        results = self._kernel.launch([bits_of(value) for value in inputs], given, workspace)
        if outputs is not None:
            return outputs
        return [result if dtype is None else typed(result, dtype) for result, dtype in zip(results, self._dtypes, strict=False)]


def _bytes_spec(value: Value) -> Value:
    """What stands for a value where only its shape and dtype are read."""
    return replace(value, dtype=stored_dtype(value.dtype)) if isinstance(value, Spec) else bits_of(value)


def _typed_spec(spec: Spec, dtype: np.dtype | None) -> Spec:
    return replace(spec, dtype=dtype) if dtype is not None and is_narrow(dtype) else spec


def _on_bytes(operation: Operation) -> Operation:
    def stored(values: Sequence[ValueInfo | None]) -> tuple[ValueInfo | None, ...]:
        return tuple(_bytes_info(value) if value is not None and is_narrow(value.dtype) else value for value in values)

    return replace(operation, inputs=stored(operation.inputs), outputs=stored(operation.outputs))


def _bytes_info(value: ValueInfo) -> ValueInfo:
    load = value.constant
    return replace(value, dtype=BYTE, constant=None if load is None else lambda: bits_of(load()))
