"""Quantised weights are those of onnxruntime's own functions, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxgpu import weight_packing
from onnxgpu.errors import InvalidArgument

native = pytest.importorskip("onnxruntime").capi.onnxruntime_pybind11_state

SHAPES = ((64, 4, 32), (32, 6, 16), (48, 2, 32), (37, 5, 16), (33, 7, 32))
SEEDS = range(3)


def _weights(seed: int, rows: int, columns: int, dtype: str) -> np.ndarray:
    """Random; with zero and constant columns, or positive, or with values on the border between two codes."""
    generator = np.random.default_rng(seed)
    weights = generator.standard_normal((rows, columns)).astype(dtype)
    if seed == 0:
        weights[:, 1], weights[:16, 0] = 0, -2
    return np.abs(weights) + weights.dtype.type(1) if seed == 1 else weights


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_matmul_nbits(bits: int, symmetric: bool, dtype: str) -> None:
    for rows, columns, size in SHAPES:
        for seed in SEEDS:
            weights, count, filled = _weights(seed, rows, columns, dtype), -(-rows // size), []
            for module in (native, weight_packing):
                codes, scales = np.zeros((columns, count, size * bits // 8), np.uint8), np.zeros((columns, count), dtype)
                zeros = np.zeros((columns, (count * bits + 7) // 8), np.uint8)
                getattr(module, f"quantize_matmul_{bits}bits")(codes, weights, scales, zeros, size, columns, rows, symmetric)
                filled.append((codes, scales, zeros))
            for theirs, ours in zip(*filled, strict=True):
                np.testing.assert_array_equal(ours, theirs, err_msg=f"{rows, columns, size, seed}")


def _qdq(module: Any, bits: int, weights: np.ndarray, size: int, symmetric: bool) -> tuple[Any, ...]:
    rows, columns = weights.shape
    count = -(-rows // size)
    codes, scales = np.zeros((rows * columns * bits + 7) // 8, np.uint8), np.zeros((count, columns), weights.dtype)
    zeros = np.zeros((columns * count * bits + 7) // 8, np.uint8)
    signed = getattr(module, f"quantize_qdq_matmul_{bits}bits")(codes, weights, scales, zeros, size, columns, rows, symmetric)
    return codes, scales, zeros, signed


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_qdq_in_four_bits(symmetric: bool, dtype: str) -> None:
    for rows, columns, size in SHAPES:
        for seed in SEEDS:
            weights = _weights(seed, rows, columns, dtype)
            for theirs, ours in zip(*(_qdq(module, 4, weights, size, symmetric) for module in (native, weight_packing)), strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("symmetric", [True, False])
def test_qdq_in_two_bits_has_the_scales_and_codes_of_matmul_nbits(symmetric: bool) -> None:
    """onnxruntime's own function writes beyond the arrays that it is given, so the oracle is its function for the other layout."""
    weights = np.abs(_weights(2, 32, 8, "float32")) if symmetric else _weights(2, 32, 8, "float32")
    codes, scales, zeros, signed = _qdq(weight_packing, 2, weights, 16, symmetric)
    other, other_scales, other_zeros = np.zeros((8, 2, 4), np.uint8), np.zeros((8, 2), np.float32), np.zeros((8, 1), np.uint8)
    native.quantize_matmul_2bits(other, weights, other_scales, other_zeros, 16, 8, 32, symmetric)
    np.testing.assert_array_equal(scales, other_scales.T)
    assert signed is symmetric
    restored = (_unpacked(codes, 2)[:256].reshape(32, 8) ^ (2 if symmetric else 0)).T
    np.testing.assert_array_equal(restored, _unpacked(other, 2).reshape(8, 32))
    if not symmetric:
        np.testing.assert_array_equal(_unpacked(zeros, 2).reshape(2, 8), _unpacked(other_zeros, 2).reshape(8, 4)[:, :2].T)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    parts = packed.reshape(-1, 1) >> np.arange(0, 8, bits, dtype=np.uint8) & np.uint8(2**bits - 1)
    return parts.reshape(-1)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", [0, 1])
def test_bnb4(kind: int, dtype: str) -> None:
    for rows, columns, size in SHAPES:
        for seed in SEEDS:
            transposed, filled = _weights(seed, rows, columns, dtype).T.copy(), []
            for module in (native, weight_packing):
                codes, largest = np.zeros((rows * columns + 1) // 2, np.uint8), np.zeros(-(-rows * columns // size), dtype)
                module.quantize_matmul_bnb4(codes, transposed, largest, size, kind, columns, rows)
                filled.append((codes, largest))
            for theirs, ours in zip(*filled, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_packed_fp4() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (6, 16), np.uint8)
    np.testing.assert_array_equal(
        weight_packing.pack_fp4_weights_for_cuda_moe_gemm(codes, 6, 32), native.pack_fp4_weights_for_cuda_moe_gemm(codes, 6, 32)
    )


@pytest.mark.parametrize(
    ("weights", "codes", "size", "words"),
    [
        (np.zeros((32, 2)), 32, 16, "float32 or float16 weights"),
        (np.zeros((32, 3), np.float32), 32, 16, r"weights \[32,2\]"),
        (np.zeros((32, 2), np.float32), 32, 24, "power of two"),
        (np.zeros((32, 2), np.float32), 31, 16, "wants 32 elements for the codes, got 31"),
    ],
)
def test_what_does_not_fit_is_named(weights: np.ndarray, codes: int, size: int, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        weight_packing.quantize_matmul_4bits(
            np.zeros(codes, np.uint8), weights, np.zeros(4, np.float32), np.zeros(2, np.uint8), size, 2, 32, False
        )
