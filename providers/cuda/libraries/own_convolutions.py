"""Convolutions that our own kernels compute in less time than the libraries do, as measured on an H100 (docs/benchmarks.md).

In float32 that are windows of 3 × 3, transformed, where there are patches enough to fill a tile. In float16 and bfloat16 it is what is no
product as it lies, and takes so few products that cuDNN's conversion to channels-last and back, of the weights too, is a large part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Operation, Spec, Value, ValueInfo
from onnxgpu.providers.cuda.convolution_tiles import TILES, WINOGRAD, Geometry, tiling
from onnxgpu.providers.cuda.libraries.found import Found
from onnxgpu.providers.cuda.libraries.kernel import NotCovered
from onnxgpu.providers.cuda.operators.convolution import Conv
from onnxgpu.providers.cuda.remembered import Remembered

_FIRST = 80
"""An H100 is 90. From 80 on cuDNN's heuristic is the one that names little for float32 but TF32 (convolution_products.py)."""

_MOST_PRODUCTS = 1 << 31
"""Of float16 and bfloat16: an H100 takes 0.05 ms for 1.8 · 10⁹ by our kernel and 0.23 by cuDNN's, and 0.15 and 0.05 ms for 7.4 · 10⁹."""

OURS = Found("onnxgpu's own kernel, where it is faster than a library's")
"""What stands in a library's place."""

_SLOWER = "is expected to take longer than a library's here"


def registry_for(capability: int, tf32: bool) -> Registry:
    """The convolutions that may be ours on a GPU of this compute capability (90 is 9.0), if TF32 is allowed or not."""
    found = Registry()
    if capability >= _FIRST:
        types = frozenset({"float16", "bfloat16"} if tf32 else {"float", "float16", "bfloat16"})
        for name, domain in (("Conv", ""), ("FusedConv", "onnxgpu"), ("FusedConv", "com.microsoft")):
            found.operator(name, domain=domain, types=types, when=_refusal)(FastConv)
    return found


def _refusal(operation: Operation) -> str | None:
    x, w = operation.inputs[:2]
    if operation.attributes.get("group", 1) != 1 or x is None or w is None:
        return "is for one group"
    given, weights = _known(x), _known(w)
    if given is None or weights is None:
        return None
    try:
        geometry = FastConv(None, operation).geometry((given, weights))
    except InvalidArgument as error:
        return error.message
    return None if is_faster(geometry, given.shape[0], given.dtype.itemsize) else _SLOWER


def _known(value: ValueInfo) -> Spec | None:
    shape = tuple(size for size in value.shape or () if isinstance(size, int))
    return Spec(shape, value.dtype) if value.dtype is not None and value.shape is not None and len(shape) == len(value.shape) else None


class FastConv(Conv):
    """Our convolution, for the shapes for which it is the faster one. Spec: https://onnx.ai/onnx/operators/onnx__Conv.html"""

    def __init__(self, xp: Any, operation: Operation) -> None:
        super().__init__(xp, operation)
        self._is_faster = Remembered(self._decided)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `Conv`.

        Raises:
            NotCovered: a library is expected to take less time.
        """
        self._check(inputs)
        return super().workspace(inputs)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`.

        Raises:
            NotCovered: a library is expected to take less time.
        """
        self._check(inputs)
        return super().launch(inputs, outputs, workspace)

    def _check(self, inputs: Sequence[Value]) -> None:
        if not self._is_faster(inputs):
            raise NotCovered(_SLOWER)

    def _decided(self, inputs: Sequence[Value]) -> bool:
        x = inputs[0]
        return is_faster(self.geometry(inputs), x.shape[0], x.dtype.itemsize)


def is_faster(geometry: Geometry, batch: int, item_bytes: int) -> bool:
    """Whether our kernel is expected to take less time than a library, for so many samples of float32, float16 or bfloat16."""
    if item_bytes == 2:
        is_product_as_it_lies = all(axis[2] == 1 and axis[0] == axis[1] for axis in geometry.axes)
        return not is_product_as_it_lies and 0 < prod(geometry.shape) * geometry.channels * geometry.taps <= _MOST_PRODUCTS
    patches = batch * prod(-(-axis[1] // 2) for axis in geometry.axes)
    return patches >= TILES[WINOGRAD][1] and tiling(geometry, batch, item_bytes).tile == WINOGRAD
