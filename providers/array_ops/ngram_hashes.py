"""NGramHashMapping and VarlenNGramHashMapping: rows of hash-table indices for each token and the tokens before it (Engram).

Spec: onnxruntime's operator schemas, domain com.microsoft
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.registry import operator

_DOMAIN = "com.microsoft"
_MOST_CAPTURED = 8
_SEGMENT = np.dtype(np.int32)


@dataclass(frozen=True)
class Packing:
    """Which request each of T packed tokens belongs to.

    Attributes:
        requests: (T,) index of the token's request.
        places: (T,) index of the token within its request.
        starts, ends: (B,) the half-open range of each request's tokens.
    """

    requests: Array
    places: Array
    starts: Array
    ends: Array

    @classmethod
    def of(cls, xp: Any, limits: Array, tokens: int) -> Packing:
        """The packing whose request i has the tokens from limits[i] to limits[i + 1]."""
        starts, ends = limits[:-1].astype(np.int64), limits[1:].astype(np.int64)
        positions = xp.arange(tokens, dtype=np.int64)
        requests = xp.searchsorted(ends, positions, side="right")
        return cls(requests, positions - starts[requests], starts, ends)

    def history(self, xp: Any, tokens: Array, past: Array) -> Array:
        """(T, P + 1): each token and the P before it in its request, newest first; `past` (B, P) lies before the requests."""
        depth = past.shape[1]
        steps = xp.arange(depth + 1, dtype=np.int64)
        places = self.places[:, None] - steps
        own = xp.arange(tokens.size, dtype=np.int64)[:, None] - steps + past.size
        older = (self.requests * depth)[:, None] + depth + places
        return xp.concatenate((past.reshape(-1), tokens))[xp.where(places >= 0, own, older)]


def _broken(xp: Any, history: Array, end_token: Array | None, segments: Array | None) -> Array:
    """(T, P + 1): True for the tokens of a history that lie behind an end token or in another segment."""
    breaks = xp.zeros(history.shape, bool)
    if end_token is not None:
        breaks |= history == end_token
        breaks[:, 0] = False
    if segments is not None:
        breaks[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    for step in range(1, history.shape[1]):
        breaks[:, step] |= breaks[:, step - 1]
    return breaks


def _hashed(xp: Any, history: Array, multipliers: Array, vocab_sizes: Array, head_offsets: Array | None, heads: int) -> Array:
    """(T, P * heads) indices: for each order n the xor of n products, modulo each head's size."""
    mixed, columns = history[:, 0] * multipliers[0], []
    for step in range(1, history.shape[1]):
        mixed = mixed ^ (history[:, step] * multipliers[step])
        columns.append(mixed[:, None] % vocab_sizes[(step - 1) * heads : step * heads])
    hashes = xp.concatenate(columns, axis=1)
    return hashes if head_offsets is None else hashes + head_offsets


def _check(name: str, xp: Any, multipliers: Array, vocab_sizes: Array, heads: int, order: int) -> None:
    if order < 2 or multipliers.size < order or tuple(vocab_sizes.shape) != ((order - 1) * heads,):
        raise InvalidArgument(
            f"{name}: expected max_ngram_size of 2 or more, as many multipliers and (max_ngram_size - 1) * n_head_per_ngram vocab_sizes, "
            f"got {order}, {multipliers.size} and shape {list(vocab_sizes.shape)} with n_head_per_ngram={heads}"
        )
    if bool(xp.any(vocab_sizes <= 0)):
        raise InvalidArgument(f"{name}: expected vocab_sizes above 0, got {vocab_sizes.min()}")


def _fill(xp: Any, ids: Array, batch: int, depth: int, pad_id: int, end_token: Array | None) -> Array:
    """The history (B, P) of sequences that have none."""
    past = xp.full((batch, depth), pad_id, dtype=ids.dtype)
    if end_token is not None:
        past[...] = end_token.reshape(())
    return past


