"""MoE and MoEGroupRouter: mixtures of experts, each a small feed-forward network that runs on the tokens routed to it.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.gelu import fast_gelu_of
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first

Expert = Callable[[int, Array], Array]
_ACTIVATIONS: Mapping[str, Callable[[Any, Array], Array]] = {
    "relu": lambda xp, x: xp.maximum(x, 0),
    "gelu": lambda xp, x: fast_gelu_of(xp, x, out=None),
    "silu": lambda xp, x: x * sigmoid(xp, x),
    "identity": lambda xp, x: x,
}


def refused_mixture(operation: Operation) -> str | None:
    """Why the attributes that MoE and QMoE share are not covered, or None."""
    given = operation.attributes
    activation, k = given.get("activation_type", "relu"), given.get("k", 1)
    if activation not in (*_ACTIVATIONS, "swiglu"):
        return f"with activation_type {activation!r} is not implemented (implemented: {', '.join(_ACTIVATIONS)}, swiglu)"
    if given.get("swiglu_limit_after_activation"):
        return "with swiglu_limit_after_activation is not implemented"
    return "with use_sparse_mixer takes k = 2 only" if given.get("use_sparse_mixer") and k != 2 else None


def routed(xp: Any, logits: Array, k: int, normalize: bool, weights: Array | None = None) -> tuple[Array, Array]:
    """The `k` experts of each token and their shares, both (tokens, k): of the softmax over all, or taken from `weights`.

    Of experts with one score the last comes first, as in onnxruntime.
    """
    wide = widened(logits)
    experts = wide.shape[1] - 1 - xp.argsort(-wide[:, ::-1], axis=1, kind="stable")[:, :k]
    if weights is None:
        shares = xp.exp(wide - xp.max(wide, axis=1, keepdims=True))
        shares = shares / xp.sum(shares, axis=1, keepdims=True)
    else:
        shares = widened(weights)
    chosen = xp.take_along_axis(shares, experts, axis=1)
    return experts, chosen / xp.sum(chosen, axis=1, keepdims=True) if normalize else chosen


def mixed(xp: Any, x: Array, experts: Array, shares: Array, expert: Expert, count: int) -> Array:
    """The sum of each token's experts, weighted by their shares: `expert(index, tokens)` runs once for each one in use."""
    result = xp.zeros_like(x)
    for index in range(count):
        tokens, places = xp.nonzero(experts == index)
        if len(tokens):
            result[tokens] += expert(index, x[tokens]) * shares[tokens, places][:, None]
    return result


def activated(xp: Any, first: Array, third: Array | None, attributes: Mapping[str, Any]) -> Array:
    """The activation of the first projection; SwiGLU's two halves are interleaved, one behind the other, or first and third."""
    activation = attributes["activation_type"]
    if activation != "swiglu":
        return _ACTIVATIONS[activation](xp, first)
    fusion, half = attributes["swiglu_fusion"], first.shape[1] // 2
    gate, linear = {0: (first, third), 1: (first[:, ::2], first[:, 1::2]), 2: (first[:, :half], first[:, half:])}[fusion]
    if linear is None:
        raise InvalidArgument("SwiGLU with swiglu_fusion = 0: expected fc3_experts_weights, which the node leaves out")
    limit = attributes["swiglu_limit"]
    if limit is not None:
        gate, linear = xp.minimum(gate, limit), xp.clip(linear, -limit, limit)
    return gate * sigmoid(xp, attributes["activation_alpha"] * gate) * (linear + attributes["activation_beta"])


def mixture_specs(x: Array, router_probs: Array, *_: Any, **__: Any) -> Spec:
    """The input's shape: (tokens, hidden) or (batch, length, hidden), with one row of the router for each token."""
    tokens = int(np.prod(x.shape[:-1]))
    if len(x.shape) not in (2, 3) or len(router_probs.shape) != 2 or router_probs.shape[0] != tokens:
        raise InvalidArgument(
            f"expected input (tokens, hidden) or (batch, length, hidden) and router_probs ({tokens}, experts), "
            f"got {braced(x.shape)} and {braced(router_probs.shape)}"
        )
    return like_first(x)


def _refused(operation: Operation) -> str | None:
    third = len(operation.inputs) > 6 and operation.inputs[6] is not None
    if third and operation.attributes.get("activation_type") != "swiglu":
        return "with fc3_experts_weights is implemented for swiglu only"
    return refused_mixture(operation)


