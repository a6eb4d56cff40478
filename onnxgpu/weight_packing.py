"""Quantising weights by blocks, as onnxruntime's tools do it: for MatMulNBits, MatMulBnb4 and DequantizeLinear.

Each function fills arrays that the caller made. Weights are float32 or float16 [K,N]; a block is some rows of one column.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxgpu.errors import InvalidArgument

_FP4_BOUNDS = np.array([0.00260417, 0.0859375, 0.20833333, 0.29166667, 0.4166667, 0.583333, 0.8333333], np.float32)
_FP4_CODES = np.array([0, 1, 6, 7, 4, 5, 2, 3], np.uint8)
"""Codes of FP4 in the order of their magnitudes, and the magnitudes between them; a code with bit 3 is negative."""

NF4_LEVELS = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    np.float32,
)
"""The values of bitsandbytes' NF4."""


def _quantized(
    blocks: np.ndarray, bits: int, symmetric: bool, scale_type: np.dtype, *, signed: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, scales and zero points of blocks [..., size] in float32; signed codes are rounded before the zero point is added."""
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    full, half = np.float32(2**bits - 1), 2 ** (bits - 1)
    if symmetric:
        scale = (np.where(np.abs(high) > np.abs(low), high, low) / np.float32(-half)).astype(scale_type)
        zero = np.full(scale.shape, half, np.uint8)
    else:
        exact = (high - low) / full
        scale = exact.astype(scale_type)
        with np.errstate(divide="ignore", invalid="ignore"):
            point = np.where(exact != 0, -low / exact, low)
        zero = np.clip(_rounded(point), 0, full).astype(np.uint8)
    wide = scale.astype(np.float32)
    reciprocal = np.where(wide != 0, np.float32(1) / np.where(wide != 0, wide, 1), 0).astype(np.float32)
    scaled, offset = blocks * reciprocal[..., None], zero[..., None].astype(np.float32)
    codes = _rounded(scaled) + offset if signed else _rounded(scaled + offset)
    return np.clip(codes, 0, full).astype(np.uint8), scale, zero


def _rounded(values: np.ndarray) -> np.ndarray:
    """To the nearest integer, halves away from zero, as C's `roundf`."""
    whole: np.ndarray = np.trunc(values)
    nearest: np.ndarray = whole + np.sign(values) * (np.abs(values - whole) >= 0.5)
    return nearest


def _packed(codes: np.ndarray, bits: int, filler: int) -> np.ndarray:
    """Codes [..., n] as bytes, the first in the lowest bits; what is missing of the last byte is `filler`."""
    each = 8 // bits
    missing = -codes.shape[-1] % each
    codes = np.concatenate([codes, np.full((*codes.shape[:-1], missing), filler, np.uint8)], axis=-1)
    grouped = codes.reshape(*codes.shape[:-1], -1, each)
    packed: np.ndarray = np.bitwise_or.reduce(grouped << (np.arange(each, dtype=np.uint8) * np.uint8(bits)), axis=-1)
    return packed


def _ended(codes: np.ndarray, rows: int, each: int) -> np.ndarray:
    """Codes [N,…] whose part beyond `rows` is 0; the rest of a byte that has begun repeats the byte before, as in onnxruntime."""
    end = min(-(-rows // each) * each, codes.shape[1])
    codes[:, rows:end] = codes[:, rows - each : end - each] if rows >= each else 0
    codes[:, end:] = 0
    return codes


def _checked(caller: str, weights: np.ndarray, block_size: int, columns: int, rows: int) -> np.ndarray:
    if weights.dtype not in (np.float32, np.float16) or weights.shape != (rows, columns):
        raise InvalidArgument(f"{caller} wants float32 or float16 weights [{rows},{columns}], got {weights.dtype} {list(weights.shape)}")
    if block_size < 16 or block_size & (block_size - 1):
        raise InvalidArgument(f"{caller} wants a block size that is a power of two, at least 16, got {block_size}")
    return weights


def _fill(caller: str, what: str, target: np.ndarray, values: np.ndarray) -> None:
    if target.size != values.size:
        raise InvalidArgument(f"{caller} wants {values.size} elements for the {what}, got {target.size}")
    if not target.flags.c_contiguous:
        raise InvalidArgument(f"{caller} wants a contiguous array for the {what}")
    target.reshape(-1)[...] = values.reshape(-1)


def _matmul_nbits(bits: int) -> Callable[..., None]:
    caller = f"quantize_matmul_{bits}bits()"

    def quantize(
        arg0: np.ndarray, arg1: np.ndarray, arg2: np.ndarray, arg3: np.ndarray, arg4: int, arg5: int, arg6: int, arg7: bool
    ) -> None:
        """Quantise weights for MatMulNBits.

        Args:
            arg0: filled with the codes, uint8 [N, blocks, block size · bits / 8].
            arg1: the weights [K,N].
            arg2: filled with the scales [N, blocks], of the weights' type.
            arg3: filled with the zero points, packed, unless symmetric.
            arg4: the block size, a power of two from 16 on.
            arg5: N.
            arg6: K.
            arg7: symmetric: no zero points.

        Raises:
            InvalidArgument: a size or type does not fit.
        """
        weights = _checked(caller, arg1, arg4, arg5, arg6)
        count = -(-arg6 // arg4)
        padded = np.zeros((arg5, count * arg4), np.float32)
        padded[:, :arg6] = weights.T
        codes, scales, zeros = _quantized(padded.reshape(arg5, count, arg4), bits, arg7, weights.dtype)
        _fill(caller, "codes", arg0, _packed(_ended(codes.reshape(arg5, -1), arg6, 8 // bits), bits, 0))
        _fill(caller, "scales", arg2, scales)
        if not arg7:
            _fill(caller, "zero points", arg3, _packed(zeros, bits, 2 ** (bits - 1)))

    quantize.__name__ = quantize.__qualname__ = caller[:-2]
    return quantize


quantize_matmul_2bits = _matmul_nbits(2)
quantize_matmul_4bits = _matmul_nbits(4)
quantize_matmul_8bits = _matmul_nbits(8)


def _qdq_matmul(bits: int) -> Callable[..., bool]:
    caller = f"quantize_qdq_matmul_{bits}bits()"

    def quantize(
        arg0: np.ndarray, arg1: np.ndarray, arg2: np.ndarray, arg3: np.ndarray, arg4: int, arg5: int, arg6: int, arg7: bool
    ) -> bool:
        """Quantise weights for DequantizeLinear with blocks along axis 0.

        Args:
            arg0: filled with the codes [K,N], packed along rows.
            arg1: the weights [K,N].
            arg2: filled with the scales [blocks,N], of the weights' type.
            arg3: filled with the zero points [blocks,N], packed, unless symmetric.
            arg4: the block size.
            arg5: N.
            arg6: K.
            arg7: symmetric: signed codes, no zero points.

        Returns:
            True if the codes are signed.

        Raises:
            InvalidArgument: a size or type does not fit.
        """
        weights = _checked(caller, arg1, arg4, arg5, arg6) if arg4 != arg6 else arg1
        count = -(-arg6 // arg4)
        padded = np.zeros((count * arg4, arg5), np.float32)
        padded[:arg6] = weights
        blocks = padded.reshape(count, arg4, arg5).transpose(0, 2, 1)
        codes, scales, zeros = _quantized(blocks, bits, arg7, weights.dtype, signed=arg7)
        flat = codes.transpose(0, 2, 1).reshape(-1, arg5)[:arg6].reshape(-1)
        _fill(caller, "codes", arg0, _packed(flat ^ np.uint8(2 ** (bits - 1)) if arg7 else flat, bits, 0))
        _fill(caller, "scales", arg2, scales)
        if not arg7:
            _fill(caller, "zero points", arg3, _packed(zeros.reshape(-1), bits, 0))
        return arg7

    quantize.__name__ = quantize.__qualname__ = caller[:-2]
    return quantize


quantize_qdq_matmul_2bits = _qdq_matmul(2)
quantize_qdq_matmul_4bits = _qdq_matmul(4)


def quantize_matmul_bnb4(arg0: np.ndarray, arg1: np.ndarray, arg2: np.ndarray, arg3: int, arg4: int, arg5: int, arg6: int) -> None:
    """Quantise weights for MatMulBnb4.

    Args:
        arg0: filled with the codes, two in a byte, the first in the high bits.
        arg1: the transposed weights [N,K], float32 or float16.
        arg2: filled with the largest magnitude of each block, of the weights' type.
        arg3: the block size, over the flattened weights.
        arg4: 0 for FP4, 1 for NF4.
        arg5: N.
        arg6: K.

    Raises:
        InvalidArgument: a size or type does not fit.
    """
    caller = "quantize_matmul_bnb4()"
    if arg1.dtype not in (np.float32, np.float16) or arg1.size != arg5 * arg6:
        raise InvalidArgument(f"{caller} wants float32 or float16 weights [{arg5},{arg6}], got {arg1.dtype} {list(arg1.shape)}")
    if arg4 not in (0, 1) or arg3 < 1:
        raise InvalidArgument(f"{caller} wants type 0 (FP4) or 1 (NF4) and a positive block size, got {arg4} and {arg3}")
    flat = np.ascontiguousarray(arg1).reshape(-1).astype(np.float32)
    count = -(-flat.size // arg3)
    padded = np.zeros(count * arg3, np.float32)
    padded[: flat.size] = flat
    blocks = padded.reshape(count, arg3)
    largest = np.abs(blocks).max(1)
    scaled = blocks * np.where(largest != 0, np.float32(1) / np.where(largest != 0, largest, 1), 0).astype(np.float32)[:, None]
    whole = np.append(scaled.reshape(-1)[: flat.size], np.zeros(flat.size % 2, np.float32))
    codes = (_fp4_codes if arg4 == 0 else _nf4_codes)(whole).reshape(-1, 2)
    _fill(caller, "codes", arg0, codes[:, 0] << 4 | codes[:, 1])
    _fill(caller, "largest magnitudes", arg2, largest.astype(arg1.dtype))


def _fp4_codes(scaled: np.ndarray) -> np.ndarray:
    codes: np.ndarray = _FP4_CODES[np.searchsorted(_FP4_BOUNDS, np.abs(scaled), side="left")]
    codes |= (scaled < 0).astype(np.uint8) << np.uint8(3)
    return codes


def _nf4_codes(scaled: np.ndarray) -> np.ndarray:
    return np.searchsorted((NF4_LEVELS[1:] + NF4_LEVELS[:-1]) / 2, scaled, side="left").astype(np.uint8)


def pack_fp4_weights_for_cuda_moe_gemm(q_weights: np.ndarray, N: int, K: int) -> np.ndarray:
    """The codes [N,K/2] of MXFP4 weights, two in a byte along K, as [K,N/2], two in a byte along N, flat.

    Args:
        q_weights: uint8; the first of two codes is in the low bits.
        N: even.
        K: even.

    Raises:
        InvalidArgument: a size does not fit.
    """
    if N % 2 or K % 2 or np.size(q_weights) != N * K // 2:
        raise InvalidArgument(f"pack_fp4_weights_for_cuda_moe_gemm() wants even N and K and {N * K // 2} bytes, got {np.size(q_weights)}")
    codes = np.asarray(q_weights, np.uint8).reshape(N, K // 2)
    unpacked = np.stack([codes & 15, codes >> 4], axis=-1).reshape(N, K).T.reshape(K, N // 2, 2)
    packed: np.ndarray = unpacked[..., 0] | unpacked[..., 1] << 4
    return packed.reshape(-1)
