"""RNN, GRU and LSTM: all directions, activations, clipping, sequence lengths, layouts and initial states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_loops import gru_loop, lstm_loop, rnn_loop
from onnxgpu.providers.array_ops.recurrent_steps import Cell, Loop, States, Step, activations_of, clipped, run_direction
from onnxgpu.providers.array_ops.registry import operator

Names = Sequence[str] | None
Numbers = Sequence[float] | None


def _rnn_step(xp: Any, cell: Cell, gates: Array, states: States) -> States:
    total = gates + xp.matmul(states[0], cell.r)
    return (cell.activations[0](xp, clipped(xp, total, cell.clip)),)


def _gru_step(xp: Any, cell: Cell, gates: Array, states: States, linear_before_reset: bool) -> States:
    """Gates in ONNX's order: update, reset, hidden."""
    (hidden,), size = states, states[0].shape[1]
    gate_function, hidden_function = cell.activations
    recurrence = xp.matmul(hidden, cell.r if linear_before_reset else cell.r[:, : 2 * size])
    pair = gate_function(xp, clipped(xp, gates[:, : 2 * size] + recurrence[:, : 2 * size], cell.clip))
    update, reset = pair[:, :size], pair[:, size:]
    if linear_before_reset:
        share = recurrence[:, 2 * size :] if cell.rb is None else recurrence[:, 2 * size :] + cell.rb
        candidate = gates[:, 2 * size :] + reset * share
    else:
        candidate = gates[:, 2 * size :] + xp.matmul(reset * hidden, cell.r[:, 2 * size :])
    return ((1 - update) * hidden_function(xp, clipped(xp, candidate, cell.clip)) + update * hidden,)


def lstm_step(xp: Any, cell: Cell, gates: Array, states: States, input_forget: bool) -> States:
    """The new states (hidden, memory). Gates in ONNX's order: input, output, forget, cell; peepholes: input, output, forget."""
    hidden, memory = states
    size = hidden.shape[1]
    f, g, h = cell.activations
    total = gates + xp.matmul(hidden, cell.r)
    parts = [total[:, i * size : (i + 1) * size] for i in range(4)]
    if cell.peepholes is None and not input_forget:
        three = f(xp, clipped(xp, total[:, : 3 * size], cell.clip))
        entering, leaving, forgetting = (three[:, i * size : (i + 1) * size] for i in range(3))
        new_memory = forgetting * memory + entering * g(xp, clipped(xp, parts[3], cell.clip))
        return leaving * h(xp, new_memory), new_memory
    peepholes = [None] * 3 if cell.peepholes is None else [cell.peepholes[i * size : (i + 1) * size] for i in range(3)]

    def gate(part: Array, peephole: Array | None, seen: Array) -> Array:
        return f(xp, clipped(xp, part if peephole is None else part + peephole * seen, cell.clip))

    entering = gate(parts[0], peepholes[0], memory)
    forgetting = 1 - entering if input_forget else gate(parts[2], peepholes[2], memory)
    new_memory = forgetting * memory + entering * g(xp, clipped(xp, parts[3], cell.clip))
    leaving = gate(parts[1], peepholes[1], new_memory)
    return leaving * h(xp, new_memory), new_memory


