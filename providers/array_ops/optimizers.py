"""Adagrad, Adam and Momentum of ai.onnx.preview.training: one step for any number of tensors.

Inputs: learning rate, step count, then all tensors, their gradients, and their accumulators, kind by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.registry import operator

_DOMAIN = "ai.onnx.preview.training"


def _by_tensor(name: str, inputs: Sequence[Array], kinds: int, update: Callable[..., tuple[Array, ...]]) -> tuple[Array, ...]:
    """`update` for each tensor with its gradient and accumulators, the results kind by kind."""
    count, rest = divmod(len(inputs), kinds)
    if rest or not count:
        raise InvalidArgument(f"{name}: expected {kinds} inputs for each tensor after the rate and the count, got {len(inputs)} in all")
    updated = [update(*inputs[i::count]) for i in range(count)]
    return tuple(
        value.astype(like.dtype, copy=False) for kind in zip(*updated, strict=True) for value, like in zip(kind, inputs, strict=False)
    )


@operator("Adagrad", domain=_DOMAIN)
def adagrad(
    xp: Any, rate: Array, count: Array, *inputs: Array, decay_factor: float = 0.0, epsilon: float = 1e-6, norm_coefficient: float = 0.0
) -> tuple[Array, ...]:
    """Tensors and their sums of squared gradients. Spec: ai.onnx.preview.training Adagrad"""
    step = rate / (1 + count * decay_factor)

    def update(x: Array, gradient: Array, squares: Array) -> tuple[Array, ...]:
        gradient = norm_coefficient * x + gradient
        squares = squares + gradient * gradient
        return x - step * gradient / (xp.sqrt(squares) + epsilon), squares

    return _by_tensor("Adagrad", inputs, 3, update)


@operator("Adam", domain=_DOMAIN)
def adam(
    xp: Any,
    rate: Array,
    count: Array,
    *inputs: Array,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Array, ...]:
    """Tensors and their first and second moments. Spec: ai.onnx.preview.training Adam"""
    corrected = rate * xp.sqrt(1 - beta**count) / (1 - alpha ** xp.maximum(count, 1))
    step = xp.where(count > 0, corrected, rate)

    def update(x: Array, gradient: Array, first: Array, second: Array) -> tuple[Array, ...]:
        gradient = norm_coefficient * x + gradient
        first = alpha * first + (1 - alpha) * gradient
        second = beta * second + (1 - beta) * gradient * gradient
        return (1 - norm_coefficient_post) * (x - step * first / (xp.sqrt(second) + epsilon)), first, second

    return _by_tensor("Adam", inputs, 4, update)


@operator("Momentum", domain=_DOMAIN)
def momentum(
    xp: Any, rate: Array, count: Array, *inputs: Array, alpha: float, beta: float, mode: str, norm_coefficient: float
) -> tuple[Array, ...]:
    """Tensors and their velocities; `mode` is standard or nesterov. Spec: ai.onnx.preview.training Momentum"""
    share = xp.where(count > 0, beta, 1.0)

    def update(x: Array, gradient: Array, velocity: Array) -> tuple[Array, ...]:
        gradient = norm_coefficient * x + gradient
        velocity = alpha * velocity + share * gradient
        return x - rate * (gradient + alpha * velocity if mode == "nesterov" else velocity), velocity

    return _by_tensor("Momentum", inputs, 3, update)
