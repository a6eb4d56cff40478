"""Operators along axes: reductions, softmax, cumulative sums, orders."""

from __future__ import annotations

import numpy as np

from onnxgpu.dtypes import is_integer
from tests.schemas.draw import Draw
from tests.schemas.examples import Example, generates

POSITIVE = ("ReduceLogSum",)
UNDEFINED_OF_NOTHING = ("ReduceMean",)


@generates(
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "ReduceSumSquare"),
)
def reduction(draw: Draw) -> Example:
    """Small numbers, so that the order of summation does not matter; extremes where nothing is summed."""
    dtype = draw.dtype("data")
    shape = draw.shape((0, 4), (1 if draw.schema.name in UNDEFINED_OF_NOTHING else 0, 3))
    if draw.schema.name in ("ReduceMax", "ReduceMin"):
        x = without_nan(draw.anything(dtype, shape))
    elif is_integer(dtype) and draw.schema.name in ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp"):
        x = draw.plain(dtype, shape, 1, 3)
    else:
        x = draw.plain(dtype, shape, 0.25 if draw.schema.name in POSITIVE else -3, 3)
    attributes = draw.some({"keepdims": lambda: draw.integer(0, 1), "noop_with_empty_axes": lambda: draw.integer(0, 1)})
    axes = draw.axes(x.ndim, negative=draw.version >= 11) if draw.flag() else None
    if draw.seldom():
        return _reduce(draw, x, [x.ndim], attributes, f"axis {x.ndim} of {x.ndim} axes")
    return _reduce(draw, x, axes, attributes)


def without_nan(x: np.ndarray) -> np.ndarray:
    """Zeros in place of NaN, whose order the specification leaves open."""
    return x if x.dtype.kind == "O" else np.where(x != x, np.zeros((), x.dtype), x)


def _reduce(draw: Draw, x: np.ndarray, axes: list[int] | None, attributes: dict[str, object], invalid: str = "") -> Example:
    if len(draw.schema.inputs) == 1:
        return Example([x], attributes | ({"axes": axes} if axes else {}), invalid=invalid)
    return Example([x] if axes is None else [x, np.array(axes, np.int64)], attributes, invalid=invalid)


@generates("ArgMax", "ArgMin")
def index_of_extreme(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("data"), draw.shape((1, 3), (1, 4)))
    attributes = draw.some(
        {
            "keepdims": lambda: draw.integer(0, 1),
            "select_last_index": lambda: draw.integer(0, 1),
            "axis": lambda: draw.axis(x.ndim, negative=draw.version >= 11),
        }
    )
    return Example([x], attributes)


@generates("Softmax", "LogSoftmax", "Hardmax")
def softmax(draw: Draw) -> Example:
    dtype, shape = draw.dtype("input"), draw.shape((1, 3), (0, 4))
    x = draw.anything(dtype, shape)
    x = without_nan(x) if draw.schema.name == "Hardmax" else x
    if draw.seldom():
        return Example([x], {"axis": x.ndim + 1}, invalid=f"axis {x.ndim + 1} of {x.ndim} axes")
    needs_axis = x.ndim < 2 and draw.version < 13
    axis = {"axis": draw.axis(x.ndim, negative=draw.version >= 11)} if needs_axis or draw.flag() else {}
    return Example([x], axis)


@generates("CumSum", "CumProd")
def cumulative(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("x"), draw.shape((1, 3)), -3, 3)
    axis = np.array(draw.axis(x.ndim), draw.dtype("axis"))
    return Example([x, axis], draw.some({"exclusive": lambda: draw.integer(0, 1), "reverse": lambda: draw.integer(0, 1)}))


@generates("LpNormalization")
def lp_normalization(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("input"), draw.shape((1, 3)))
    return Example([x], draw.some({"p": lambda: draw.integer(1, 2), "axis": lambda: draw.axis(x.ndim)}))


@generates("TopK")
def top_k(draw: Draw) -> Example:
    """Distinct numbers, or equal ones, of which the one with the lower index comes first."""
    x = draw.plain(draw.dtype("X"), draw.shape((1, 3), (1, 5)))
    axis = draw.axis(x.ndim, negative=draw.version >= 11) if draw.flag() else x.ndim - 1
    k = draw.integer(0 if draw.version >= 10 else 1, x.shape[axis])
    attributes = {"axis": axis} if axis != x.ndim - 1 or draw.flag() else {}
    attributes |= draw.some({"largest": lambda: draw.integer(0, 1), "sorted": lambda: 1})
    if draw.version < 10:
        return Example([x], {**attributes, "k": k}, 2)
    if draw.seldom():
        return Example([x, np.array([x.shape[axis] + 1])], attributes, 2, invalid="k is greater than the axis")
    return Example([x, np.array([k])], attributes, 2)


@generates("Unique")
def unique(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("X"), draw.shape((1, 3), (1, 4)), 0, 2)
    attributes = draw.some({"sorted": lambda: draw.integer(0, 1), "axis": lambda: draw.axis(x.ndim)})
    outputs = [True, *(draw.flag() for _ in range(3))]
    while not outputs[-1]:
        outputs.pop()
    return Example([x], attributes, outputs)


@generates("NonZero")
def non_zero(draw: Draw) -> Example:
    return Example([draw.plain(draw.dtype("X"), draw.shape((1, 3)), -1, 1)])


@generates("Compress")
def compress(draw: Draw) -> Example:
    """The condition may be shorter than the axis."""
    x = draw.plain(draw.dtype("input"), draw.shape((1, 3)))
    axis = draw.axis(x.ndim, negative=draw.version >= 11) if draw.flag() else None
    size = x.size if axis is None else x.shape[axis]
    condition = draw.plain(bool, (draw.integer(0, size),))
    return Example([x, condition], {} if axis is None else {"axis": axis})


@generates("LRN")
def local_response(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("X"), draw.shape((3, 4), (1, 4)))
    numbers = draw.some({"alpha": lambda: draw.real(0.125, 1), "beta": lambda: draw.real(0.125, 1), "bias": lambda: draw.real(1, 2)})
    return Example([x], {"size": draw.among([1, 3, 5]), **numbers})
