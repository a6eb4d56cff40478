"""Attention by our own kernels: all of it, without the matrix of scores in memory, and what a library does not have of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.cuda.addresses import broadcast_to
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOATS, Template
from onnxgpu.providers.cuda.products import structure

_TILES = ("64, 32", "128, 32", "256, 8")
"""Features and queries of a tile."""

_WIDE_TILES = ("64, 32", "128, 8")
_INSTANCES = tuple(f"{T}, {tile}" for T in FLOATS for tile in (_WIDE_TILES if T == "double" else _TILES))

HALVES = ("__half", "__nv_bfloat16")
_BIAS_TYPES = tuple(f"{T}, {bias}" for T in HALVES for bias in (T, "float"))

ATTEND = Template("attention.cu", "attend<{instance}>", "ppppps", instance=_INSTANCES)
COMBINE = Template("attention.cu", "combine_attention<{T}>", "ppis", T=FLOATS)
WEIGH = Template("attention_scores.cu", "weigh_keys<{T}, {group}>", "ppis", T=FLOATS, group=("32", "128"))
BIAS = Template("attention_scores.cu", "write_bias<{types}>", "ppls", types=_BIAS_TYPES)
CLEAR = Template("attention_scores.cu", "clear_unseen<{T}>", "ps", T=HALVES)

_THREADS = 128
_ENOUGH_BLOCKS = 256
"""The keys are split among blocks until there are about as many."""

_LEAST_SPAN = 128
_MOST_COMBINE_BLOCKS = 4096
_MOST_ROW_BLOCKS = 1 << 16
_BYTES_OF_A_WARP = 4096
"""Of a row's scores that one warp keeps in registers."""


@dataclass(frozen=True)
class Seen:
    """Which keys the queries see, and how strongly.

    Attributes:
        mask: bool (true is seen), of the queries' type or float32 (added), what broadcasts to (batch, heads, S, T'); keys from T' on are
            not seen.
        start: position of the first query among the keys: a number, or int64 (batch,) on the device.
        lengths: int64 (batch,) on the device: how many keys are there; None for all.
        left, right: how far from its own position a query sees; -1 is no limit.
        sink: (heads,), what takes part in the softmax without a value; 0.0 for zeros; None for nothing.
        cap: scores are cap * tanh(scores / cap); 0 is no cap.
        skipped: how many queries behind the one at `start` the first is.
    """

    mask: Array | None = None
    start: Any = 0
    lengths: Array | None = None
    left: int = -1
    right: int = -1
    sink: Any = None
    cap: float = 0.0
    skipped: int = 0


class Attend(Protocol):
    """What writes softmax(scale q kᵀ, as `seen` has it) v into `out`; see `attend` for the arguments."""

    def __call__(self, xp: Any, q: Array, k: Array, v: Array, out: Array, scale: float, seen: Seen) -> None:
        """See `attend`."""


def largest_head(dtype: np.dtype) -> int:
    """The largest head size that the kernel takes."""
    return 128 if dtype == np.float64 else 256


