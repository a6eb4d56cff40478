"""Caches of keys and values in which each sequence has a length of its own: where new tokens go, and which are seen.

A step brings S tokens a sequence, of which the first Q are valid, behind the P that were there; T = P + Q. Positions are
absolute: the first token of a sequence has 0. A cache is (batch, key-value heads, places, D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array


@dataclass(frozen=True, slots=True)
class Step:
    """Lengths of each sequence in host memory, all (batch,).

    Attributes:
        past: P, tokens before this step.
        new: Q, valid tokens of this step.
        written: tokens that go into the cache: Q, or S where nobody says which are valid, as onnxruntime has it.
        length: S, tokens of this step with padding.
    """

    past: np.ndarray
    new: np.ndarray
    written: np.ndarray
    length: int

    @property
    def total(self) -> np.ndarray:
        """T, tokens after this step."""
        total: np.ndarray = self.past + self.new
        return total

    @property
    def in_line(self) -> bool:
        """True if the step begins at one place for all sequences."""
        return len(set(self.past.tolist())) == 1

    def query_positions(self) -> np.ndarray:
        """(batch, S)."""
        positions: np.ndarray = self.past[:, None] + np.arange(self.length)
        return positions


def step_of(operator: str, totals: Array, length: int, valid: Array | None) -> Step:
    """The step that ends with `totals` tokens (batch,), of which `valid` (by default all that fit) are new."""
    total = np.asarray(totals).reshape(-1).astype(np.int64)
    new = np.minimum(total, length) if valid is None else np.asarray(valid).reshape(-1).astype(np.int64)
    if (new < 0).any() or (new > np.minimum(total, length)).any():
        raise InvalidArgument(f"{operator}: expected 0 to {length} new tokens and no more than all, got {new.tolist()} of {total.tolist()}")
    return Step(total - new, new, np.full_like(new, length) if valid is None else new, length)


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to attend to.

    Attributes:
        keys, values: (batch, key-value heads, M, D), as they are stored.
        positions: of each place, (batch, M), -1 where there is nothing.
    """

    keys: Array
    values: Array
    positions: np.ndarray


def appended(xp: Any, past: Array | None, new: Array, step: Step, room: int, out: Array | None) -> Array:
    """The cache of `room` places with the step's tokens at their positions and zeros behind; `out` may be the past's own memory.

    Raises:
        InvalidArgument: a sequence does not fit, or the past has fewer tokens than the step goes on behind.
    """
    places = 0 if past is None else past.shape[2]
    if step.past.max(initial=0) > places:
        raise InvalidArgument(f"expected a past of {step.past.max()} tokens for the longest sequence, got {places} places")
    cache = xp.empty((*new.shape[:2], room, new.shape[3]), new.dtype) if out is None else out
    if past is None:
        cache[...] = 0
    elif step.in_line:
        first = int(step.past[0])
        cache[:, :, :first], cache[:, :, first:] = past[:, :, :first], 0
    else:
        kept = xp.asarray(np.arange(places) < step.past[:, None])[:, None, :, None]
        cache[:, :, :places] = xp.where(kept, past, xp.zeros((), past.dtype))
        cache[:, :, places:] = 0
    return put(xp, cache, new, step)


def put(xp: Any, cache: Array, new: Array, step: Step) -> Array:
    """`cache` itself, with the step's tokens written at their positions, as far as there are places for padding.

    Raises:
        InvalidArgument: a sequence does not fit.
    """
    room = cache.shape[2]
    if step.total.max(initial=0) > room:
        raise InvalidArgument(f"expected a cache of {step.total.max()} places for the longest sequence, got {room}")
    sequences, tokens = np.nonzero((np.arange(step.length) < step.written[:, None]) & (step.query_positions() < room))
    if step.in_line and len(sequences) == step.length * len(step.past):
        first = int(step.past[0])
        cache[:, :, first : first + step.length] = new
    else:
        rows, places = xp.asarray(sequences), xp.asarray(step.past[sequences] + tokens)
        cache[rows, :, places] = new[rows, :, xp.asarray(tokens)]
    return cache


def of_beams(xp: Any, cache: Array, cache_indirection: Array, taken: int) -> Array:
    """The cache (batch * beams, heads, T, D) as each beam sees it: `cache_indirection` says whose each past place is."""
    batch, beams, _ = cache_indirection.shape
    own = xp.arange(batch * beams)[:, None]
    others = cache_indirection[:, :, :taken] + (xp.arange(batch) * beams)[:, None, None]
    rows = xp.concatenate((others.reshape(batch * beams, taken), own), axis=1)
    return cache[rows[:, None], xp.arange(cache.shape[1])[:, None], xp.arange(taken + 1)]


def whole_cache_positions(step: Step, places: int) -> np.ndarray:
    """Positions in a cache whose place is the position."""
    every = np.arange(places)
    return np.where(every < step.total[:, None], every, -1)


def resident(total: np.ndarray, capacity: int, window: int) -> np.ndarray:
    """How many of the latest tokens a cache of the last ones holds: it drops `capacity - window + 1` at once."""
    dropped = capacity - window + 1
    return np.where(total <= capacity, total, total - dropped * -(-(total - capacity) // dropped))


def staged_positions(step: Step, capacity: int, window: int) -> np.ndarray:
    """Positions of the places of a windowed cache with the step's tokens put behind it: (batch, capacity + S)."""
    held = resident(step.past, capacity, window)
    places, tokens = np.arange(capacity), np.arange(step.length)
    old = np.where(places < held[:, None], (step.past - held)[:, None] + places, -1)
    new = np.where(tokens < step.new[:, None], step.past[:, None] + tokens, -1)
    return np.concatenate((old, new), axis=1)


def evicted(xp: Any, staged: Array, step: Step, capacity: int, window: int) -> Array:
    """The windowed cache after the step, from the one before with the step's tokens behind it."""
    before, after = (resident(length, capacity, window) for length in (step.past, step.total))
    places = np.arange(capacity)
    positions = (step.total - after)[:, None] + places
    old = positions - (step.past - before)[:, None]
    source = np.where(positions < step.past[:, None], old, capacity + positions - step.past[:, None])
    source = np.where(places < after[:, None], source, 0)
    return xp.take_along_axis(staged, xp.asarray(source)[:, None, :, None], axis=2)


def quantized(xp: Any, x: Array, scale: Array, bits: int) -> Array:
    """New keys or values as a cache of 8 bits (int8) or 4 (two to a byte, low half first, 8 is zero) stores them."""
    limit = 1 << (bits - 1)
    whole = xp.clip(xp.rint(x / scale), -limit, limit - 1).astype(np.int8)
    if bits == 8:
        return whole
    codes = (whole + 8).astype(np.uint8)
    return codes[..., ::2] | (codes[..., 1::2] << 4)


def dequantized(xp: Any, cache: Array, scale: Array, bits: int) -> Array:
    """A quantised cache's numbers, float32."""
    if bits == 4:
        cache = xp.stack((cache & 15, cache >> 4), axis=-1).reshape(*cache.shape[:-1], -1).astype(np.int8) - 8
    return cache.astype(np.float32) * scale
