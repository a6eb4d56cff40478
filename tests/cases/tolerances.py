"""How close two results of one dtype have to be, by name of the reason."""

from __future__ import annotations

import numpy as np

EXACT = (0.0, 0.0)
ROUNDING = {
    "float16": (2e-3, 2e-3),
    "bfloat16": (2e-2, 2e-2),
    "float32": (1e-5, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1e-5, 1e-5),
    "complex128": (1e-7, 1e-7),
}


def tolerance(dtype: np.dtype) -> tuple[float, float]:
    """rtol and atol for results of `dtype`."""
    return ROUNDING.get(str(dtype), EXACT)


def assert_same(actual: object, expected: object, rtol: float | None = None, atol: float | None = None) -> None:
    """Compare two values of any ONNX type: dtype, shape and elements; sequences, maps and None recursively."""
    if isinstance(expected, (list, tuple)):
        assert isinstance(actual, (list, tuple)) and len(actual) == len(expected), f"{actual!r} against {expected!r}"
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e, rtol, atol)
        return
    if expected is None or isinstance(expected, dict):
        assert actual == expected
        return
    e, a = np.asarray(expected), np.asarray(actual)
    if e.dtype.kind in "OUS":
        assert a.dtype.kind in "OUS" and a.tolist() == e.tolist(), f"{a!r} against {e!r}"
        return
    assert a.dtype == e.dtype, f"dtype {a.dtype} against {e.dtype}"
    assert a.shape == e.shape, f"shape {a.shape} against {e.shape}"
    r, t = tolerance(e.dtype)
    if e.dtype.kind == "V" or str(e.dtype) in ("bfloat16",):
        a, e = a.astype(np.float64), e.astype(np.float64)
    np.testing.assert_allclose(a, e, rtol=r if rtol is None else rtol, atol=t if atol is None else atol)
