"""Products with weights packed in a few bits: MatMulNBits, MatMulBnb4 and MatMulFpQ4 (domain com.microsoft).

The weights stay packed (see packed_weights.py). Spec: onnxruntime's operator schemas
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.array_ops.packed_weights import FLOAT, PackedWeights, consecutive, unpacked
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.prepared import Prepared
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.weight_packing import NF4_LEVELS

_DOMAIN = "com.microsoft"
Weights = PackedWeights | Array
"""Packed, or a dense float32 matrix (K, N) where the packing does not fit `PackedWeights`."""


class PackedProduct:
    """A times weights that a derived class unpacks from its other inputs, plus a bias if there is one."""

    input_names: tuple[str, ...]
    required_inputs = 3
    bias_index: int | None = None

    def __init__(self, xp: Any, operation: Operation, packing: Sequence[int]) -> None:
        self._xp = xp
        self._attributes = operation.attributes
        self._weights: Prepared[Weights] = Prepared(xp, operation, packing, self._packed)

    def _packed(self, *inputs: Array) -> Weights:
        raise NotImplementedError

    def _sizes(self, inputs: Sequence[Value]) -> tuple[int, int]:
        """K and N."""
        return int(self._attributes["K"]), int(self._attributes["N"])

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """A's shape with N as its last size.

        Raises:
            InvalidArgument: A's last size is not K.
        """
        a = inputs[0]
        depth, columns = self._sizes(inputs)
        if not a.shape or a.shape[-1] != depth:
            raise InvalidArgument(f"{type(self).__name__}: expected A with a last size of K = {depth}, got shape {list(a.shape)}")
        return (Spec((*a.shape[:-1], columns), a.dtype),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None = None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        a, weights = inputs[0], self._weights.of(inputs)
        depth, columns = self._sizes(inputs)
        result = self._multiplied(a.reshape(-1, depth), weights).reshape(*a.shape[:-1], columns)
        bias = inputs[self.bias_index] if self.bias_index is not None and self.bias_index < len(inputs) else None
        result = result if bias is None else result + widened(bias)
        return (stored(self._xp, result, a.dtype, outputs[0] if outputs else None),)

    def _multiplied(self, a: Array, weights: Weights) -> Array:
        if isinstance(weights, PackedWeights):
            return weights.product(self._xp, a)
        return self._dense(widened(a).astype(FLOAT, copy=False), weights)

    def _dense(self, a: Array, weights: Array) -> Array:
        product: Array = self._xp.matmul(a, weights)
        return product


def not_prepacked(operation: Operation) -> str | None:
    """Why the node is not run: its weights are in a layout that onnxruntime made for one kind of GPU."""
    return "with weight_prepacked is not implemented" if operation.attributes.get("weight_prepacked") else None


@operator("MatMulNBits", domain=_DOMAIN, absorbs=("b", "scales", "zero_points", "g_idx"), when=not_prepacked)
class MatMulNBits(PackedProduct):
    """A times the transpose of weights (N, K) in 2, 4 or 8 bits, with a scale and zero point for each block of a row.

    Every `accuracy_level` is met: the product is in float32. Weights without elements are an omitted projection, which gives zeros.
    """

    input_names = ("a", "b", "scales", "zero_points", "g_idx", "bias")
    bias_index = 5

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._block, self._bits = int(operation.attributes["block_size"]), int(operation.attributes.get("bits", 4))
        if self._bits not in (2, 4, 8) or self._block < 16 or self._block & (self._block - 1):
            raise InvalidArgument(
                f"MatMulNBits: expected bits to be 2, 4 or 8 and block_size a power of two from 16 on, got {self._bits} and {self._block}"
            )
        super().__init__(xp, operation, (1, 2, 3, 4))

    def _packed(self, *inputs: Array) -> Weights:
        packed, scales, zero_points, group_index = inputs
        xp, (depth, columns) = self._xp, self._sizes(())
        blocks, slots = -(-depth // self._block), 8 // self._bits
        if not packed.size:
            return xp.zeros((depth, columns), FLOAT)
        data = packed.reshape(columns, -1)
        factor = widened(scales).reshape(columns, blocks).astype(FLOAT, copy=False)
        offsets = self._offsets(zero_points, factor)
        if group_index is not None:
            return self._regrouped(data, factor, offsets, group_index)
        turned = [xp.ascontiguousarray(x.T) for x in (data, factor)]
        return PackedWeights(
            turned[0],
            consecutive(slots, len(turned[0])),
            self._bits,
            depth,
            turned[1],
            None if offsets is None else xp.ascontiguousarray(offsets.T),
        )

    def _offsets(self, zero_points: Array | None, factor: Array) -> Array | None:
        """What zero points other than the default take off, (N, blocks)."""
        if zero_points is None:
            return None
        if zero_points.dtype == np.uint8:
            zeros = unpacked(self._xp, zero_points.reshape(len(factor), -1), self._bits)[:, : factor.shape[1]]
        else:
            zeros = widened(zero_points).reshape(factor.shape)
        return factor * (zeros.astype(FLOAT) - FLOAT.type(1 << (self._bits - 1)))

    def _regrouped(self, data: Array, factor: Array, offsets: Array | None, group_index: Array) -> Array:
        """Weights whose columns have scales in an order of their own, dense."""
        depth, _ = self._sizes(())
        codes = unpacked(self._xp, data, self._bits)[:, :depth].astype(FLOAT) - FLOAT.type(1 << (self._bits - 1))
        groups = group_index.reshape(-1)[:depth]
        dense = codes * factor[:, groups]
        return (dense if offsets is None else dense - offsets[:, groups]).T


_FP4 = (0.0, 5.208333333e-03, 2 / 3, 1.0, 1 / 3, 0.5, 1 / 6, 0.25)
LEVELS = (np.array((*_FP4, *(-level for level in _FP4)), FLOAT), NF4_LEVELS)
"""What the 16 codes of FP4 and of NF4 mean, as a part of a block's greatest magnitude."""


