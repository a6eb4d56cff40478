"""Products with weights packed in a few bits, and gathering from tables so packed (domain com.microsoft)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from tests.cases import Case
from tests.cases.oracles import expected_outputs
from tests.cases.random_arrays import i64, integers, normal, uniform

_MS = "com.microsoft"


def _bytes(*shape: int, seed: int = 0) -> np.ndarray:
    return integers(*shape, low=0, high=256, dtype="uint8", seed=seed)


def _blockwise(
    bits: int,
    block: int,
    depth: int,
    zero_points: str = "none",
    *,
    rows: int = 6,
    bias: bool = False,
    batch: tuple[int, ...] = (2, 3),
    dtype: str = "f4",
    level: int = 0,
    groups: np.ndarray | None = None,
) -> Case:
    blocks = -(-depth // block)
    inputs: list[np.ndarray | None] = [
        normal(*batch, depth, dtype=dtype),
        _bytes(rows, blocks, block * bits // 8),
        uniform(rows, blocks, low=0.01, high=0.1, dtype=dtype),
        {
            "none": None,
            "packed": _bytes(rows, -(-blocks * bits // 8)),
            "float": uniform(rows, blocks, low=0, high=2**bits - 1, dtype=dtype),
        }[zero_points],
        groups,
        normal(rows, dtype=dtype) if bias else None,
    ]
    while inputs[-1] is None:
        inputs.pop()
    attributes: dict[str, Any] = {"N": rows, "K": depth, "bits": bits, "block_size": block, "accuracy_level": level}
    expected, note = None, ""
    if (bits == 8 and zero_points == "float") or (groups is not None and zero_points == "packed"):
        expected = [inputs[0] @ _dense(bits, depth, inputs[1:5]).T]
        note = "onnxruntime refuses float zero points of 8-bit weights, and ignores packed ones where there is g_idx"
    # With accuracy level 4, onnxruntime rounds A to 8 bits a block; in float16 it sums in float16.
    rtol, atol = (2e-2, 0.3) if level == 4 else (1e-2, 0.2) if dtype == "f2" else (1e-4, 2e-4)
    return Case("MatMulNBits", inputs, attributes, opset=1, domain=_MS, expected=expected, note=note, rtol=rtol, atol=atol)


def _dense(bits: int, depth: int, inputs: Sequence[np.ndarray | None]) -> np.ndarray:
    """The weights (N, K) by the plain formula."""
    data, scales, zeros, groups = [*inputs, None, None][:4]
    assert data is not None and scales is not None and zeros is not None
    slots = range(0, 8, bits)

    def codes(packed: np.ndarray) -> np.ndarray:
        return np.stack([packed >> slot & (1 << bits) - 1 for slot in slots], axis=-1).reshape(len(packed), -1).astype("f4")

    zeros = codes(zeros)[:, : scales.shape[1]] if zeros.dtype == np.uint8 else zeros
    block = data.shape[2] * 8 // bits
    index = np.arange(depth) // block if groups is None else groups
    return np.asarray((codes(data.reshape(len(data), -1))[:, :depth] - zeros[:, index]) * scales[:, index])


def _n_bits() -> list[Case]:
    cases = [
        _blockwise(bits, block, depth, zero_points)
        for bits in (2, 4, 8)
        for block, depth in ((16, 32), (32, 96), (64, 128), (128, 128), (256, 256))
        for zero_points in ("none", "packed", "float")
        if not (bits == 2 and zero_points == "float")
    ]
    cases += [
        _blockwise(4, 16, 40, "packed"),
        _blockwise(4, 32, 33),
        _blockwise(8, 32, 50, "packed"),
        _blockwise(4, 16, 32, bias=True),
        _blockwise(4, 32, 64, "packed", rows=1100, batch=(1,)),
        _blockwise(8, 32, 4096, rows=3),
        _blockwise(4, 32, 64, dtype="f2", bias=True),
        _blockwise(8, 32, 64, "packed", dtype="f2"),
        _blockwise(4, 32, 64, batch=(0, 3)),
        _blockwise(4, 16, 32, groups=np.array([0] * 7 + [1] * 20 + [0] * 5, "int32")),
        _blockwise(4, 16, 32, "float", groups=np.array([1, 0] * 16, "int32")),
        _blockwise(4, 16, 32, "packed", groups=np.array([1, 0] * 16, "int32")),
        *(_blockwise(4, 32, 64, "packed", level=level) for level in (1, 2, 3, 4)),
    ]
    omitted = {"N": 5, "K": 32, "bits": 4, "block_size": 16}
    cases.append(Case("MatMulNBits", [normal(2, 32), _bytes(5, 0, 8), uniform(5, 0)], omitted, opset=1, domain=_MS))
    return cases


def _normal_floats() -> list[Case]:
    cases = []
    for kind in (0, 1):
        for depth, block, rows in ((32, 16, 5), (64, 64, 4), (24, 16, 4), (7, 16, 3)):
            count = rows * depth
            inputs = [normal(2, 3, depth), _bytes(-(-count // 2)), uniform(-(-count // block))]
            attributes = {"K": depth, "N": rows, "block_size": block, "quant_type": kind}
            cases.append(Case("MatMulBnb4", inputs, attributes, opset=1, domain=_MS, rtol=1e-4, atol=1e-4))
            (dense,) = expected_outputs(Case("MatMulBnb4", [np.eye(depth, dtype="f4"), *inputs[1:]], attributes, opset=1, domain=_MS))
            backward, note = normal(2, rows), "onnxruntime's CPU reads the weights as if transB were 1"
            cases.append(
                Case(
                    "MatMulBnb4",
                    [backward, *inputs[1:]],
                    {**attributes, "transB": 0},
                    opset=1,
                    domain=_MS,
                    expected=[backward @ dense.T],
                    rtol=1e-4,
                    atol=1e-4,
                    note=note,
                )
            )
    return cases


def _blobs() -> list[Case]:
    """MatMulFpQ4, whose blobs are written here: onnxruntime runs it on some processors only."""
    cases = []
    for kind, (block, shifted) in {0: (32, False), 1: (32, True), 2: (64, False)}.items():
        for depth, columns in ((64, 3), (80, 2)):
            blocks = -(-depth // block)
            codes = integers(columns, blocks, block, low=0, high=16)
            zeros = integers(columns, blocks, low=0, high=16, seed=1) if shifted else np.full((columns, blocks), 8)
            scales = uniform(columns, blocks, low=0.01, high=0.1)
            halves = codes.reshape(columns, blocks, -1, 2, 16)
            data = (halves[..., 0, :] | halves[..., 1, :] << 4).astype("u1").reshape(columns, blocks, -1)
            parts = [scales[..., None].view("u1"), *([zeros[..., None].astype("u1")] if shifted else []), data]
            weights = ((codes - zeros[..., None]) * scales[..., None]).reshape(columns, -1)[:, :depth].T
            a = normal(2, 3, depth)
            cases.append(
                Case(
                    "MatMulFpQ4",
                    [a, np.concatenate(parts, axis=-1).reshape(-1), i64(depth, columns)],
                    {"blk_quant_type": kind},
                    opset=1,
                    domain=_MS,
                    expected=[(a @ weights).astype("f4")],
                    rtol=1e-4,
                    atol=1e-4,
                    note="onnxruntime needs AVX-512",
                )
            )
    return cases


def _gathers() -> list[Case]:
    cases, indices = [], np.array([[0, 2], [-1, 7]], "int64")
    for bits in (2, 4, 8):
        width = 32 * 8 // bits
        for extra in ([], [_bytes(4, -(-(width // 16) * bits // 8))]):
            attributes = {"bits": bits, "block_size": 16, "quantize_axis": 1, "gather_axis": 0}
            inputs = [_bytes(4, 32), indices, uniform(4, width // 16), *extra]
            cases.append(Case("GatherBlockQuantized", inputs, attributes, opset=1, domain=_MS))
            half = [inputs[0], indices.astype("i4")[0], inputs[2].astype("f2"), *extra]
            cases.append(Case("GatherBlockQuantized", half, attributes, opset=1, domain=_MS))
    return cases + _typed_gathers()


def _typed_gathers() -> list[Case]:
    cases, note = [], "onnxruntime's Python interface has no arrays of these types"
    kinds = [ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float4_e2m1fn]
    for dtype in kinds:
        data = integers(3, 34, 5, low=0, high=7).astype(dtype)
        whole = dtype in kinds[:2]
        for gather, indices in ((0, i64(2, -1)), (1, np.array([[33], [1]], "int32")), (2, np.array(-2, "int64"))):
            scales, zeros = uniform(3, 3, 5), integers(3, 3, 5, low=0, high=7, seed=1).astype(dtype)
            values = data.astype("f4") - (np.repeat(zeros, 16, axis=1)[:, :34].astype("f4") if whole else 0)
            expected = np.take(values * np.repeat(scales, 16, axis=1)[:, :34], indices, axis=gather)
            attributes = {"block_size": 16, "quantize_axis": 1, "gather_axis": gather}
            inputs = [data, indices, scales, *([zeros] if whole else [])]
            cases.append(Case("GatherBlockQuantized", inputs, attributes, opset=1, domain=_MS, expected=[expected], note=note))
        if not whole:
            attributes = {"block_size": 0, "quantize_axis": -1, "gather_axis": 0}
            for scales in (uniform(3, 34, 1), uniform(1, 1, 1)):
                expected = (
                    np.take(data.astype("f4") * scales, indices := i64(1, 9), axis=0, mode="clip") * np.array([1, 0], "f4")[:, None, None]
                )
                inputs = [data, indices, scales]
                cases.append(Case("GatherBlockQuantized", inputs, attributes, opset=1, domain=_MS, expected=[expected], note=note))
    return cases


CASES = [*_n_bits(), *_normal_floats(), *_blobs(), *_gathers()]
