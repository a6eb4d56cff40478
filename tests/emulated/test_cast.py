"""Casts between all pairs of element types, bit for bit as the CPU provider's, on the emulated device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxgpu.dtypes import dtype_named, is_integer
from onnxgpu.providers.array_ops.cast import converted as expected_cast
from onnxgpu.providers.cuda.kernels import C_TYPES
from onnxgpu.providers.cuda.narrow import bits_of, typed
from onnxgpu.providers.cuda.operators.cast import converted

NARROW_FLOATS = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0", "float4e2m1")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def samples(name: str) -> np.ndarray:
    """All values of a type of up to 16 bits; of wider ones what lies on, beside and between the values of narrow floats, and edges."""
    dtype = dtype_named(name)
    if name == "bool":
        return np.array([False, True])
    if dtype.itemsize == 1:
        count = {"int4": 16, "uint4": 16, "float4e2m1": 16, "int2": 4, "uint2": 4}.get(name, 256)
        return np.arange(count, dtype=np.uint8).view(dtype)
    if dtype.itemsize == 2:
        return np.arange(1 << 16, dtype=np.uint16).view(dtype)
    if is_integer(dtype):
        info = np.iinfo(dtype)
        powers = [1 << n for n in range(info.bits - (info.min < 0))]
        near = [v + d for v in powers for d in (-1, 0, 1)] + [(v | v >> 9) + d for v in powers for d in (-1, 0, 1)]
        return np.array([n for v in near for n in (v, -v) if info.min <= n <= info.max] + [info.min, info.max], dtype)
    values = np.concatenate([np.arange(256, dtype=np.uint8).view(dtype_named(n)).astype(dtype) for n in NARROW_FLOATS[:4]])
    values = np.unique(np.abs(values[np.isfinite(values)]))
    middle = (values[1:] + values[:-1]) / 2
    points = np.concatenate([values, middle, values * dtype.type(1.5), 2.0 ** np.arange(-149, 128).astype(dtype)]).astype(dtype)
    points = np.concatenate([points, np.nextafter(points, dtype.type(0)), np.nextafter(points, dtype.type(np.inf))])
    edges = np.array([0, np.nan, np.inf, 65504, 65520, 1e-40, 3e38, 1e-30], dtype)
    return np.concatenate([points, -points, edges, -edges]).astype(dtype)


def defined(x: np.ndarray, target: np.dtype) -> np.ndarray:
    """The elements whose cast C defines: floats have to be in the range of the integer type."""
    wide = x.astype(np.float64) if not is_integer(x.dtype) else None
    if wide is None or not is_integer(target):
        return x
    bits = 8 * target.itemsize if target.kind in "iu" else 32
    least, greatest = (0.0, 2.0**bits) if target.kind == "u" else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1))
    if target.kind not in "iu":
        greatest -= 1  # NumPy rounds to float before, which takes what is nearer to the limit beyond it
    return x[(wide >= least) & (wide < greatest)]


@pytest.mark.parametrize("target", C_TYPES)
@pytest.mark.parametrize("source", C_TYPES)
def test_all_values(source: str, target: str, cp: Any) -> None:
    dtype = dtype_named(target)
    x = defined(samples(source), dtype)
    array = typed(cp.asarray(bits_of(x)), x.dtype)
    modes = [(True, "up")]
    modes += [(False, "up")] if "float8" in target else []
    modes += [(saturate, mode) for saturate in (False, True) for mode in ("down", "nearest")] if target == "float8e8m0" else []
    for saturate, mode in modes:
        found = cp.asnumpy(bits_of(converted(cp, array, dtype, saturate, mode)))
        expected = expected_cast(np, x, dtype, saturate, mode)
        if found.dtype == np.uint8:
            is_number = ~np.isnan(x.astype(np.float64))  # NaN has no sign
            differing = np.flatnonzero(is_number & (found.view(np.uint8) != expected.view(np.uint8)))
            np.testing.assert_array_equal(found.view(dtype).astype(np.float64), expected.astype(np.float64))
            text = [(x[i], found.view(dtype)[i], expected[i]) for i in differing[:8]]
            assert not differing.size, f"saturate={saturate}, {mode}: {text}"
        else:
            np.testing.assert_array_equal(found.view(dtype).astype(np.float64), expected.astype(np.float64))