@operator("MatMulBnb4", domain=_DOMAIN, absorbs=("b", "absmax"))
class MatMulBnb4(PackedProduct):
    """A times the transpose of weights (N, K) in FP4 (quant_type 0) or NF4 (1), or times them if transB is 0.

    The flattened weights lie two a byte, the first in the high bits, with the greatest magnitude of each block.
    Source: https://arxiv.org/abs/2305.14314
    """

    input_names = ("a", "b", "absmax")

    def __init__(self, xp: Any, operation: Operation) -> None:
        kind = int(operation.attributes["quant_type"])
        if kind not in (0, 1):
            raise InvalidArgument(f"MatMulBnb4: expected quant_type 0 (FP4) or 1 (NF4), got {kind}")
        self._levels = xp.asarray(LEVELS[kind])
        self._transposed = bool(operation.attributes.get("transB", 1))
        super().__init__(xp, operation, (1, 2))

    def _sizes(self, inputs: Sequence[Value]) -> tuple[int, int]:
        depth, columns = super()._sizes(inputs)
        return (depth, columns) if self._transposed else (columns, depth)

    def _packed(self, *inputs: Array) -> Weights:
        data, greatest = inputs
        xp, block = self._xp, int(self._attributes["block_size"])
        depth, columns = super()._sizes(())
        factor = widened(greatest).reshape(-1).astype(FLOAT, copy=False)
        if self._transposed and depth % block == 0:
            rows = xp.ascontiguousarray(data.reshape(columns, -1).T)
            order = consecutive(2, len(rows))[::-1]
            return PackedWeights(rows, order, 4, depth, xp.ascontiguousarray(factor.reshape(columns, -1).T), None, self._levels)
        codes = xp.stack((data >> 4, data & 15), axis=-1).reshape(-1)[: depth * columns]
        dense = (self._levels[codes] * xp.repeat(factor, block)[: codes.size]).reshape(columns, depth)
        return dense.T if self._transposed else dense


_FPQ4_KINDS = {0: (32, False), 1: (32, True), 2: (64, False), 4: (128, False)}


@operator("MatMulFpQ4", domain=_DOMAIN, host=("b_shape",), absorbs=("b",))
class MatMulFpQ4(PackedProduct):
    """A times weights (K, N) in a blob: for each block of a column its scale, its zero point (blk_quant_type 1), and its 4-bit codes.

    Of each 32 codes the first 16 lie in the low bits of 16 bytes, the others in the high bits.
    """

    input_names = ("a", "b", "b_shape")

    def __init__(self, xp: Any, operation: Operation) -> None:
        kind = int(operation.attributes.get("blk_quant_type", 1))
        if kind not in _FPQ4_KINDS:
            raise InvalidArgument(f"MatMulFpQ4: expected blk_quant_type to be one of {sorted(_FPQ4_KINDS)}, got {kind}")
        self._block, self._shifted = _FPQ4_KINDS[kind]
        self._blob: Prepared[Array] = Prepared(xp, operation, (1,), lambda blob: blob)
        self._shape = Prepared(xp, operation, (2,), integers)
        super().__init__(xp, operation, (1, 2))

    def _sizes(self, inputs: Sequence[Value]) -> tuple[int, int]:
        depth, columns = self._shape.of(inputs)
        return depth, columns

    def _packed(self, *inputs: Array) -> Weights:
        blob, shape = inputs
        depth, columns = integers(shape)
        blocks, head = -(-depth // self._block), 5 if self._shifted else 4
        size = head + self._block // 2
        if blob.size != columns * blocks * size:
            raise InvalidArgument(
                f"MatMulFpQ4: expected a blob of {columns * blocks * size} bytes for shape {[depth, columns]}, got {blob.size}"
            )
        xp, parts = self._xp, blob.reshape(columns, blocks, size)
        scales = xp.ascontiguousarray(parts[..., :4]).view(FLOAT)[..., 0]
        offsets = scales * (parts[..., 4].astype(FLOAT) - 8) if self._shifted else None
        data = xp.ascontiguousarray(parts[..., head:].reshape(columns, -1).T)
        places = np.arange(len(data)) // 16 * 32 + np.arange(len(data)) % 16
        return PackedWeights(
            data,
            np.stack((places, places + 16)),
            4,
            depth,
            xp.ascontiguousarray(scales.T),
            None if offsets is None else xp.ascontiguousarray(offsets.T),
        )
