"""RotaryEmbedding of ai.onnx and of com.microsoft: one pass, positions read on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.rotary import gemma_specs
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.products import structure
from onnxgpu.providers.cuda.registry import operator

GEMMA = Template("rotary.cu", "rotate_both<{T}>", "pppppppllll", T=("__half",))
ROTATE = Template("rotary.cu", "rotate<{T}>", "pppps", T=FLOATS)

_MOST_BLOCKS = 8192


def rotated(xp: Any, x: Array, cosines: Array, sines: Array, positions: Array | None, interleaved: int, out: Array) -> None:
    """Write `x` turned by the angles of its places into `out`.

    Args:
        xp: CuPy.
        x: (batch, heads, S, D), any strides.
        cosines: (rows, half); or (batch, S, half) without positions.
        sines: as `cosines`.
        positions: int64 (batch, S), or (1,) for the first place of all; None if the angles are given for each place.
        interleaved: whether pairs are neighbours.
        out: like `x`, of any strides.
    """
    if out.size == 0:
        return
    x = x if x.strides[3] == x.itemsize or x.shape[3] == 1 else xp.ascontiguousarray(x)
    batches, heads, length, size = x.shape
    steps = (
        (0, 0)
        if positions is None or positions.ndim < 2
        else tuple(0 if n == 1 else s // 8 for n, s in zip(positions.shape, positions.strides, strict=True))
    )
    strides = (stride // x.itemsize for each in (x, out) for stride in each.strides[:3])
    half = cosines.shape[-1]
    layout = structure(
        *(batches, heads, length, size, half, cosines.size // max(half, 1), *strides),
        *(positions, *steps, int(positions is not None and positions.ndim < 2), int(bool(interleaved))),
    )
    blocks = blocks_for(out.size, most=_MOST_BLOCKS)
    ROTATE.instance(T=x.dtype).launch(blocks, THREADS, x, dense(xp, cosines), dense(xp, sines), out, layout)


def in_heads(x: Array, heads: int) -> Array:
    """(batch, S, heads * D) as (batch, heads, S, D), a view; what has four axes as it is."""
    return x if x.ndim == 4 else x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(0, 2, 1, 3)


def _specs(x: Array, *_: Any, **__: Any) -> Spec:
    """The shape of the input, in memory of its own: both of a pair are read when either is written."""
    return Spec(tuple(x.shape), x.dtype)


def _refusal(operation: Operation) -> str | None:
    first, *others = (value for value in operation.inputs if value is not None)
    floats = [value for value in others if value.dtype is None or value.dtype.kind != "i"]
    return "takes angles of the input's element type" if any(value.dtype != first.dtype for value in floats) else None


def gemma_refusal(operation: Operation) -> str | None:
    """Why the node is not computed here."""
    others = {value.dtype for value in operation.inputs[1:] if value is not None}
    return None if others == {np.dtype(np.float16)} else "takes float16"


def _embedded(
    xp: Any,
    x: Array,
    cosines: Array,
    sines: Array,
    positions: Array | None,
    num_heads: int,
    dimension: int,
    interleaved: int,
    out: Array | None,
) -> Array:
    if len(x.shape) not in (3, 4):
        raise InvalidArgument(f"RotaryEmbedding: expected an input of rank 3 or 4, got shape {list(x.shape)}")
    heads = x.shape[1] if x.ndim == 4 else num_heads or x.shape[2] // (2 * cosines.shape[-1])
    if heads < 1 or (x.ndim == 3 and x.shape[2] % heads):
        raise InvalidArgument(f"RotaryEmbedding: expected a last axis of {heads} heads, got shape {list(x.shape)}")
    parts = in_heads(x, heads)
    batch, _, length, size = parts.shape
    angles = cosines.shape[:2] if positions is None else positions.shape if positions.ndim > 1 else (batch, length)
    wanted = (dimension or size) // 2
    if cosines.shape != sines.shape or cosines.shape[-1] != wanted or tuple(angles) != (batch, length):
        raise InvalidArgument(
            f"RotaryEmbedding: expected caches that give ({batch}, {length}, {wanted}) angles, "
            f"got {list(cosines.shape)} and {list(sines.shape)}"
        )
    result = xp.empty(x.shape, x.dtype) if out is None else out
    rotated(xp, parts, cosines, sines, positions, interleaved, in_heads(result, heads))
    return result


@operator("RotaryEmbedding", since=23, specs=_specs, types=FLOAT_NAMES, when=_refusal)
def rotary_embedding(
    xp: Any,
    x: Array,
    cos_cache: Array,
    sin_cache: Array,
    position_ids: Array = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    out: Array = None,
) -> Array:
    """Spec: https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html"""
    return _embedded(xp, x, cos_cache, sin_cache, position_ids, num_heads, rotary_embedding_dim, interleaved, out)


@operator("RotaryEmbedding", domain="com.microsoft", specs=_specs, types=FLOAT_NAMES, when=_refusal)
def rotary_embedding_by_positions(
    xp: Any,
    x: Array,
    position_ids: Array,
    cos_cache: Array,
    sin_cache: Array,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
    out: Array = None,
) -> Array:
    """`position_ids` is the first position, or one for each place. Spec: onnxruntime's ContribOperators.md"""
    first = position_ids.reshape(1) if position_ids.size == 1 and position_ids.ndim < 2 else position_ids
    return _embedded(xp, x, cos_cache, sin_cache, first.astype(np.int64, copy=False), num_heads, rotary_embedding_dim, interleaved, out)


@operator("GemmaRotaryEmbedding", domain="com.microsoft", specs=gemma_specs, types=frozenset({"float"}), when=gemma_refusal)
def gemma_rotary_embedding(
    xp: Any, emb: Array, q: Array, q_rot: Array, k: Array, k_rot: Array, *, out: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:
    """q cos(emb) + q_rot sin(emb), and the same of k. Spec: onnxruntime's ContribOperators.md"""
    results = tuple(xp.empty(spec.shape, spec.dtype) for spec in gemma_specs(emb, q, q_rot, k, k_rot)) if out is None else out
    angles, *operands = (dense(xp, x) for x in (emb, q, q_rot, k, k_rot))
    each = emb.shape[1] * emb.shape[2]
    blocks = blocks_for(max(q.size, k.size), most=_MOST_BLOCKS)
    GEMMA.instance(T=q.dtype).launch(blocks, THREADS, angles, *operands, *results, each, q.shape[1], k.shape[1], emb.shape[0])
    return results[0], results[1]
