"""QMoE: a mixture of experts whose weights are packed in 2, 3, 4 or 8 bits; the experts in use are unpacked as they run.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.moe import activated, mixed, mixture_specs, refused_mixture, routed
from onnxgpu.providers.array_ops.packed_weights import unpacked
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator


def _numbers(xp: Any, packed: Array, bits: int, count: int) -> Array:
    """The first `count` numbers in each row of bytes, lowest bits first."""
    if bits != 3:
        return unpacked(xp, packed, bits)[..., :count]
    ones = (packed[..., None] >> xp.arange(8, dtype=packed.dtype)) & 1
    triples = ones.reshape(*packed.shape[:-1], -1)[..., : 3 * count].reshape(*packed.shape[:-1], count, 3)
    return triples[..., 0] | (triples[..., 1] << 1) | (triples[..., 2] << 2)


@dataclass(frozen=True, slots=True)
class _Projection:
    """One of an expert's matrices, packed: weights (experts, outputs, bytes), scales (experts, outputs[, blocks])."""

    weights: Array
    scales: Array
    zero_points: Array | None
    bias: Array | None
    bits: int

    def of(self, xp: Any, tokens: Array, expert: int) -> Array:
        """The product of tokens (count, inputs) with an expert's matrix, and its bias: (count, outputs)."""
        inputs, rows = tokens.shape[1], self.weights.shape[1]
        if self.weights.shape[2] * 8 // self.bits < inputs:
            raise InvalidArgument(f"QMoE: expected weights of {inputs} inputs in {self.bits} bits, got shape {braced(self.weights.shape)}")
        scale = widened(self.scales[expert]).reshape(rows, -1)
        blocks = scale.shape[1]
        values = _numbers(xp, self.weights[expert], self.bits, inputs).astype(scale.dtype).reshape(rows, blocks, inputs // blocks)
        if self.zero_points is None:
            values -= 1 << (self.bits - 1)
        else:
            values -= self._zero(xp, expert, rows, blocks).astype(scale.dtype)[..., None]
        values *= scale[..., None]
        product = xp.matmul(tokens, values.reshape(rows, inputs).T)
        return product if self.bias is None else product + widened(self.bias[expert])

    def _zero(self, xp: Any, expert: int, rows: int, blocks: int) -> Array:
        zero_points: Array = self.zero_points
        if len(zero_points.shape) == 3:
            return _numbers(xp, zero_points[expert], self.bits, blocks)
        return _numbers(xp, zero_points[expert], self.bits, rows)[:, None]


def _refused(operation: Operation) -> str | None:
    given = operation.attributes
    quant_type = given.get("quant_type", "int")
    if quant_type != "int":
        return f"with quant_type {quant_type!r} is not implemented"
    if given.get("weights_prepacked", -1) == 1:
        return "with weights_prepacked = 1 is not implemented: that layout is a provider's own"
    if any(value is not None for value in operation.inputs[15:]):
        return "with global or activation scales is not implemented"
    return refused_mixture(operation)


@operator("QMoE", domain="com.microsoft", specs=mixture_specs, when=_refused)
def quantized_mixture_of_experts(
    xp: Any,
    x: Array,
    router_probs: Array,
    fc1_experts_weights: Array,
    fc1_scales: Array = None,
    fc1_experts_bias: Array = None,
    fc2_experts_weights: Array = None,
    fc2_scales: Array = None,
    fc2_experts_bias: Array = None,
    fc3_experts_weights: Array = None,
    fc3_scales: Array = None,
    fc3_experts_bias: Array = None,
    fc1_zero_points: Array = None,
    fc2_zero_points: Array = None,
    fc3_zero_points: Array = None,
    router_weights: Array = None,
    fc1_global_scale: Array = None,
    fc2_global_scale: Array = None,
    fc1_act_scale: Array = None,
    fc2_act_scale: Array = None,
    fc1_act_block_scale: Array = None,
    fc2_act_block_scale: Array = None,
    *,
    accuracy_level: int = 0,
    activation_alpha: float = 1.0,
    activation_beta: float = 0.0,
    activation_type: str = "relu",
    block_size: int = 0,
    expert_weight_bits: int = 4,
    fc1_expert_weight_bits: int | None = None,
    fc2_expert_weight_bits: int | None = None,
    fc3_expert_weight_bits: int | None = None,
    k: int = 1,
    normalize_routing_weights: int = 0,
    quant_type: str = "int",
    swiglu_fusion: int = 0,
    swiglu_limit: float | None = None,
    swiglu_limit_after_activation: int = 0,
    use_sparse_mixer: int = 0,
    weights_prepacked: int = -1,
    out: Array = None,
) -> Array:
    """Computed in float32 from the unpacked weights, whatever `accuracy_level` would allow.

    As in onnxruntime, shares are a softmax over the chosen experts; `normalize_routing_weights` is heeded only with
    `router_weights` or 3-bit weights.
    """
    if fc1_scales is None or fc2_scales is None or fc2_experts_weights is None:
        raise InvalidArgument("QMoE: expected fc1_scales, fc2_experts_weights and fc2_scales")
    attributes = {
        "activation_alpha": activation_alpha,
        "activation_beta": activation_beta,
        "activation_type": activation_type,
        "swiglu_fusion": swiglu_fusion,
        "swiglu_limit": swiglu_limit,
    }
    first = _Projection(fc1_experts_weights, fc1_scales, fc1_zero_points, fc1_experts_bias, fc1_expert_weight_bits or expert_weight_bits)
    second = _Projection(fc2_experts_weights, fc2_scales, fc2_zero_points, fc2_experts_bias, fc2_expert_weight_bits or expert_weight_bits)
    third = None
    if fc3_experts_weights is not None:
        third = _Projection(
            fc3_experts_weights, fc3_scales, fc3_zero_points, fc3_experts_bias, fc3_expert_weight_bits or expert_weight_bits
        )

    def expert(index: int, tokens: Array) -> Array:
        linear = None if third is None else third.of(xp, tokens, index)
        return second.of(xp, activated(xp, first.of(xp, tokens, index), linear, attributes), index)

    always = router_weights is None and 3 not in (first.bits, second.bits)
    experts, shares = routed(xp, router_probs, k, always or bool(normalize_routing_weights), router_weights)
    tokens = widened(x).reshape(router_probs.shape[0], x.shape[-1])
    return stored(xp, mixed(xp, tokens, experts, shares, expert, fc1_experts_weights.shape[0]).reshape(x.shape), x.dtype, out)