@operator("MoE", domain="com.microsoft", specs=mixture_specs, when=_refused)
def mixture_of_experts(
    xp: Any,
    x: Array,
    router_probs: Array,
    fc1_experts_weights: Array,
    fc1_experts_bias: Array = None,
    fc2_experts_weights: Array = None,
    fc2_experts_bias: Array = None,
    fc3_experts_weights: Array = None,
    fc3_experts_bias: Array = None,
    *,
    activation_alpha: float = 1.0,
    activation_beta: float = 0.0,
    activation_type: str = "relu",
    k: int = 1,
    normalize_routing_weights: int = 0,
    swiglu_fusion: int = 0,
    swiglu_limit: float | None = None,
    swiglu_limit_after_activation: int = 0,
    use_sparse_mixer: int = 0,
    out: Array = None,
) -> Array:
    """Weights are (experts, outputs, inputs)."""
    if fc2_experts_weights is None:
        raise InvalidArgument("MoE: expected fc2_experts_weights, which the node leaves out")
    attributes = {
        "activation_alpha": activation_alpha,
        "activation_beta": activation_beta,
        "activation_type": activation_type,
        "swiglu_fusion": swiglu_fusion,
        "swiglu_limit": swiglu_limit,
    }

    def expert(index: int, tokens: Array) -> Array:
        first = _projected(xp, tokens, fc1_experts_weights, fc1_experts_bias, index)
        third = None if fc3_experts_weights is None else _projected(xp, tokens, fc3_experts_weights, fc3_experts_bias, index)
        return _projected(xp, activated(xp, first, third, attributes), fc2_experts_weights, fc2_experts_bias, index)

    experts, shares = routed(xp, router_probs, k, bool(normalize_routing_weights))
    tokens = widened(x).reshape(router_probs.shape[0], x.shape[-1])
    result = mixed(xp, tokens, experts, shares, expert, fc1_experts_weights.shape[0])
    return stored(xp, result.reshape(x.shape), x.dtype, out)


def _projected(xp: Any, tokens: Array, weights: Array, bias: Array | None, index: int) -> Array:
    product = xp.matmul(tokens, widened(weights[index]).T)
    return product if bias is None else product + widened(bias[index])


def _top(xp: Any, scores: Array, count: int) -> Array:
    """Which of the last axis are among its greatest `count`; of equal ones the first."""
    order = xp.argsort(-scores, axis=-1, kind="stable")
    return xp.argsort(order, axis=-1, kind="stable") < count


@operator("MoEGroupRouter", domain="com.microsoft")
def moe_group_router(
    xp: Any,
    logits: Array,
    expert_bias: Array,
    projection_weight: Array = None,
    *,
    group_topk: int = 2,
    n_group: int = 1,
    router_sentinel: float = -10000.0,
    top_k: int,
    topk_group: int = 1,
    output_count: int = 1,
) -> Sequence[Array | None]:
    """Log-scores of the best experts of the best groups (tokens, experts), or all experts' biased and plain scores."""
    wide = widened(logits)
    if projection_weight is not None:
        wide = xp.matmul(wide, widened(projection_weight).T)
    count = expert_bias.shape[0]
    if wide.shape[-1] != count or n_group < 1 or count % n_group or not 1 <= topk_group <= n_group or not 1 <= top_k <= count:
        raise InvalidArgument(
            f"MoEGroupRouter: expected logits of {count} experts in groups of one size, topk_group up to the groups and top_k up to the "
            f"experts, got {braced(wide.shape)}, n_group {n_group}, topk_group {topk_group}, top_k {top_k}"
        )
    scores = sigmoid(xp, wide.reshape(-1, count))
    biased = scores + expert_bias
    if output_count > 1:
        return (None, biased, scores)[:output_count]
    groups = biased.reshape(-1, n_group, count // n_group)
    best = -xp.sort(-groups, axis=2)[:, :, :group_topk]
    open_groups = _top(xp, xp.sum(best, axis=2), topk_group)[:, :, None]
    candidates = xp.where(open_groups, groups, xp.asarray(-np.inf, biased.dtype)).reshape(biased.shape)
    chosen = _top(xp, candidates, top_k) & (candidates > -np.inf)
    result = xp.where(chosen, xp.log(xp.maximum(scores, 1e-20)), xp.asarray(router_sentinel, scores.dtype))
    return (stored(xp, result, logits.dtype),)