def attend(xp: Any, q: Array, k: Array, v: Array, out: Array, scale: float, seen: Seen) -> None:
    """Write softmax(scale q kᵀ, as `seen` has it) v into `out`.

    Args:
        xp: CuPy.
        q: (batch, heads, S, D).
        k: (batch, key heads, T, D); key heads divide the heads.
        v: (batch, key heads, T, E).
        out: (batch, heads, S, E).
        scale: factor of the scores.
        seen: masks, positions, cap and sink.

    Raises:
        InvalidArgument: batch, heads or head sizes do not fit.
    """
    check_heads(q, k, v)
    if out.size == 0:
        return
    q, k, v = (x if x.strides[-1] == x.itemsize or x.shape[-1] == 1 else xp.ascontiguousarray(x) for x in (q, k, v))
    (batches, heads, queries, size), (_, key_heads, keys, value_size) = q.shape, v.shape
    tile = next(tile for tile in (_WIDE_TILES if q.dtype == np.float64 else _TILES) if max(size, value_size) <= int(tile.split(",")[0]))
    rows = int(tile.split(",")[1])
    blocks = -(-(heads // key_heads * queries) // rows) * key_heads * batches
    parts = max(1, min(keys // _LEAST_SPAN, _ENOUGH_BLOCKS // blocks))
    partial = xp.empty((parts, batches * heads * queries, value_size + 2), np.promote_types(q.dtype, np.float32)) if parts > 1 else None
    problem = described(xp, q, k, v, out, scale, seen)
    element = C_TYPES[name_of(q.dtype)]
    ATTEND.instance(instance=f"{element}, {tile}").launch((blocks, parts), _THREADS, q, k, v, out, partial, problem)
    if parts > 1:
        lines = batches * heads * queries
        COMBINE.instance(T=element).launch(min(_MOST_COMBINE_BLOCKS, -(-lines // 4)), _THREADS, out, partial, parts, problem)


def weigh_keys(scores: Array, weights: Array, problem: np.void, dtype: np.dtype) -> None:
    """Write the softmax over keys of masked scores.

    Args:
        scores: (batch, heads, S, T) in rows of a multiple of 16 bytes, of the type that `dtype` is summed in.
        weights: of `dtype`, with rows of as many elements; `scores` itself where that is the type.
        problem: of `described`.
        dtype: of queries and keys.
    """
    lines, keys, pitch = prod(scores.shape[:3]), scores.shape[3], scores.strides[2] // scores.itemsize
    group = 32 if keys * scores.itemsize <= _BYTES_OF_A_WARP else _THREADS
    blocks = min(_MOST_ROW_BLOCKS, -(-lines * group // _THREADS))
    WEIGH.instance(T=dtype, group=group).launch(blocks, _THREADS, scores, weights, pitch, problem)


def write_bias(bias: Array, is_seen: Array, problem: np.void, dtype: np.dtype) -> None:
    """Write what is added to the scores for all that `seen` has but the cap and the sink.

    Args:
        bias: (batch, heads, S, T) with dense rows, of `dtype` or float32; -65504 or -1e30 at least.
        is_seen: (batch, heads, S), bool: whether a query sees any key.
        problem: of `described`, with the batch and the heads of the bias.
        dtype: float16 or bfloat16, of the queries.
    """
    types = f"{C_TYPES[name_of(dtype)]}, {C_TYPES[name_of(bias.dtype)]}"
    blocks = min(_MOST_ROW_BLOCKS, -(-is_seen.size * 32 // _THREADS))
    BIAS.instance(types=types).launch(blocks, _THREADS, bias, is_seen, bias.strides[2] // bias.itemsize, problem)


def clear_unseen(xp: Any, out: Array, is_seen: Array) -> None:
    """Write zeros where a query sees no key.

    Args:
        xp: CuPy.
        out: (batch, heads, S, E), float16 or bfloat16.
        is_seen: (batch or 1, heads or 1, S), bool.
    """
    problem = described(xp, out, out, out, out, 1.0, Seen(is_seen.reshape((*is_seen.shape, 1))))
    CLEAR.instance(T=out.dtype).launch(min(_MOST_ROW_BLOCKS, -(-prod(out.shape[:3]) * 32 // _THREADS)), _THREADS, out, problem)


def check_heads(q: Array, k: Array, v: Array) -> None:
    """Whether keys and values belong to the queries.

    Raises:
        InvalidArgument: batch, heads or head sizes do not fit.
    """
    if q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3] or q.shape[1] % k.shape[1] or k.shape[:3] != v.shape[:3]:
        raise InvalidArgument(
            "attention: expected keys and values of the queries' batch and head size, and heads that divide theirs, "
            f"got queries {list(q.shape)}, keys {list(k.shape)} and values {list(v.shape)}"
        )


def described(xp: Any, q: Array, k: Array, v: Array, out: Array, scale: float, seen: Seen) -> np.void:
    """`Attention` of attention.cuh."""
    (batches, heads, queries, size), (_, key_heads, keys, value_size) = q.shape, v.shape
    sizes = (batches, heads, key_heads, queries, keys, size, value_size)
    strides = (stride // x.itemsize for x in (q, k, v, out) for stride in x.strides[:3])
    return structure(*sizes, *strides, *_mask(xp, seen.mask, q), *_positions(seen), *_sink(seen), float(scale), float(seen.cap))


def _mask(xp: Any, mask: Array | None, q: Array) -> tuple[Any, ...]:
    """Pointer, kind, number of keys and the four strides."""
    if mask is None:
        return (None, *(0,) * 6)
    kind = 1 if mask.dtype == np.bool_ else 2 if mask.dtype == q.dtype else 3
    try:
        mask = broadcast_to(xp, mask, (*q.shape[:3], mask.shape[-1]))
    except ValueError:
        raise InvalidArgument(f"attention: expected a mask that broadcasts to {list(q.shape[:3])}, got shape {list(mask.shape)}") from None
    return mask, kind, mask.shape[-1], *(stride // mask.itemsize for stride in mask.strides)


def _positions(seen: Seen) -> tuple[Any, ...]:
    starts = None if isinstance(seen.start, int) else seen.start
    return starts, seen.lengths, seen.skipped + (0 if starts is not None else seen.start), seen.left, seen.right


def _sink(seen: Seen) -> tuple[Any, ...]:
    return None if seen.sink is None or isinstance(seen.sink, float) else seen.sink, int(seen.sink is not None)
