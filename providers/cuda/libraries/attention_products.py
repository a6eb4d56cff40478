"""Attention as two products of cuBLASLt with a softmax of our own between them, over a matrix of scores in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.cuda.addresses import broadcast_to
from onnxgpu.providers.cuda.attention import Seen, described, weigh_keys
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.libraries.attention import LibraryAttention, Scratch, register
from onnxgpu.providers.cuda.libraries.cublas import Problem
from onnxgpu.providers.cuda.libraries.kernel import NotCovered
from onnxgpu.providers.cuda.libraries.matrices import alignment_of, batches, factor, is_readable
from onnxgpu.providers.cuda.strided import copy

REGISTRY = Registry()

MOST_SCORES = 256 << 20
"""Bytes of scores at once; more are computed piece by piece."""

_PITCH = 8


class AttentionByProducts(LibraryAttention):
    """softmax(scale q kᵀ + mask) v by cuBLASLt."""

    def bytes_for(self, lines: int, keys: int, y: Spec) -> int:
        """See `LibraryAttention`: scores, their weights, and a dense result."""
        wide = np.promote_types(y.dtype, np.float32).itemsize
        scores = min(lines * _pitch(keys) * wide, MOST_SCORES)
        weights = 0 if wide == y.dtype.itemsize else scores * y.dtype.itemsize // wide
        return scores + weights + y.nbytes

    def attend(self, scratch: Scratch, q: Array, k: Array, v: Array, out: Array, scale: float, seen: Seen) -> None:
        """See `LibraryAttention`."""
        xp, key_heads = self.xp, k.shape[1]
        wide = np.promote_types(q.dtype, np.float32)
        q, k, v = (x if is_readable(x) else xp.ascontiguousarray(x) for x in (q, k, v))
        group, pitch = q.shape[1] // key_heads, _pitch(k.shape[2])
        if group * pitch * wide.itemsize > MOST_SCORES:
            raise NotCovered("the scores of one query are too many to be kept")
        mask = None if seen.mask is None else broadcast_to(xp, seen.mask, (*q.shape[:3], seen.mask.shape[-1]))
        pieces = list(_pieces((q.shape[0], key_heads, q.shape[2]), MOST_SCORES // (group * pitch * wide.itemsize)))
        lines = max(prod(part.stop - part.start for part in piece) for piece in pieces) * group
        scores = scratch.take((lines, pitch), wide)
        weights = scores if wide == q.dtype else scratch.take((lines, pitch), q.dtype)
        result = out if out.flags.c_contiguous and len(pieces) == 1 else scratch.take((lines, out.shape[3]), out.dtype)
        for batch, key_head, rows in pieces:
            heads = slice(key_head.start * group, key_head.stop * group)
            part = replace(
                seen,
                mask=None if mask is None else mask[batch, heads, rows],
                start=seen.start if isinstance(seen.start, int) else seen.start[batch],
                skipped=seen.skipped + rows.start,
                lengths=None if seen.lengths is None else seen.lengths[batch],
                sink=seen.sink if seen.sink is None or isinstance(seen.sink, float) else seen.sink[heads],
            )
            own = q[batch, heads, rows], k[batch, key_head], v[batch, key_head], out[batch, heads, rows]
            self._piece(*own, scale, part, scores, weights, result)

    def _piece(
        self, q: Array, k: Array, v: Array, out: Array, scale: float, seen: Seen, scores: Array, weights: Array, result: Array
    ) -> None:
        """What the scores of fit into the given memory."""
        shape, lines, keys = q.shape[:3], prod(q.shape[:3]), k.shape[2]
        scores, weights = (x[:lines].reshape(*shape, -1)[..., :keys] for x in (scores, weights))
        target = out if result is out else result[:lines].reshape(out.shape)
        self._multiply(q, k.swapaxes(-1, -2), scores, scale)
        weigh_keys(scores, weights, described(self.xp, q, k, v, out, scale, seen), q.dtype)
        self._multiply(weights, v, target, 1.0)
        if target is not out:
            copy(out, target)

    def _multiply(self, a: Array, b: Array, out: Array, alpha: float) -> None:
        """out = alpha a b, (batch, heads, S, …) by (batch, key heads, …)."""
        key_heads = b.shape[1]
        is_joined = _joins(a, key_heads) and _joins(out, key_heads)
        a, out = (_by_key_heads(x, key_heads, is_joined=is_joined) for x in (a, out))
        b = b[:, :, None]
        count, (step_a, step_b, _, step_out), starts = batches((a, b, None, out))
        addresses = [int(x.data.ptr) for x in (a, b, out)]
        problem = Problem(
            dtype=name_of(a.dtype),
            rows=out.shape[-2],
            columns=out.shape[-1],
            depth=a.shape[-1],
            batches=count,
            a=factor(a, step_a),
            b=factor(b, step_b),
            c=None,
            d=factor(out, step_out),
            alpha=alpha,
            alignment=alignment_of((*addresses, *(offset for start in starts for offset in start))),
            tf32=self.tf32,
            result=name_of(out.dtype),
        )
        plan, stream = self.plans.plan(problem, 0), self.xp.cuda.get_current_stream().ptr
        for from_a, from_b, _, to in starts:
            target = addresses[2] + to
            plan.run(addresses[0] + from_a, addresses[1] + from_b, target, target, 0, 0, stream)


def _pitch(keys: int) -> int:
    return -(-keys // _PITCH) * _PITCH


def _joins(x: Array, key_heads: int) -> bool:
    """Whether the queries of all heads that share a key head are evenly apart in (batch, heads, S, n)."""
    heads, length = x.shape[1:3]
    return bool(heads == key_heads or length == 1 or x.strides[1] == length * x.strides[2])


def _by_key_heads(x: Array, key_heads: int, *, is_joined: bool) -> Array:
    """(batch, heads, S, n) as (batch, key heads, heads of one, S, n), or joined as (batch, key heads, 1, heads of one * S, n): a view."""
    batch, heads, length, size = x.shape
    group = heads // key_heads
    view = x.reshape((batch, key_heads, *((1, group * length) if is_joined else (group, length)), size))
    assert view.data.ptr == x.data.ptr
    return view


def _pieces(sizes: Sequence[int], most: int) -> Iterator[tuple[slice, ...]]:
    """Parts of a block of these sizes, of about the same size, with at most `most` elements, of as few axes as possible."""
    inner = prod(sizes[1:])
    if inner > most:
        for index in range(sizes[0]):
            yield from ((slice(index, index + 1), *rest) for rest in _pieces(sizes[1:], most))
        return
    count = -(-sizes[0] // max(1, most // max(inner, 1)))
    step = -(-sizes[0] // count)
    for begin in range(0, sizes[0], step):
        yield (slice(begin, min(begin + step, sizes[0])), *(slice(0, size) for size in sizes[1:]))


register(REGISTRY, AttentionByProducts, FLOAT_NAMES)
