"""Small operators of domain com.microsoft: ranges, slices, distances and products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, scalar

_X = normal(2, 3, 7)
_TEXTS = np.array([["a", "b"], ["c", "d"]], object)


def _case(name: str, *inputs: np.ndarray | None, **attributes: Any) -> Case:
    return Case(name, inputs, attributes, opset=1, domain="com.microsoft")


def _sparse(dtype: str, **attributes: Any) -> Case:
    a, b = integers(3, 4, low=0, high=3, dtype=dtype), integers(4, 5, low=0, high=9, dtype=dtype)
    alpha, turned = attributes.get("alpha", 1.0), attributes.get("transA", 0)
    return Case(
        "SparseToDenseMatMul",
        [np.ascontiguousarray(a.T) if turned else a, np.ascontiguousarray(b.T) if attributes.get("transB") else b],
        attributes,
        opset=1,
        domain="com.microsoft",
        expected=[(a.astype("f8") @ b.astype("f8") * alpha).astype(dtype)],
        note="onnxruntime takes A in sparse form alone (tests/test_contrib_operators.py compares with it)",
    )


_WELL_CONDITIONED = normal(2, 4, 4) + 4 * np.eye(4, dtype="f")

CASES = [
    *(_case("Range", scalar(0, t), scalar(7, t), scalar(2, t)) for t in ("f4", "f8", "i2", "i4", "i8")),
    _case("Range", scalar(0.5), scalar(4.2)),
    _case("Range", np.array([5], "i4"), np.array([0], "i4")),
    _case("Range", np.array([5], "i8"), np.array([-2], "i8"), np.array([-3], "i8")),
    *(_case("ExpandDims", _X, scalar(axis, "i4")) for axis in (0, 2, 3, -1, -4)),
    _case("ExpandDims", _TEXTS, np.array([1], "i4")),
    _case("GatherND", _X, np.array([[1, -1], [0, 2]], "i8")),
    _case("GatherND", _TEXTS, np.array([[[1]], [[0]]], "i4")),
    *(_case("UnfoldTensor", _X, size=3, step=step, dim=dim) for step, dim in ((1, -1), (2, 2), (1, 1))),
    _case("UnfoldTensor", _X, size=7),
    _case("UnfoldTensor", integers(9, dtype="i4"), size=2, step=3, dim=0),
    Case(
        "UnfoldTensor",
        [_TEXTS],
        {"size": 2, "dim": 0},
        opset=1,
        domain="com.microsoft",
        expected=[np.array([[["a", "c"], ["b", "d"]]], object)],
        note="onnxruntime has no strings here",
    ),
    *(_case("CDist", normal(5, 4, dtype=t), normal(3, 4, dtype=t), metric=m) for t in ("f4", "f8") for m in ("euclidean", "sqeuclidean")),
    _case("CDist", normal(5, 4), normal(3, 4)),
    _case("CDist", normal(0, 4), normal(3, 4)),
    *(_case("Inverse", _WELL_CONDITIONED.astype(t)) for t in ("f4", "f8", "f2")),
    _case("Inverse", _WELL_CONDITIONED[0]),
    _case("Inverse", np.array([[0, 1, 0], [0, 0, 2], [4, 0, 0]], "f")),
    _case("Inverse", normal(2, 37, 37, dtype="f8") + 3 * np.eye(37)),
    _case("Inverse", normal(100, 100, dtype="f8") + 8 * np.eye(100)),
    _case("TransposeMatMul", normal(4, 3), normal(4, 5), transA=1, alpha=0.5),
    _case("TransposeMatMul", normal(2, 4, 3), normal(5, 3), transB=1),
    *(_sparse(t) for t in ("f4", "f8", "i4", "i8", "u4", "u8")),
    _sparse("f4", transA=1, transB=1, alpha=0.5),
    _sparse("i8", transB=1, alpha=3.0),
]
