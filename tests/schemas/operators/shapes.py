"""Operators that move elements without looking at them, or give shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxgpu.dtypes import code_of
from tests.schemas.draw import Draw
from tests.schemas.examples import Example, generates, initializer


def vector(values: Any, dtype: Any = np.int64) -> np.ndarray:
    return np.array(values, dtype).reshape(-1)


def with_axes(draw: Draw, x: np.ndarray, axes: list[int] | None, invalid: str = "") -> Example:
    """Axes as an attribute or, from opset 13, as an input."""
    if len(draw.schema.inputs) == 1:
        return Example([x], {} if axes is None else {"axes": axes}, invalid=invalid)
    return Example([x] if axes is None else [x, vector(axes)], invalid=invalid)


@generates("Reshape")
def reshape(draw: Draw) -> Example:
    """A rearrangement of the sizes; one of them as -1, kept ones as 0."""
    shape = draw.shape((0 if draw.version >= 5 else 1, 4), (1, 3))
    x = draw.anything(draw.dtype("data"), shape)
    cut = draw.integer(0, len(shape))
    target = [*shape[:cut], math.prod(shape[cut:])] if draw.flag() else [shape[i] for i in draw.order(len(shape))]
    if draw.seldom():
        target, invalid = [*target, 2], "one more factor"
    else:
        invalid = ""
        target = [0 if i < len(shape) and s == shape[i] and draw.flag() else s for i, s in enumerate(target)]
        if target and draw.flag():
            target[draw.integer(0, len(target) - 1)] = -1
    if draw.version < 5:
        return Example([x], {"shape": target}, invalid=invalid)
    return Example([x, vector(target)], draw.some({"allowzero": lambda: 0}), invalid=invalid)


@generates("Flatten")
def flatten(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("input"), draw.shape((0 if draw.version >= 9 else 1, 4)))
    low = -x.ndim if draw.version >= 11 else 0
    least = 0 if x.ndim else None
    return Example([x], {"axis": 0} if least is None else draw.some({"axis": lambda: draw.integer(low, x.ndim)}))


@generates("Squeeze")
def squeeze(draw: Draw) -> Example:
    shape = draw.shape((0, 4), (1, 2))
    x = draw.anything(draw.dtype("data"), shape)
    if draw.seldom() and any(size > 1 for size in shape):
        return with_axes(draw, x, [next(i for i, s in enumerate(shape) if s > 1)], "the axis has more than one element")
    ones = [i for i, size in enumerate(shape) if size == 1]
    axes = [i - x.ndim if draw.version >= 11 and draw.flag() else i for i in ones if draw.flag()]
    return with_axes(draw, x, axes or None)


@generates("Unsqueeze")
def unsqueeze(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("data"), draw.shape())
    count = draw.integer(1, 2)
    rank = x.ndim + count
    axes = draw.order(rank)[:count]
    if draw.version < 11:
        axes.sort()
    elif draw.seldom():
        return with_axes(draw, x, [0] * count if count > 1 else [x.ndim + 1], "an axis twice, or out of range")
    else:
        axes = [a - rank if draw.flag() else a for a in axes]
    return with_axes(draw, x, axes)


@generates("Transpose")
def transpose(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("data"), draw.shape((0, 4)))
    return Example([x], draw.some({"perm": lambda: draw.order(x.ndim)}) if x.ndim else {})


@generates("Expand")
def expand(draw: Draw) -> Example:
    full = draw.shape()
    x = draw.anything(draw.dtype("input"), draw.narrowed(full))
    return Example([x, vector(draw.narrowed(full) if draw.flag() else full)])


@generates("Tile")
def tile(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("input"), draw.shape((1, 3)))
    if draw.version < 6:
        dtype = x.dtype
        return Example([x, np.array(draw.integer(1, 3), dtype), np.array(draw.axis(x.ndim, negative=False), dtype)])
    return Example([x, vector([draw.size(0, 3) for _ in range(x.ndim)])])


@generates("Shape", "Size")
def shape_of(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("data"), draw.shape((0, 4)))
    return Example([x], draw.some({"start": lambda: draw.integer(-5, 5), "end": lambda: draw.integer(-5, 5)}))


@generates("Concat")
def concat(draw: Draw) -> Example:
    dtype, shape = draw.dtype("inputs"), draw.shape((1, 3))
    axis = draw.axis(len(shape), negative=draw.version >= 11)
    place = axis % len(shape)
    shapes = [(*shape[:place], draw.size(), *shape[place + 1 :]) for _ in range(draw.integer(1, 4))]
    if draw.seldom():
        return Example([draw.plain(dtype, s) for s in shapes], {"axis": len(shape)}, invalid="no such axis")
    attributes = {"axis": axis} if draw.version >= 4 or axis != 1 else {}
    return Example([draw.anything(dtype, s) for s in shapes], attributes)


@generates("Split")
def split(draw: Draw) -> Example:
    shape = list(draw.shape((1, 3), (1, 3)))
    axis = draw.axis(len(shape), negative=draw.version >= 11)
    parts = [draw.size(0 if draw.version >= 11 else 1, 3) for _ in range(draw.integer(1, 3))]
    where = {"axis": axis} if axis or draw.flag() else {}
    dtype = draw.dtype("input")
    if draw.flag():
        shape[axis] = sum(parts)
        x = draw.plain(dtype, tuple(shape))
        if draw.version == 1 and len(draw.schema.inputs) == 2:
            return Example([x, vector(parts, dtype)], where, len(parts))
        if draw.version < 13:
            return Example([x], {**where, "split": parts}, len(parts))
        if draw.seldom():
            return Example([x, vector([*parts[:-1], parts[-1] + 1])], where, len(parts), invalid="the parts are larger than the axis")
        return Example([x, vector(parts)], where, len(parts))
    count = len(parts)
    if draw.version < 18:
        shape[axis] = draw.integer(1, 2) * count
        return Example([draw.plain(dtype, tuple(shape))], where, count)
    chunk = draw.integer(1, 3)
    shape[axis] = max(count, chunk * count - draw.integer(0, chunk - 1))
    return Example([draw.plain(dtype, tuple(shape))], {**where, "num_outputs": count}, count)


@generates("Slice")
def slices(draw: Draw) -> Example:
    """Bounds inside, at and beyond both ends of the axis."""
    x = draw.anything(draw.dtype("data"), draw.shape((1, 3), (0, 4)))
    count = draw.integer(1, x.ndim)
    chosen = draw.order(x.ndim)[:count] if draw.flag() else list(range(count))
    bounds = [-(2**31) + 1, -5, -2, -1, 0, 1, 3, 2**31 - 1]
    starts, ends = ([draw.among(bounds) for _ in chosen] for _ in range(2))
    if draw.version < 10:
        return Example([x], {"starts": starts, "ends": ends, **({} if chosen == list(range(count)) else {"axes": chosen})})
    dtype = draw.dtype("starts")
    steps = [draw.among([1, 2, -1, -2, 3]) for _ in chosen]
    axes = [a - x.ndim if draw.version >= 11 and draw.flag() else a for a in chosen]
    more = [vector(axes, dtype), vector(steps, dtype)] if draw.flag() else [vector(axes, dtype)]
    if chosen == list(range(count)) and draw.flag():
        more = [None, vector(steps, dtype)] if draw.flag() else []  # type: ignore[list-item]
    if draw.seldom():
        more = [vector(axes, dtype), vector([0] * count, dtype)]
        return Example([x, vector(starts, dtype), vector(ends, dtype), *more], invalid="a step of 0")
    return Example([x, vector(starts, dtype), vector(ends, dtype), *more])


@generates("Pad")
def pad(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("data"), draw.shape((1, 3), (1, 4)))
    modes = ["constant", "edge", "reflect"] + (["wrap"] if draw.version >= 19 else [])
    mode = draw.among(modes)
    axes = draw.order(x.ndim)[: draw.integer(1, x.ndim)] if draw.version >= 18 and draw.flag() else list(range(x.ndim))
    pads = []
    for axis in axes * 2:
        most = x.shape[axis] - 1 if mode == "reflect" else 3
        pads.append(draw.integer(-1 if mode == "constant" and x.shape[axis] > 2 else 0, most))
    attributes = {"mode": mode} if mode != "constant" or draw.flag() else {}
    if draw.version < 11:
        name = "pads" if draw.version >= 2 else "paddings"
        return Example([x], {**attributes, name: pads, **draw.some({"value": lambda: draw.real()})})
    value = draw.plain(x.dtype, ()) if draw.flag() else None
    if len(axes) < x.ndim or (draw.version >= 18 and draw.flag()):
        dtype = draw.dtype("axes")
        return Example([x, vector(pads), value, vector([a - x.ndim if draw.flag() else a for a in axes], dtype)], attributes)
    return Example([x, vector(pads)] + ([] if value is None else [value]), attributes)


@generates("CenterCropPad")
def center_crop_pad(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("input_data"), draw.shape((1, 3), (1, 4)))
    axes = draw.axes(x.ndim, least=1) if draw.flag() else None
    count = x.ndim if axes is None else len(axes)
    sizes = vector([draw.integer(1, 5) for _ in range(count)], draw.dtype("shape"))
    return Example([x, sizes], {} if axes is None else {"axes": axes})


@generates("DepthToSpace", "SpaceToDepth")
def depth_and_space(draw: Draw) -> Example:
    block, (n, c, h, w) = draw.integer(1, 3), draw.shape((4, 4), (1, 2))
    deep = draw.schema.name == "DepthToSpace"
    shape = (n, c * block * block, h, w) if deep else (n, c, h * block, w * block)
    modes = {"mode": lambda: draw.among(["DCR", "CRD"])}
    return Example([draw.plain(draw.dtype("input"), shape)], {"blocksize": block, **draw.some(modes)})


@generates("Trilu")
def triangle(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("input"), draw.shape((2, 3), (0, 4)))
    k = [np.array(draw.integer(-5, 5))] if draw.flag() else []
    return Example([x, *k], draw.some({"upper": lambda: draw.integer(0, 1)}))


@generates("ReverseSequence")
def reverse_sequence(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("input"), draw.shape((2, 4), (1, 4)))
    time = draw.integer(0, 1)
    lengths = vector([draw.integer(1, x.shape[time]) for _ in range(x.shape[1 - time])])
    return Example([x, lengths], {"time_axis": time, "batch_axis": 1 - time} if time or draw.flag() else {})


@generates("EyeLike")
def eye_like(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("input"), draw.shape((2, 2), (1, 4)))
    target = draw.dtype("output")
    return Example([x], draw.some({"k": lambda: draw.integer(-4, 4), "dtype": lambda: code_of(target)}))


@generates("OneHot")
def one_hot(draw: Draw) -> Example:
    """Indices out of range give rows without a one."""
    depth, shape = draw.integer(1, 4), draw.shape((1, 2), (1, 3))
    indices = draw.plain(draw.dtype("indices"), shape, -depth - 1, depth + 1)
    if indices.dtype.kind == "f":
        indices = np.trunc(indices)
    axis = draw.some({"axis": lambda: draw.integer(-len(shape) - 1, len(shape))})
    many = np.array(depth, draw.dtype("depth")).reshape(draw.among([(), (1,)]))
    return Example([indices, many, draw.plain(draw.dtype("values"), (2,))], axis)


@generates("ConstantOfShape")
def constant_of_shape(draw: Draw) -> Example:
    value = {"value": lambda: initializer("value", draw.plain(draw.dtype("output"), (1,)))}
    return Example([vector(draw.shape())], draw.some(value))


@generates("Constant")
def constant(draw: Draw) -> Example:
    forms: dict[str, Callable[[], Any]] = {
        "value_int": lambda: draw.integer(-9, 9),
        "value_ints": lambda: [draw.integer(-9, 9) for _ in range(draw.integer(1, 3))],
        "value_float": lambda: draw.real(),
        "value_floats": lambda: [draw.real() for _ in range(draw.integer(1, 3))],
        "value_string": lambda: "Straße",
        "value_strings": lambda: ["a", "日本", ""],
    }
    known = [name for name in forms if name in draw.schema.attributes]
    if known and draw.flag():
        name = draw.among(known)
        return Example([], {name: forms[name]()})
    return Example([], {"value": initializer("value", draw.anything(draw.dtype("output"), draw.shape()))})


@generates("Range")
def ranges(draw: Draw) -> Example:
    dtype = draw.dtype("start")
    start, limit = draw.integer(0, 5), draw.integer(0, 5)
    delta = draw.among([1, 2, 3]) if limit >= start or dtype.kind == "u" else draw.among([-1, -2, 1])
    return Example([np.array(value, dtype) for value in (start, limit, delta)])
