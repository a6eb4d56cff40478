"""Reduce*: axes as attribute and as input, types, empty inputs."""

from __future__ import annotations

import numpy as np

from onnxgpu.dtypes import dtype_named
from tests.cases import Case
from tests.cases.random_arrays import i64, integers, normal, uniform

_SINCE = {"ReduceSum": 13}
_ALL = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
_NAMES = tuple(f"Reduce{name}" for name in _ALL)
_X = uniform(2, 3, 4, low=0.5, high=2.0)


def _of(name: str) -> list[Case]:
    input_opset = max(18, _SINCE.get(name, 18))
    return [
        Case(name, [_X], {"axes": [1]}, opset=11),
        Case(name, [_X], {"axes": [-1, 0], "keepdims": 0}, opset=11),
        Case(name, [_X], {"keepdims": 0}, opset=11),
        Case(name, [_X], {"axes": [2]}, opset=8 if name != "ReduceMax" else 11, oracle="reference"),
        Case(name, [_X, i64(1, 2)], {"keepdims": 0}, opset=input_opset),
        Case(name, [_X, i64(-2)], {}, opset=input_opset),
        Case(name, [_X], {}, opset=input_opset),
        Case(name, [_X, i64()], {"keepdims": 0}, opset=input_opset),
        Case(name, [_X, i64(0)], {}, opset=21),
        Case(name, [_X.astype(np.float64), i64(0, 1)], {}, opset=18),
    ]


CASES = [case for name in _NAMES for case in _of(name)]
CASES += [
    Case(name, [normal(*shape), i64(*axes)], opset=18, rtol=1e-4, atol=1e-4)
    for name in ("ReduceMean", "ReduceMax", "ReduceSumSquare", "ReduceLogSumExp")
    for shape, axes in (
        ((37, 3), (1,)),
        ((5, 260), (1,)),
        ((3, 1501), (1,)),
        ((2, 9001), (1,)),
        ((3, 4, 8, 6), (0, 2, 3)),
        ((2, 3, 5, 7), (0, 2)),
    )
]
CASES += [
    Case(name, [integers(3, 4, dtype=dtype, low=0, high=5), i64(1)], opset=18)
    for name in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1")
    for dtype in ("int32", "int64")
]
CASES += [Case(name, [integers(3, 4, dtype=dtype), i64(0)], opset=18) for name in ("ReduceMax", "ReduceMin") for dtype in ("int8", "uint8")]
CASES += [Case(name, [integers(3, 4, low=0, high=2, dtype=bool), i64(0)], opset=20) for name in ("ReduceMax", "ReduceMin")]
CASES += [
    Case("ReduceMean", [integers(3, 5, dtype="int32"), i64(1)], opset=18),
    Case("ReduceSum", [_X], {"noop_with_empty_axes": 1}, opset=13),
    Case("ReduceSumSquare", [_X], {"noop_with_empty_axes": 1}, opset=18, expected=[_X * _X], note="onnxruntime copies the input"),
    Case("ReduceSum", [np.zeros((2, 0, 3), "f"), i64(1)], opset=13),
    Case("ReduceProd", [np.zeros((2, 0, 3), "f"), i64(1)], {"keepdims": 0}, opset=18, oracle="reference"),
    Case("ReduceMax", [np.zeros((2, 0), "f"), i64(1)], opset=20, oracle="reference"),
    Case("ReduceMin", [np.zeros((2, 0), "int32"), i64(1)], opset=20, expected=[np.full((2, 1), 2**31 - 1, "int32")]),
    *(Case("ReduceMean", [np.zeros((2, 0), dtype), i64(1)], opset=18, oracle="onnxruntime") for dtype in ("f", "int32")),
    *(
        Case(name, [np.zeros(shape, "int32")], {"keepdims": 0}, opset=18, oracle="onnxruntime")
        for name in ("ReduceMean", "ReduceLogSum")
        for shape in (0, 3)
    ),
    Case(
        "ReduceLogSumExp",
        [np.array([[1000.0, 1000.0], [-np.inf, -np.inf]], "f"), i64(1)],
        opset=18,
        expected=[np.array([[1000 + np.log(2)], [-np.inf]], "f")],
        note="the reference subtracts infinities",
    ),
    Case("ReduceSum", [np.full((1, 4096), 1, np.float16), i64(1)], opset=13, expected=[np.full((1, 1), 4096, np.float16)]),
    Case("ReduceMean", [normal(4, 300, dtype=np.float16), i64(1)], opset=18, oracle="reference"),
    Case("ReduceSum", [np.array(3.0, "f")], {"keepdims": 0}, opset=13),
]

_DEEP = uniform(2, 3, 2, 3, 2, 3, low=0.5, high=1.5)
_LONG = uniform(2, 20011, low=-1.0, high=1.0)
_TALL = uniform(3001, 5, low=-1.0, high=1.0)
CASES += [Case(name, [uniform(3, 5, 4, 7, low=0.5, high=1.5), i64(0, 2)], {"keepdims": 0}, opset=18) for name in _NAMES]
CASES += [Case(name, [_DEEP, i64(0, 2, 4)], opset=18) for name in _NAMES]
CASES += [Case(name, [_DEEP, i64(1, 3, 5)], opset=18) for name in ("ReduceSum", "ReduceMax")]
CASES += [
    Case(name, [x, i64(axis)], opset=18, rtol=1e-4, atol=1e-3, oracle="reference")
    for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp")
    for x, axis in ((_LONG, 1), (_TALL, 0))
]
CASES += [
    Case(name, [uniform(3, 75, low=0.5, high=1.1).astype(dtype), i64(axis)], opset=18, oracle="reference", rtol=0.02)
    for name in ("ReduceSum", "ReduceMax", "ReduceProd", "ReduceL2", "ReduceLogSumExp")
    for dtype in (np.float16, dtype_named("bfloat16"))
    for axis in (0, 1)
]
CASES += [
    Case(name, [np.array([[np.nan, 1, 2], [3, np.nan, 4], [5, 6, np.inf]], "f"), i64(1)], opset=18, oracle="reference")
    for name in ("ReduceMax", "ReduceMin", "ReduceSum")
]
CASES += [
    Case(name, [integers(3, 40, dtype=dtype, low=0, high=9), i64(axis)], opset=18, oracle="reference")
    for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1")
    for dtype in ("uint32", "uint64", "int64")
    for axis in (0, 1)
]
