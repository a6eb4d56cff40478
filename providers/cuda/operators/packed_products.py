"""MatMulNBits and MatMulBnb4 (domain com.microsoft): the weights are read as they are stored, and unpacked in registers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.packed_products import LEVELS, not_prepacked
from onnxgpu.providers.cuda.kernels import C_TYPES, Template, dense
from onnxgpu.providers.cuda.products import TILES, structure, tile_for
from onnxgpu.providers.cuda.registry import operator

_DOMAIN = "com.microsoft"
_TYPES = frozenset({"float", "float16", "bfloat16"})
_BITS = (2, 4, 8)
_ELEMENTS = tuple(C_TYPES[name] for name in sorted(_TYPES))
_WEIGHTS = tuple(f"{T}, {kind}" for T in _ELEMENTS for kind in (*(f"Blocks<{T}, {bits}>" for bits in _BITS), f"Levels<{T}>"))
_MANY_ROWS_TILES = ("LargeTile", "MediumTile")

TILE = Template("packed_product.cu", "multiply_packed<{weights}, {tile}>", "pspplli", weights=_WEIGHTS, tile=_MANY_ROWS_TILES)
ROWS = Template("packed_product.cu", "multiply_packed_rows<{weights}>", "pspplli", weights=_WEIGHTS)

_FEW_ROWS = 16
"""Up to so many rows the weights are read for a few of them at a time, a warp a column."""

_SMALLEST_BLOCK = 16
_ROWS_TOGETHER = 4
_COLUMNS_A_BLOCK = 8
_TOGETHER = 8


def _multiply(xp: Any, a: Array, weights: str, stored: np.void, bias: Array | None, columns: int, out: Array | None, eights: bool) -> Array:
    """a (…, K) times what `stored` describes, (…, N); `eights` says that eight weights at a time are one aligned load."""
    result = xp.empty((*a.shape[:-1], columns), a.dtype) if out is None else out
    a = dense(xp, a)
    depth, rows = a.shape[-1], prod(a.shape[:-1])
    if result.size == 0:
        return result
    name = f"{_element(a)}, {weights}"
    if rows <= _FEW_ROWS and eights:
        grid = -(-columns // _COLUMNS_A_BLOCK), -(-rows // _ROWS_TOGETHER)
        ROWS.instance(weights=name).launch(grid, 32 * _COLUMNS_A_BLOCK, a, stored, bias, result, rows, columns, depth)
        return result
    tile, tiles = tile_for(max(rows, _FEW_ROWS), columns, 1)
    TILE.instance(weights=name, tile=tile).launch(tiles, TILES[tile][2], a, stored, bias, result, rows, columns, depth)
    return result


def _specs(a: Array, depth: int, columns: int, name: str) -> Spec:
    if not a.shape or a.shape[-1] != depth:
        raise InvalidArgument(f"{name}: expected A with a last size of K = {depth}, got shape {list(a.shape)}")
    return Spec((*a.shape[:-1], columns), a.dtype)


def _bits_specs(a: Array, *_: Any, K: int, N: int, **__: Any) -> Spec:
    return _specs(a, K, N, "MatMulNBits")


def _bits_refusal(operation: Operation) -> str | None:
    bits, block = operation.attributes.get("bits", 4), operation.attributes.get("block_size", 0)
    a, packed, scales, zeros, groups = (*operation.inputs, *(None,) * 5)[:5]
    if bits not in _BITS or not _is_block(block):
        return "takes weights of 2, 4 or 8 bits in blocks of a power of two from 16 on"
    if groups is not None:
        return "takes weights in the order of their scales"
    if packed is None or packed.shape is None or 0 in packed.shape:
        return "needs to know that there are weights"
    if a is None or scales is None or scales.dtype != a.dtype or (zeros is not None and zeros.dtype not in (np.uint8, a.dtype)):
        return "takes scales, and zero points that are no codes, of A's type"
    return not_prepacked(operation)


@operator("MatMulNBits", domain=_DOMAIN, specs=_bits_specs, types=_TYPES, when=_bits_refusal)
def matmul_nbits(
    xp: Any,
    a: Array,
    b: Array,
    scales: Array,
    zero_points: Array = None,
    g_idx: Array = None,
    bias: Array = None,
    *,
    K: int,
    N: int,
    accuracy_level: int = 0,
    bits: int = 4,
    block_size: int,
    weight_prepacked: int = 0,
    out: Array = None,
) -> Array:
    """A times weights (N, K) with a scale and a zero point a block of a row; every `accuracy_level` is met: float32.

    Spec: onnxruntime's ContribOperators.md
    """
    blocks = -(-K // block_size)
    packed = zero_points is not None and zero_points.dtype == np.uint8
    zero_row = zero_points.size // N if packed else 0
    layout = (blocks * block_size * bits // 8, zero_row, blocks, 0, 0, _block_bits(block_size), int(packed))
    eights = b.data.ptr % _TOGETHER == 0
    return _multiply(xp, a, f"Blocks<{_element(a)}, {bits}>", structure(b, scales, zero_points, None, *layout), bias, N, out, eights)


def _block_bits(size: int) -> int:
    """The power of two that a block's size is: the kernels shift by it where they would divide."""
    return size.bit_length() - 1


def _is_block(size: int) -> bool:
    return size >= _SMALLEST_BLOCK and size & (size - 1) == 0


def _element(a: Array) -> str:
    return C_TYPES[name_of(a.dtype)]


def _levels_refusal(operation: Operation) -> str | None:
    a, _, greatest = (*operation.inputs, None, None, None)[:3]
    if operation.attributes.get("quant_type") not in (0, 1):
        return "takes quant_type 0 (FP4) or 1 (NF4)"
    if not _is_block(int(operation.attributes.get("block_size", 0))):
        return "takes blocks of a power of two from 16 on"
    if a is None or greatest is None or greatest.dtype != a.dtype:
        return "takes magnitudes of A's type"
    return None


@operator("MatMulBnb4", domain=_DOMAIN, when=_levels_refusal, types=_TYPES)
class MatMulBnb4:
    """A times the transpose of weights (N, K) in FP4 (quant_type 0) or NF4 (1), or times them if transB is 0.

    Source: https://arxiv.org/abs/2305.14314
    """

    input_names = ("a", "b", "absmax")

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        depth, columns = int(attributes["K"]), int(attributes["N"])
        self._xp = xp
        self._levels = xp.asarray(LEVELS[attributes["quant_type"]])
        self._block_bits = _block_bits(int(attributes["block_size"]))
        self._transposed = bool(attributes.get("transB", 1))
        self._sizes = (depth, columns) if self._transposed else (columns, depth)
        self._strides = (1, depth) if self._transposed else (depth, 1)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """A's shape with the weights' other size as its last."""
        return (_specs(inputs[0], *self._sizes, "MatMulBnb4"),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        a, data, greatest = inputs
        depth, columns = self._sizes
        eights = self._transposed and depth % _TOGETHER == 0 and data.data.ptr % _TOGETHER == 0
        stored = structure(data, greatest, None, self._levels, 0, 0, 0, *self._strides, self._block_bits, 0)
        out = outputs[0] if outputs else None
        return (_multiply(self._xp, a, f"Levels<{_element(a)}>", stored, None, columns, out, eights),)
