"""Operators that take or put elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schemas.draw import Draw
from tests.schemas.examples import Example, generates

BOUND = "an index is out of bounds"


@generates("Gather")
def gather(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("data"), draw.shape((1, 3), (1, 4)))
    axis = draw.axis(x.ndim, negative=draw.version >= 11) if draw.flag() else 0
    indices = draw.indices(draw.shape((0, 2)), x.shape[axis], draw.dtype("indices"), negative=draw.version >= 11)
    if draw.seldom() and indices.size:
        indices.flat[0] = x.shape[axis]
        return Example([x, indices], {"axis": axis}, invalid=BOUND)
    return Example([x, indices], {"axis": axis} if axis or draw.flag() else {})


@generates("GatherElements")
def gather_elements(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("data"), draw.shape((1, 3), (1, 4)))
    axis = draw.axis(x.ndim)
    shape = tuple(draw.size(0, 4) if i == axis % x.ndim else draw.integer(1, s) for i, s in enumerate(x.shape))
    indices = draw.indices(shape, x.shape[axis], draw.dtype("indices"))
    if draw.seldom() and indices.size:
        indices.flat[0] = -x.shape[axis] - 1
        return Example([x, indices], {"axis": axis}, invalid=BOUND)
    return Example([x, indices], {"axis": axis} if axis or draw.flag() else {})


def _nd_indices(draw: Draw, shape: tuple[int, ...], batch: int) -> np.ndarray:
    depth = draw.integer(1, len(shape) - batch)
    lead = (*shape[:batch], *draw.shape((0, 2) if batch else (1, 2)))
    columns = [draw.indices(lead, shape[batch + i]) for i in range(depth)]
    return np.stack(columns, -1)


@generates("GatherND")
def gather_nd(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("data"), draw.shape((1, 4), (1, 3)))
    batch = draw.integer(0, min(x.ndim - 1, 1)) if draw.version >= 12 else 0
    indices = _nd_indices(draw, x.shape, batch)
    if draw.seldom() and indices.size:
        indices.flat[0] = x.shape[batch]
        return Example([x, indices], {"batch_dims": batch} if batch else {}, invalid=BOUND)
    return Example([x, indices], {"batch_dims": batch} if batch else {})


@generates("Scatter", "ScatterElements")
def scatter(draw: Draw) -> Example:
    """Indices do not repeat, unless a reduction makes their order immaterial."""
    dtype = draw.dtype("data")
    reductions = {11: ["none"], 16: ["none", "add", "mul"], 18: ["none", "add", "mul", "max", "min"]}
    known = next(names for since, names in sorted(reductions.items(), reverse=True) if since <= max(draw.version, 11))
    mode = draw.among(known if dtype not in (object, bool) else ["none"])
    x = draw.plain(dtype, draw.shape((1, 3), (1, 4)), -2, 2)
    axis = draw.axis(x.ndim, negative=draw.version >= 11)
    place = axis % x.ndim
    shape = tuple(draw.integer(1, s) for s in x.shape)
    if mode == "none":
        order = np.stack([draw.generator.permutation(x.shape[place])[: shape[place]] for _ in range(int(np.prod(shape)) // shape[place])])
        moved = shape[:place] + shape[place + 1 :]
        indices = np.moveaxis(order.reshape(*moved, shape[place]), -1, place)
        if draw.version >= 11 and draw.flag():
            indices = indices - x.shape[place]
    else:
        indices = draw.indices(shape, x.shape[place])
    attributes: dict[str, Any] = {"axis": axis} if axis or draw.flag() else {}
    attributes |= {"reduction": mode} if mode != "none" else {}
    return Example([x, np.ascontiguousarray(indices).astype(draw.dtype("indices")), draw.plain(dtype, shape, -2, 2)], attributes)


@generates("ScatterND")
def scatter_nd(draw: Draw) -> Example:
    dtype = draw.dtype("data")
    x = draw.plain(dtype, draw.shape((1, 3), (1, 4)), -2, 2)
    depth = draw.integer(1, x.ndim)
    cells = int(np.prod(x.shape[:depth]))
    known = ["none"] + (["add", "mul"] if draw.version >= 16 else []) + (["max", "min"] if draw.version >= 18 else [])
    mode = draw.among(known if dtype not in (object, bool) else ["none"])
    count = draw.integer(0, cells)
    flat = draw.generator.permutation(cells)[:count] if mode == "none" else draw.generator.integers(0, cells, count)
    indices = np.stack(np.unravel_index(flat, x.shape[:depth]), -1).astype(np.int64).reshape(count, depth)
    updates = draw.plain(dtype, (count, *x.shape[depth:]), -2, 2)
    if draw.seldom() and indices.size:
        indices[0, 0] = x.shape[0]
        return Example([x, indices, updates], invalid=BOUND)
    return Example([x, indices, updates], {"reduction": mode} if mode != "none" else {})


@generates("TensorScatter")
def tensor_scatter(draw: Draw) -> Example:
    shape = draw.shape((3, 4), (1, 4))
    axis = draw.integer(1, len(shape) - 1)
    count = draw.integer(1, shape[axis])
    cache = draw.plain(draw.dtype("past_cache"), shape)
    update = draw.plain(cache.dtype, (*shape[:axis], count, *shape[axis + 1 :]))
    mode = draw.among(["linear", "circular"])
    most = shape[axis] - 1 if mode == "circular" else shape[axis] - count
    starts = [draw.generator.integers(0, most + 1, shape[0])] if draw.flag() else []
    return Example([cache, update, *starts], {"axis": axis - len(shape) if draw.flag() else axis, "mode": mode})


@generates("ArrayFeatureExtractor", domain="ai.onnx.ml")
def array_feature_extractor(draw: Draw) -> Example:
    x = draw.anything(draw.dtype("X"), draw.shape((1, 3), (1, 4)))
    indices = draw.indices((draw.integer(1, 3),), x.shape[-1], negative=False)
    return Example([x, indices])