def cells_of(
    name: str,
    gates: int,
    tensors: Mapping[str, Array | None],
    attributes: Mapping[str, Any],
    defaults: Sequence[str],
    directions: int,
    summed: int | None = None,
) -> list[Cell]:
    """The parameters of each direction, from the tensors w, r, b and p.

    Args:
        name: of the operator.
        gates: how many it has.
        tensors: by name.
        attributes: activations, their parameters and the limit.
        defaults: the activations of a direction, unless the attributes name others.
        directions: how many there are.
        summed: gates, from the first on, to which both biases are added as they are; None: all.

    Raises:
        InvalidArgument: shapes or activations do not fit.
    """
    names = list(attributes["activations"] or ())
    names = names if names else [*defaults] * directions
    is_default = [name.lower() for name in names] == [name.lower() for name in defaults] * directions
    is_plain = is_default and tensors.get("p") is None and not attributes["clip"]
    if len(names) < len(defaults) * directions:
        raise InvalidArgument(f"{name}: expected {len(defaults) * directions} activations for {directions} direction(s), got {names}")
    functions = activations_of(names[: len(defaults) * directions], attributes["activation_alpha"], attributes["activation_beta"])
    cells = []
    for d in range(directions):
        w, r = widened(tensors["w"][d]), widened(tensors["r"][d])  # type: ignore[index]
        b, p = tensors["b"], tensors.get("p")
        half = r.shape[0]
        bias = None if b is None else widened(b[d])
        if w.shape[0] != half or half != gates * r.shape[1]:
            raise InvalidArgument(
                f"{name}: expected W and R with {gates} * hidden_size rows, got shapes {list(w.shape)} and {list(r.shape)} a direction"
            )
        own, rest = None, None
        if bias is not None:
            end = half if summed is None else summed * r.shape[1]
            own = bias[:half].copy()
            own[:end] += bias[half : half + end]
            rest = bias[half + end :] if end < half else None
        chosen = functions[d * len(defaults) : (d + 1) * len(defaults)]
        cells.append(Cell(w, r.T, own, rest, None if p is None else widened(p[d]), chosen, attributes["clip"], is_plain))
    return cells


def directions_of(name: str, direction: str, w: Array) -> list[bool]:
    """Whether each direction runs backwards."""
    known = {"forward": [False], "foward": [False], "reverse": [True], "bidirectional": [False, True]}
    if direction not in known:
        raise InvalidArgument(f"{name}: expected direction to be forward, reverse or bidirectional, got {direction!r}")
    if w.shape[0] != len(known[direction]):
        raise InvalidArgument(f"{name}: expected W with {len(known[direction])} direction(s) ({direction}), got shape {list(w.shape)}")
    return known[direction]


def run(
    xp: Any,
    name: str,
    gates: int,
    step: Step,
    x: Array,
    tensors: Mapping[str, Array | None],
    initial: Sequence[Array | None],
    attributes: Mapping[str, Any],
    defaults: Sequence[str],
    output_count: int,
    out: Any = None,
    loop: Loop | None = None,
    summed: int | None = None,
) -> tuple[Array, ...]:
    """All directions: Y and the last states, laid out as the node asks for, in the memory `out` where it is given."""
    if len(x.shape) != 3:
        raise InvalidArgument(f"{name}: expected X of rank 3, got shape {list(x.shape)}")
    layout = attributes["layout"]
    backwards = directions_of(name, attributes["direction"], tensors["w"])
    cells = cells_of(name, gates, tensors, attributes, defaults, len(backwards), summed)
    source = widened(xp.swapaxes(x, 0, 1) if layout else x)
    if source.shape[2] != cells[0].w.shape[1]:
        raise InvalidArgument(f"{name}: expected an input size of {cells[0].w.shape[1]} like W's, got X of shape {list(x.shape)}")
    lengths, hidden_size = tensors["lengths"], cells[0].r.shape[0]
    sequences, finals = [], []
    for d, (cell, reverse) in enumerate(zip(cells, backwards, strict=True)):
        states = tuple(initial_state(xp, state, d, layout, source, hidden_size) for state in initial)
        hidden, last = run_direction(xp, cell, step, source, states, lengths, reverse, loop)
        sequences.append(hidden)
        finals.append(last)
    y = xp.stack(sequences, axis=1)
    y = xp.transpose(y, (2, 0, 1, 3)) if layout else y
    lasts = [xp.stack([last[i] for last in finals], axis=1 if layout else 0) for i in range(min(len(initial), output_count - 1))]
    memory = (out,) if output_count == 1 else out or (None,) * output_count
    return tuple(stored(xp, value, x.dtype, place) for value, place in zip((y, *lasts), memory, strict=True))


