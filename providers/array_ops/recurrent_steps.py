"""What RNN, GRU and LSTM share: activations by name, clipping, directions, sequence lengths and the layout of inputs.

Spec: https://onnx.ai/onnx/operators/onnx__LSTM.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array

Activation = Callable[[Any, Array], Array]

_STEPS_WORTH_A_COPY = 8
"""From this many steps on, laying out the recurrence's weights for the product costs less than it saves."""


def sigmoid(xp: Any, x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * xp.tanh(0.5 * x) + 0.5


def softplus(xp: Any, x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return xp.logaddexp(x, xp.zeros_like(x))


ACTIVATION_PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "relu": (None, None),
    "leakyrelu": (0.01, None),
    "thresholdedrelu": (1.0, None),
    "tanh": (None, None),
    "scaledtanh": (1.0, 1.0),
    "sigmoid": (None, None),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, None),
    "softsign": (None, None),
    "softplus": (None, None),
}
"""The activations, and the defaults of their alpha and beta; None for a parameter that they do not have."""


def _function(name: str, alpha: float, beta: float) -> Activation:
    functions: dict[str, Activation] = {
        "affine": lambda xp, x: alpha * x + beta,
        "relu": lambda xp, x: xp.maximum(x, 0),
        "leakyrelu": lambda xp, x: xp.where(x < 0, alpha * x, x),
        "thresholdedrelu": lambda xp, x: xp.where(x > alpha, x, xp.zeros_like(x)),
        "tanh": lambda xp, x: xp.tanh(x),
        "scaledtanh": lambda xp, x: alpha * xp.tanh(beta * x),
        "sigmoid": sigmoid,
        "hardsigmoid": lambda xp, x: xp.clip(alpha * x + beta, 0, 1),
        "elu": lambda xp, x: xp.where(x < 0, alpha * xp.expm1(xp.minimum(x, 0)), x),
        "softsign": lambda xp, x: x / (1 + xp.abs(x)),
        "softplus": softplus,
    }
    return functions[name]


def named_activations(
    names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None
) -> list[tuple[str, float, float]]:
    """Name in lower case, alpha and beta of each; those that have parameters take them in turn, or their defaults.

    Raises:
        InvalidArgument: there is no such function.
    """
    next_alpha, next_beta = iter(alphas or ()), iter(betas or ())
    found = []
    for name in names:
        key = name.lower()
        if key not in ACTIVATION_PARAMETERS:
            raise InvalidArgument(f"activations: expected each to be one of {', '.join(sorted(ACTIVATION_PARAMETERS))}, got {name!r}")
        alpha, beta = ACTIVATION_PARAMETERS[key]
        chosen_alpha = 0.0 if alpha is None else float(next(next_alpha, alpha))
        found.append((key, chosen_alpha, 0.0 if beta is None else float(next(next_beta, beta))))
    return found


def activations_of(names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None) -> list[Activation]:
    """The functions of `named_activations`."""
    return [_function(*chosen) for chosen in named_activations(names, alphas, betas)]


def clipped(xp: Any, x: Array, clip: float | None) -> Array:
    """`x` limited to [-clip, clip], or as it is."""
    return xp.clip(x, -clip, clip) if clip else x


@dataclass(frozen=True, slots=True)
class Cell:
    """One direction's parameters, in the dtype to compute in.

    Attributes:
        w: weights of the input (gates * hidden, input).
        r: weights of the recurrence, transposed: (hidden, gates * hidden).
        wb: what is added to the input's share of the gates (gates * hidden,), or None: both biases, but for those in `rb`.
        rb: the recurrence's bias of the last gates, if it cannot be added before; or None.
        peepholes: (3 * hidden,) or None.
        activations: as many as the cell has.
        clip: limit of what goes into an activation, or None.
        is_plain: the activations are ONNX's defaults, and there are no peepholes and no limit.
    """

    w: Array
    r: Array
    wb: Array | None
    rb: Array | None
    peepholes: Array | None
    activations: Sequence[Activation]
    clip: float | None
    is_plain: bool

    def projected(self, xp: Any, x: Array) -> Array:
        """The input's share of the gates for all steps at once: (steps, batch, gates * hidden)."""
        gates = xp.matmul(x.reshape(x.shape[0] * x.shape[1], x.shape[2]), self.w.T).reshape(*x.shape[:2], self.w.shape[0])
        return gates if self.wb is None else gates + self.wb


States = tuple[Array, ...]
Step = Callable[[Any, Cell, Array, States], States]
"""One step of a cell: its share of the gates from the input, and the states, to the new states (hidden first)."""
Loop = Callable[[Any, Cell, Array, States], tuple[Array, States]]
"""All steps of whole sequences: the input's share of the gates (steps, batch, gates * hidden) and the first states, to the hidden states
(steps, batch, hidden) and the last states."""


def _reversed_within(xp: Any, x: Array, lengths: Array | None) -> Array:
    """`x` (steps, batch, …) with each sequence turned round within its length."""
    if lengths is None:
        return x[::-1]
    steps = xp.arange(x.shape[0])[:, None]
    source = xp.where(steps < lengths, lengths - 1 - steps, steps)
    return x[source, xp.arange(x.shape[1])[None, :]]


def run_direction(
    xp: Any,
    cell: Cell,
    step: Step,
    x: Array,
    states: States,
    lengths: Array | None,
    backwards: bool,
    loop: Loop | None = None,
) -> tuple[Array, States]:
    """All steps of one direction: the hidden states (steps, batch, hidden), zero after a sequence's end, and the last states.

    `loop` makes all steps of whole sequences of a plain cell: see recurrent_loops.py.
    """
    gates = cell.projected(xp, _reversed_within(xp, x, lengths) if backwards else x)
    if x.shape[0] >= _STEPS_WORTH_A_COPY:
        cell = replace(cell, r=xp.ascontiguousarray(cell.r))
    if loop is not None and lengths is None and cell.is_plain:
        hidden, states = loop(xp, cell, gates, states)
        return (hidden[::-1] if backwards else hidden), states
    steps = []
    for index in range(x.shape[0]):
        new = step(xp, cell, gates[index], states)
        if lengths is None:
            states = new
            steps.append(new[0])
            continue
        alive = (lengths > index)[:, None]
        states = tuple(xp.where(alive, after, before) for after, before in zip(new, states, strict=True))
        steps.append(xp.where(alive, new[0], xp.zeros_like(new[0])))
    hidden = xp.stack(steps) if steps else xp.zeros((*x.shape[:2], states[0].shape[1]), x.dtype)
    return (_reversed_within(xp, hidden, lengths) if backwards else hidden), states
