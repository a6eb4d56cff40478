"""The recurrent layers of hybrid language models: linear attention, gated delta networks, causal convolutions with a state."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import normal, uniform

Inputs = list[np.ndarray | None]
_STARTS = np.array([0, 2, 5, 9], "int32")
_COUNTS = np.array([1, 5, 2], "int32")
_STATE = normal(3, 4, 3, 4)
_TOKENS: Inputs = [normal(9, 2, 4), normal(9, 2, 4, seed=1), normal(9, 4, 3)]
_HALF: Inputs = [x.astype("float16") for x in _TOKENS if x is not None]


def _case(operator: str, inputs: Inputs, outputs: int = 1, **attributes: Any) -> Case:
    return Case(operator, inputs, attributes, opset=1, domain="com.microsoft", outputs=outputs, oracle="onnxruntime")


def _linear(queries: int, heads: int, key_heads: int, rule: str) -> Case:
    decay = -uniform(2, 5, heads) if "gated" in rule else None
    rate = uniform(2, 5, heads) if "delta" in rule else None
    inputs: Inputs = [normal(2, 5, queries * 4), uniform(2, 5, key_heads * 4, high=0.5), normal(2, 5, heads * 3), normal(2, heads, 4, 3)]
    return _case("LinearAttention", [*inputs, decay, rate], 2, q_num_heads=queries, kv_num_heads=heads, update_rule=rule)


def _wide(size: int, rule: str, decay: np.ndarray | None, **attributes: Any) -> Case:
    """Heads of `size` features, more than a warp has lanes, and of 6 values."""
    keys = uniform(1, 4, 2 * size, low=-0.1, high=0.1)
    rate = uniform(1, 4, 2) if "delta" in rule else None
    inputs: Inputs = [normal(1, 4, 4 * size), keys, normal(1, 4, 12), normal(1, 2, size, 6), decay, rate]
    return _case("LinearAttention", inputs, 2, q_num_heads=4, kv_num_heads=2, update_rule=rule, **attributes)


def _delta_net(inputs: Inputs, outputs: int = 2, **attributes: Any) -> Case:
    return _case("GatedDeltaNet", inputs, outputs, qk_l2_norm=1, **attributes)


def _of_rule(rule: str) -> Case:
    decay = -uniform(9, 4) if "gated" in rule else None
    rate = uniform(9, 4) if "delta" in rule else None
    inputs = [*_TOKENS, _STARTS, decay, rate, _STATE, None, None, _COUNTS]
    return _delta_net(inputs, 3, update_rule=rule, state_update_capacity=3)


def _gated(activation: str, decay: Inputs, bias: Inputs, **attributes: Any) -> Case:
    inputs = [*_TOKENS, _STARTS, *decay, normal(9, 4, seed=1), None, normal(4), *bias]
    return _delta_net(inputs, gate_activation=activation, beta_activation="sigmoid", **attributes)


CASES = [
    *(_linear(*heads, rule) for heads in ((4, 2, 2), (2, 4, 4), (2, 4, 2)) for rule in ("linear", "gated", "delta", "gated_delta")),
    _case(
        "LinearAttention",
        [normal(2, 5, 16), uniform(2, 5, 8), normal(2, 5, 6), None, -uniform(2, 5, 8), uniform(2, 5, 1)],
        2,
        q_num_heads=4,
        kv_num_heads=2,
        scale=0.3,
    ),
    _case(
        "LinearAttention",
        [normal(2, 0, 16), uniform(2, 0, 8), normal(2, 0, 6), None, -uniform(2, 0, 2), uniform(2, 0, 2)],
        2,
        q_num_heads=4,
        kv_num_heads=2,
    ),
    _case(
        "LinearAttention",
        [
            *(uniform(2, 5, n, dtype="float16") for n in (16, 8, 6)),
            None,
            -uniform(2, 5, 2, dtype="float16"),
            uniform(2, 5, 2, dtype="float16"),
        ],
        2,
        q_num_heads=4,
        kv_num_heads=2,
    ),
    _wide(40, "gated_delta", -uniform(1, 4, 80)),
    _wide(100, "gated", -uniform(1, 4, 2)),
    _wide(200, "delta", None, scale=0.2),
    _wide(300, "gated_delta", -uniform(1, 4, 2)),
    _case("LinearAttentionGate", [normal(2, 3, 4) * 100, normal(4), normal(4)]),
    _case("LinearAttentionGate", [normal(2, 3, 4), normal(4), normal(4), normal(2, 3, 4, seed=1)], 2),
    _case("LinearAttentionGate", [normal(2, 3, 4, dtype="float16"), normal(4), normal(4), normal(2, 3, 4, dtype="float16", seed=1)], 2),
    *map(_of_rule, ("linear", "gated", "delta", "gated_delta")),
    _delta_net([*_TOKENS, _STARTS, -uniform(9, 4, 4), uniform(9, 4), None, None, None, _COUNTS], 3, state_update_capacity=5),
    _delta_net(
        [
            *(normal(9, 2, 40), normal(9, 2, 40, seed=1), normal(9, 4, 3), _STARTS),
            *(-uniform(9, 4, 40), uniform(9, 4), normal(3, 4, 3, 40), None, None, _COUNTS),
        ],
        3,
        state_update_capacity=3,
    ),
    _delta_net([*_TOKENS, np.array([0, 0, 5, 9], "int32"), -uniform(9, 4), uniform(9, 4), _STATE]),
    _delta_net([normal(6, 28), None, None, None, -uniform(6, 4), uniform(6, 4), _STATE], scale=0.3),
    _delta_net([normal(3, 2, 28), None, None, None, -uniform(3, 2, 4), uniform(3, 2, 4), _STATE], 1),
    _delta_net(
        [normal(3, 2, 2, 4), normal(3, 2, 2, 4), normal(3, 2, 4, 3), None, -uniform(3, 2, 4, 4), uniform(3, 2, 4), _STATE],
    ),
    _gated("softplus", [normal(9, 4, 4)], [normal(4, 4)]),
    _gated("softplus", [normal(9, 4)], [normal(4)]),
    _gated("kda", [normal(9, 4, 4)], [normal(16)]),
    _gated("sigmoid", [normal(9, 4)], [normal(4)], gate_lower_bound=-3.0),
    _delta_net([*_HALF, _STARTS, -uniform(9, 4, dtype="float16"), uniform(9, 4, dtype="float16"), _STATE]),
    _delta_net(
        [*_TOKENS, _STARTS, -uniform(9, 4), uniform(9, 4), _STATE, None, None, _COUNTS, np.array([0], "int32")], 3, state_update_capacity=3
    ),
    _case("CausalConvWithState", [normal(2, 3, 6), normal(3, 1, 4), normal(3), normal(2, 3, 3)], 2, activation="silu"),
    _case("CausalConvWithState", [normal(2, 3, 6), normal(3, 1, 4), normal(3)], 2),
    _case("CausalConvWithState", [normal(2, 3, 2), normal(3, 1, 4), normal(3), normal(2, 3, 6)], 2, dilation=2),
    _case("CausalConvWithState", [normal(2, 3, 0), normal(3, 1, 4), normal(3), normal(2, 3, 3)], 2),
    _case("CausalConvWithState", [normal(2, 6, 3), normal(3, 1, 4), None, normal(2, 3, 3)], 2, channels_last=1),
    _case("CausalConvWithState", [normal(2, 6, 2, 3), normal(6, 1, 4), None, normal(2, 3, 2, 3)], 2, channels_last=1),
    _case("CausalConvWithState", [normal(2, 6, 2, 3), normal(6, 1, 1), normal(6)], 2, channels_last=1),
    _case(
        "CausalConvWithState",
        [normal(*shape, dtype="float16") for shape in ((2, 3, 6), (3, 1, 4), (3,), (2, 3, 6))],
        2,
        activation="swish",
        dilation=2,
    ),
    _case("VarlenCausalConvWithState", [normal(9, 3), normal(3, 1, 4), _STARTS, normal(3), normal(3, 3, 3)], 2, activation="swish"),
    _case("VarlenCausalConvWithState", [normal(9, 3), normal(3, 1, 4), _STARTS, None, normal(3, 3, 6)], 2, dilation=2),
    _case(
        "VarlenCausalConvWithState",
        [normal(9, 3), normal(3, 1, 4), _STARTS, None, normal(3, 3, 3), np.array([-1, 5, 2], "int32")],
        3,
        state_update_capacity=8,
    ),
    _case(
        "VarlenCausalConvWithState",
        [*(normal(*shape, dtype="float16") for shape in ((9, 3), (3, 1, 4))), _STARTS, None, normal(3, 3, 3, dtype="float16"), _COUNTS],
        3,
        state_update_capacity=3,
    ),
]
