"""Joining tensors and cutting them up along an axis: Concat, Split, Tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import braced, integer, integers
from onnxgpu.providers.array_ops.registry import operator


def concatenated_spec(*inputs: Array, axis: int = 1, **_: Any) -> Spec:
    """The spec of `inputs` joined along `axis`.

    Raises:
        Fail: ranks differ, or sizes differ in another dimension than `axis`.
    """
    first = inputs[0].shape
    axis = normalized_axis(axis, len(first), "Concat")
    before, after = first[:axis], first[axis + 1 :]
    total = 0
    for x in inputs:
        shape = x.shape
        if len(shape) != len(first) or shape[:axis] != before or shape[axis + 1 :] != after:
            raise Fail(_mismatch(first, shape, axis))
        total += shape[axis]
    return Spec((*before, total, *after), inputs[0].dtype)


def _mismatch(first: tuple[int, ...], shape: tuple[int, ...], axis: int) -> str:
    if len(shape) != len(first):
        return f"Ranks of input data are different, cannot concatenate them. expected rank: {len(first)} got: {len(shape)}"
    wrong = next(i for i in range(len(first)) if i != axis and shape[i] != first[i])
    return f"Non concat axis dimensions must match: Axis {wrong} has mismatched dimensions of {shape[wrong]} and {first[wrong]}"


@operator("Concat", specs=concatenated_spec, alone=True)
def concat_1(xp: Any, *inputs: Array, axis: int = 1, out: Array = None) -> Array:
    """The inputs one after the other along `axis`. Spec: https://onnx.ai/onnx/operators/onnx__Concat.html"""
    return xp.concatenate(inputs, axis, out=out)


@operator("Concat", since=4, specs=concatenated_spec, alone=True)
def concat(xp: Any, *inputs: Array, axis: int, out: Array = None) -> Array:
    """The inputs one after the other along `axis`. Spec: https://onnx.ai/onnx/operators/onnx__Concat.html"""
    return xp.concatenate(inputs, axis, out=out)


def pieces(x: Array, lengths: Sequence[int], axis: int) -> tuple[Array, ...]:
    """Views of `x`, the given lengths along `axis` (not negative) one after the other."""
    prefix = (slice(None),) * axis
    found = []
    start = 0
    for length in lengths:
        found.append(x[(*prefix, slice(start, start + length))])
        start += length
    return tuple(found)


def _split(x: Array, lengths: Sequence[int] | None, axis: int, output_count: int) -> tuple[Array, ...]:
    axis = normalized_axis(axis, x.ndim, "Split")
    size = x.shape[axis]
    if lengths is None:
        if size % output_count:
            raise Fail(
                f"Input cannot be split evenly on selected axis. Input shape={braced(x.shape)} Axis={axis} NumOutputs={output_count}"
            )
        lengths = [size // output_count] * output_count
    if min(lengths, default=0) < 0:
        raise Fail(f"Invalid value in 'split' input. All values must be >= 0, got {list(lengths)}")
    if len(lengths) != output_count or sum(lengths) != size:
        raise Fail(
            f"Cannot split using values in 'split' attribute. Axis={axis} Input shape={braced(x.shape)} NumOutputs={output_count} "
            f"Num entries in 'split' (must equal number of outputs) was {len(lengths)} "
            f"Sum of sizes in 'split' (must equal size of selected axis) was {sum(lengths)}"
        )
    return pieces(x, lengths, axis)


@operator("Split", view=True, host=("lengths",))
def split_1(
    xp: Any, x: Array, lengths: Array | None = None, *, axis: int = 0, split: Sequence[int] = (), output_count: int
) -> tuple[Array, ...]:
    """Pieces along `axis`, of the lengths `split` (attribute or input) or equal. Spec: https://onnx.ai/onnx/operators/onnx__Split.html"""
    given = split or (integers(lengths) if lengths is not None else None)
    return _split(x, given and [int(length) for length in given], axis, output_count)


@operator("Split", since=13, view=True, host=("split",))
def split(
    xp: Any, x: Array, split: Array | None = None, *, axis: int = 0, num_outputs: int | None = None, output_count: int
) -> tuple[Array, ...]:
    """Pieces along `axis`, of the lengths `split` or equal; with `num_outputs` the last may be shorter.

    Spec: https://onnx.ai/onnx/operators/onnx__Split.html
    """
    if split is not None:
        return _split(x, integers(split), axis, output_count)
    if num_outputs is None:
        return _split(x, None, axis, output_count)
    size = x.shape[normalized_axis(axis, x.ndim, "Split")]
    chunk = -(-size // num_outputs)
    last = size - chunk * (num_outputs - 1)
    if last < 0:
        raise Fail(f"Invalid num_outputs value of {num_outputs}. Split sizes would produce a negative final split.")
    return _split(x, [chunk] * (num_outputs - 1) + [last], axis, output_count)


def _tiled(xp: Any, x: Array, repeats: Sequence[int], out: Array) -> Array:
    if out is None:
        return xp.tile(x, repeats)
    interleaved = [size for pair in zip(repeats, x.shape, strict=True) for size in pair]
    single = [size for pair in zip((1,) * x.ndim, x.shape, strict=True) for size in pair]
    out.reshape(interleaved)[...] = x.reshape(single)
    return out


def tile_spec(x: Array, repeats: Array) -> Spec:
    """Each dimension times its number of repeats."""
    if repeats.shape != (x.ndim,):
        raise InvalidArgument(
            f"'repeat' input tensor must have the same length as the 'input' tensor: expected {{{x.ndim}}}, got {braced(repeats.shape)}"
        )
    counts = integers(repeats)
    if min(counts, default=0) < 0:
        raise InvalidArgument(f"Tile repeat value must be non-negative, got: {min(counts)}")
    return Spec(tuple(size * count for size, count in zip(x.shape, counts, strict=True)), x.dtype)


@operator("Tile", since=6, specs=tile_spec, host=("repeats",), alone=True)
def tile(xp: Any, x: Array, repeats: Array, *, out: Array = None) -> Array:
    """The input repeated `repeats[i]` times along dimension i. Spec: https://onnx.ai/onnx/operators/onnx__Tile.html"""
    return _tiled(xp, x, integers(repeats), out)


def _repeats_along(x: Array, tiles: Array, axis: Array) -> list[int]:
    repeats = [1] * x.ndim
    repeats[normalized_axis(integer(axis, "Tile", "axis"), x.ndim, "Tile")] = integer(tiles, "Tile", "tiles")
    return repeats


def tile_1_spec(x: Array, tiles: Array, axis: Array) -> Spec:
    """One dimension times the number of tiles."""
    repeats = _repeats_along(x, tiles, axis)
    return Spec(tuple(size * count for size, count in zip(x.shape, repeats, strict=True)), x.dtype)


@operator("Tile", specs=tile_1_spec, host=("tiles", "axis"))
def tile_1(xp: Any, x: Array, tiles: Array, axis: Array, *, out: Array = None) -> Array:
    """The input repeated `tiles` times along `axis`. Spec: https://onnx.ai/onnx/operators/onnx__Tile.html"""
    return _tiled(xp, x, _repeats_along(x, tiles, axis), out)