def recurrent_specs(x: Array, w: Array, r: Array, *_: Any, layout: int = 0, output_count: int = 1, **__: Any) -> tuple[Spec, ...] | None:
    """Of Y and the last states; None for tensors of other ranks, which the function refuses."""
    if (len(x.shape), len(w.shape), len(r.shape)) != (3, 3, 3):
        return None
    steps, batch = (x.shape[1], x.shape[0]) if layout else (x.shape[0], x.shape[1])
    directions, size = w.shape[0], r.shape[2]
    y = (batch, steps, directions, size) if layout else (steps, directions, batch, size)
    last = (batch, directions, size) if layout else (directions, batch, size)
    return (Spec(y, x.dtype), Spec(last, x.dtype), Spec(last, x.dtype))[:output_count]


def initial_state(xp: Any, state: Array | None, direction: int, layout: int, x: Array, hidden_size: int) -> Array:
    """A direction's first state, (batch, hidden); zeros where it is not given."""
    if state is None:
        return xp.zeros((x.shape[1], hidden_size), x.dtype)
    return widened(state[:, direction] if layout else state[direction])


@operator("RNN", since=1, specs=recurrent_specs)
def rnn(
    xp: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array = None,
    sequence_lens: Array = None,
    initial_h: Array = None,
    *,
    activation_alpha: Numbers = None,
    activation_beta: Numbers = None,
    activations: Names = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    output_sequence: int = 0,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """One gate: H = f(X W + H R + b). Spec: https://onnx.ai/onnx/operators/onnx__RNN.html"""
    attributes = {
        "activation_alpha": activation_alpha,
        "activation_beta": activation_beta,
        "activations": activations,
        "clip": clip,
        "direction": direction,
        "layout": layout,
    }
    tensors = {"w": w, "r": r, "b": b, "lengths": sequence_lens}
    return run(xp, "RNN", 1, _rnn_step, x, tensors, (initial_h,), attributes, ("Tanh",), output_count, out, rnn_loop)


@operator("GRU", since=1, specs=recurrent_specs)
def gru(
    xp: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array = None,
    sequence_lens: Array = None,
    initial_h: Array = None,
    *,
    activation_alpha: Numbers = None,
    activation_beta: Numbers = None,
    activations: Names = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Gated recurrent unit. Spec: https://onnx.ai/onnx/operators/onnx__GRU.html"""
    attributes = {
        "activation_alpha": activation_alpha,
        "activation_beta": activation_beta,
        "activations": activations,
        "clip": clip,
        "direction": direction,
        "layout": layout,
    }
    tensors = {"w": w, "r": r, "b": b, "lengths": sequence_lens}

    resets_after = bool(linear_before_reset)

    def step(xp: Any, cell: Cell, gates: Array, states: States) -> States:
        return _gru_step(xp, cell, gates, states, resets_after)

    def loop(xp: Any, cell: Cell, gates: Array, states: States) -> tuple[Array, States]:
        return gru_loop(xp, cell, gates, states, resets_after)

    defaults, summed = ("Sigmoid", "Tanh"), 2 if resets_after else None
    return run(xp, "GRU", 3, step, x, tensors, (initial_h,), attributes, defaults, output_count, out, loop, summed)


@operator("LSTM", since=1, specs=recurrent_specs)
def lstm(
    xp: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array = None,
    sequence_lens: Array = None,
    initial_h: Array = None,
    initial_c: Array = None,
    p: Array = None,
    *,
    activation_alpha: Numbers = None,
    activation_beta: Numbers = None,
    activations: Names = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Long short-term memory, with peepholes if given. Spec: https://onnx.ai/onnx/operators/onnx__LSTM.html"""
    attributes = {
        "activation_alpha": activation_alpha,
        "activation_beta": activation_beta,
        "activations": activations,
        "clip": clip,
        "direction": direction,
        "layout": layout,
    }
    tensors = {"w": w, "r": r, "b": b, "lengths": sequence_lens, "p": p}

    def step(xp: Any, cell: Cell, gates: Array, states: States) -> States:
        return lstm_step(xp, cell, gates, states, bool(input_forget))

    defaults, loop = ("Sigmoid", "Tanh", "Tanh"), None if input_forget else lstm_loop
    return run(xp, "LSTM", 4, step, x, tensors, (initial_h, initial_c), attributes, defaults, output_count, out, loop)
