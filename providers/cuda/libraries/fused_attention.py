"""Attention by cuDNN in one kernel, without the matrix of scores in memory.

Whatever it does not have itself of masks, windows and lengths is written as one bias first. A query that sees no key gets zeros behind
it, for which cuDNN has no rule.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any, Literal

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.cuda.attention import Seen, clear_unseen, described, write_bias
from onnxgpu.providers.cuda.launches import make
from onnxgpu.providers.cuda.libraries.attention import LibraryAttention, Scratch, register
from onnxgpu.providers.cuda.libraries.attention_graphs import BIAS, Attention, K, Q, Tensor, V, Y
from onnxgpu.providers.cuda.libraries.kernel import NotCovered

REGISTRY = Registry()

MOST_BIAS = 1 << 30
"""Bytes of a bias; products take masks as they are."""

_WORKSPACE = 4096
"""Bytes: more than the plans that cuDNN has at present want; what does not fit in is allocated."""

_UNIT = 16
"""Bytes: addresses and strides are multiples of it."""

_FLOAT = np.dtype(np.float32)


class FusedAttention(LibraryAttention):
    """softmax(scale q kᵀ + mask) v by cuDNN."""

    def bytes_for(self, lines: int, keys: int, y: Spec) -> int:
        """See `LibraryAttention`; a bias is allocated."""
        return _WORKSPACE

    def attend(self, scratch: Scratch, q: Array, k: Array, v: Array, out: Array, scale: float, seen: Seen) -> None:
        """See `LibraryAttention`."""
        if seen.cap or seen.sink is not None:
            raise NotCovered("cuDNN's attention has no cap and no sink")
        if not all(_is_taken(x) for x in (q, k, v, out)):
            raise NotCovered(f"cuDNN's attention takes heads that lie on multiples of {_UNIT} bytes")
        queries, keys = q.shape[2], k.shape[2]
        diagonal = _diagonal(seen, keys - queries)
        problem = Attention(name_of(q.dtype), _tensor(q), _tensor(k), _tensor(v), _tensor(out), scale, diagonal)
        if seen.mask is None and seen.lengths is None and seen.left < 0 and (seen.right < 0 or diagonal):
            self._run(scratch, problem, {Q: q, K: k, V: v, Y: out})
            return
        shape = (*_bias_axes(seen, q), queries)
        pitch, dtype = -(-keys // _UNIT) * _UNIT, _FLOAT if seen.mask is not None and seen.mask.dtype == _FLOAT else q.dtype
        if prod(shape) * pitch * dtype.itemsize > MOST_BIAS:
            raise NotCovered("the bias that cuDNN's attention takes for a mask would be too large")
        strides = (shape[1] * queries * pitch, queries * pitch, pitch, 1)
        problem = replace(
            problem,
            diagonal="" if diagonal == "BOTTOM_RIGHT" else diagonal,
            bias=Tensor((*shape, keys), strides),
            bias_dtype=name_of(dtype),
        )
        mask = described(self.xp, q[: shape[0], : shape[1]], k, v, out, scale, seen)
        self.plans.first((problem,))
        bias, is_seen = scratch.take((*shape, pitch), dtype)[..., :keys], scratch.take(shape, np.bool_)
        write_bias(bias, is_seen, mask, q.dtype)
        self._run(scratch, problem, {Q: q, K: k, V: v, Y: out, BIAS: bias})
        clear_unseen(self.xp, out, is_seen)

    def _run(self, scratch: Scratch, problem: Attention, arrays: dict[int, Array]) -> None:
        """Launch a plan for `problem`.

        Raises:
            NotCovered: cuDNN has none.
        """
        plan, _ = self.plans.first((problem,))
        workspace = int(scratch.take((plan.workspace,), np.uint8).data.ptr) if plan.workspace else 0
        addresses = {number: int(array.data.ptr) for number, array in arrays.items()}
        make(plan.run, addresses, workspace, self.xp.cuda.get_current_stream().ptr)


def _is_taken(x: Array) -> bool:
    """Whether vectors of features are dense, and they and rows begin on multiples of 16 bytes."""
    far = (stride for size, stride in zip(x.shape[:3], x.strides[:3], strict=True) if size > 1)
    return bool(x.strides[3] == x.itemsize and not any(number % _UNIT for number in (x.data.ptr, x.shape[3] * x.itemsize, *far)))


def _tensor(x: Array) -> Tensor:
    strides = (prod(x.shape) if size == 1 else stride // x.itemsize for size, stride in zip(x.shape[:3], x.strides[:3], strict=True))
    return Tensor(tuple(x.shape), (*strides, 1))


def _diagonal(seen: Seen, past: int) -> Literal["", "TOP_LEFT", "BOTTOM_RIGHT"]:
    """Where the right end of what is seen lies, if that is one of the places that cuDNN has."""
    if seen.right != 0 or not isinstance(seen.start, int):
        return ""
    first = seen.start + seen.skipped
    return "TOP_LEFT" if first == 0 else "BOTTOM_RIGHT" if first == past > 0 else ""


def _bias_axes(seen: Seen, q: Array) -> tuple[int, int]:
    """Batch and heads of the bias, 1 where it is the same for all."""
    batches = heads = 1
    if seen.mask is not None:
        mask: Any = seen.mask.reshape((*(1,) * (4 - seen.mask.ndim), *seen.mask.shape))
        batches, heads = mask.shape[:2]
    if seen.lengths is not None or not isinstance(seen.start, int):
        batches = q.shape[0]
    return batches, heads


register(REGISTRY, FusedAttention, frozenset({"float16", "bfloat16"}))