def _dense_specs(ids: Array, *_: Any, max_ngram_size: int, n_head_per_ngram: int, output_count: int = 1, **__: Any) -> tuple[Spec, ...]:
    if len(ids.shape) != 2:
        raise InvalidArgument(f"NGramHashMapping: expected input_ids of shape (batch, length), got {list(ids.shape)}")
    depth = max_ngram_size - 1
    return (Spec((*ids.shape, depth * n_head_per_ngram), ids.dtype), Spec((ids.shape[0], depth), ids.dtype))[:output_count]


@operator("NGramHashMapping", domain=_DOMAIN, specs=_dense_specs)
def ngram_hash_mapping(
    xp: Any,
    input_ids: Array,
    multipliers: Array,
    vocab_sizes: Array,
    past_ids: Array = None,
    head_offsets: Array = None,
    eos_token_id: Array = None,
    segment_ids: Array = None,
    *,
    max_ngram_size: int,
    n_head_per_ngram: int,
    pad_id: int,
    reset_on_eos: int = 0,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Hashes (B, S, (max_ngram_size - 1) * heads) of ids (B, S), and the last max_ngram_size - 1 ids of each sequence."""
    _check("NGramHashMapping", xp, multipliers, vocab_sizes, n_head_per_ngram, max_ngram_size)
    (batch, length), depth = input_ids.shape, max_ngram_size - 1
    packing = Packing.of(xp, xp.arange(batch + 1, dtype=np.int64) * length, batch * length)
    past = _fill(xp, input_ids, batch, depth, pad_id, eos_token_id) if past_ids is None else past_ids
    history = packing.history(xp, input_ids.reshape(-1), past)
    segments = None
    if segment_ids is not None and length:
        segments = packing.history(xp, segment_ids.reshape(-1), xp.repeat(segment_ids[:, :1], depth, axis=1))
    seen = _substituted(xp, history, reset_on_eos, pad_id, eos_token_id, segments)
    hashes = _hashed(xp, seen, multipliers, vocab_sizes, head_offsets, n_head_per_ngram)
    present = xp.concatenate((past, input_ids), axis=1)[:, length:]
    return _stored((hashes.reshape(batch, length, -1), present), (out,) if output_count == 1 else out, output_count)


def _substituted(xp: Any, history: Array, reset_on_eos: int, pad_id: int, end_token: Array | None, segments: Array | None) -> Array:
    """The history with what lies behind a break replaced by the end token, or by `pad_id` if there is none."""
    if not (reset_on_eos and end_token is not None) and segments is None:
        return history
    broken = _broken(xp, history, end_token.reshape(()) if reset_on_eos and end_token is not None else None, segments)
    fill = xp.asarray(pad_id, dtype=history.dtype) if end_token is None else end_token.reshape(())
    return xp.where(broken, fill, history)


def _stored(results: tuple[Array, ...], places: Any, count: int) -> tuple[Array, ...]:
    if places is None:
        return results[:count]
    for result, place in zip(results, places, strict=False):
        place[...] = result
    return tuple(places)


def _packed_specs(
    ids: Array,
    multipliers: Array,
    vocab_sizes: Array,
    limits: Array,
    *_: Any,
    max_ngram_size: int,
    n_head_per_ngram: int,
    state_update_capacity: int = 0,
    output_count: int = 1,
    **__: Any,
) -> tuple[Spec, ...]:
    if len(ids.shape) != 1 or len(limits.shape) != 1 or limits.shape[0] < 1:
        raise InvalidArgument(
            f"VarlenNGramHashMapping: expected input_ids (tokens) and cumulative_sequence_length (batch + 1), "
            f"got {list(ids.shape)} and {list(limits.shape)}"
        )
    depth, batch = max_ngram_size - 1, limits.shape[0] - 1
    return (
        Spec((ids.shape[0], depth * n_head_per_ngram), ids.dtype),
        Spec((batch, depth), ids.dtype),
        Spec((batch, depth), _SEGMENT),
        Spec((batch, state_update_capacity, depth), ids.dtype),
    )[:output_count]


@operator("VarlenNGramHashMapping", domain=_DOMAIN, specs=_packed_specs)
def varlen_ngram_hash_mapping(
    xp: Any,
    input_ids: Array,
    multipliers: Array,
    vocab_sizes: Array,
    cumulative_sequence_length: Array,
    past_ids: Array = None,
    head_offsets: Array = None,
    eos_token_id: Array = None,
    segment_ids: Array = None,
    past_segment_ids: Array = None,
    capture_count: Array = None,
    *,
    max_ngram_size: int,
    n_head_per_ngram: int,
    pad_id: int,
    reset_on_eos: int = 0,
    state_update_capacity: int = 0,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """`ngram_hash_mapping` over sequences packed one after the other; also their last segment ids, and states after single tokens."""
    name, tokens, depth = "VarlenNGramHashMapping", input_ids.shape[0], max_ngram_size - 1
    _check(name, xp, multipliers, vocab_sizes, n_head_per_ngram, max_ngram_size)
    _check_limits(xp, cumulative_sequence_length, tokens)
    _check_extras(name, segment_ids, past_segment_ids, capture_count, state_update_capacity)
    packing = Packing.of(xp, cumulative_sequence_length, tokens)
    batch = len(packing.starts)
    past = _fill(xp, input_ids, batch, depth, pad_id, eos_token_id) if past_ids is None else past_ids
    history, segments = packing.history(xp, input_ids, past), None
    if segment_ids is not None:
        first = segment_ids[packing.starts][:, None]
        segments = packing.history(xp, segment_ids, xp.repeat(first, depth, axis=1) if past_segment_ids is None else past_segment_ids)
    seen = _substituted(xp, history, reset_on_eos, pad_id, eos_token_id, segments)
    hashes = _hashed(xp, seen, multipliers, vocab_sizes, head_offsets, n_head_per_ngram)
    last = packing.ends - 1
    results = [hashes, history[last, :depth][:, ::-1]]
    results.append(xp.zeros((batch, depth), _SEGMENT) if segments is None else segments[last, :depth][:, ::-1])
    if output_count > 3:
        results.append(_captured(xp, history[:, :depth][:, ::-1], packing, capture_count, state_update_capacity, pad_id))
    return _stored(tuple(results), (out,) if output_count == 1 else out, output_count)


def _captured(xp: Any, states: Array, packing: Packing, counts: Array, capacity: int, pad_id: int) -> Array:
    """(B, capacity, P): the states after the first tokens of each request, as many as its count, `pad_id` behind them."""
    slots = xp.arange(capacity, dtype=np.int64)
    wanted = slots < xp.minimum(counts.astype(np.int64), packing.ends - packing.starts)[:, None]
    chosen = xp.minimum(packing.starts[:, None] + slots, len(states) - 1)
    return xp.where(wanted[..., None], states[chosen], xp.asarray(pad_id, dtype=states.dtype))


def _check_limits(xp: Any, limits: Array, tokens: int) -> None:
    if int(limits[0]) != 0 or int(limits[-1]) != tokens or bool(xp.any(limits[1:] <= limits[:-1])):
        raise InvalidArgument(
            f"VarlenNGramHashMapping: expected cumulative_sequence_length to rise from 0 to the {tokens} tokens, "
            f"one or more a request, got {limits.tolist()}"
        )


def _check_extras(name: str, segments: Array | None, past_segments: Array | None, counts: Array | None, capacity: int) -> None:
    if segments is None and past_segments is not None:
        raise InvalidArgument(f"{name}: expected segment_ids beside past_segment_ids, got none")
    if not 0 <= capacity <= _MOST_CAPTURED or (counts is None) != (capacity == 0):
        raise InvalidArgument(
            f"{name}: expected state_update_capacity from 0 to {_MOST_CAPTURED}, and capture_count exactly where it is positive, "
            f"got {capacity} and {'no ' if counts is None else ''}capture_count"
        )
