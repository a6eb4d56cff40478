"""RNN, GRU and LSTM: the inputs' share of all gates in one product, then a product and one kernel a step.

A GRU that resets its state before the product takes two of each. float16 and bfloat16 gates and hidden states are rounded to their type
between kernels; LSTM's memory is kept in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value, Work
from onnxgpu.providers.array_ops.precision import accumulation_dtype
from onnxgpu.providers.array_ops.recurrent import directions_of, recurrent_specs
from onnxgpu.providers.array_ops.recurrent_steps import ACTIVATION_PARAMETERS, named_activations
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.products import product, structure
from onnxgpu.providers.cuda.registry import operator

_IS_DEFAULT = ("false", "true")
RNN_STEP = Template("recurrent.cu", "rnn_step<{T}, {is_default}>", "pppppppplss", T=FLOATS, is_default=_IS_DEFAULT)
GRU_GATES = Template("recurrent.cu", "gru_gates<{T}, {is_default}>", "pppppppplss", T=FLOATS, is_default=_IS_DEFAULT)
GRU_STEP = Template("recurrent.cu", "gru_step<{T}, {is_default}>", "pppppppppplss", T=FLOATS, is_default=_IS_DEFAULT)
LSTM_STEP = Template("recurrent.cu", "lstm_step<{T}, {is_default}>", "ppppppppppppblss", T=FLOATS, is_default=_IS_DEFAULT)

_MOST_DIRECTIONS, _MOST_FUNCTIONS = 2, 3
_KINDS = {name: number for number, name in enumerate(ACTIVATION_PARAMETERS)}
"""Activation → its number in kernels/recurrent.cu."""

_ALIGNMENT = 256
Part = Callable[[int], None]
Sizes = Mapping[str, tuple[tuple[int, ...], np.dtype]]


@dataclass(frozen=True, slots=True)
class _Run:
    """What is the same for all steps of a launch.

    Attributes:
        tensors: the inputs by name, dense; None for one that is absent.
        scratch: arrays in the workspace by name.
        weights: of the recurrence, transposed: (directions, hidden, gates * hidden).
        y: all hidden states as (steps, directions, batch, hidden), a view.
        lasts: the wanted last states as (directions, batch, hidden), views, then None.
        firsts: the given first states, likewise; None for zeros.
        structures: `Step` and `Activations` of the kernels.
        instance: what the kernels' templates are given.
    """

    tensors: Mapping[str, Array | None]
    scratch: Mapping[str, Array]
    weights: Array
    y: Array
    lasts: Sequence[Array | None]
    firsts: Sequence[Array | None]
    structures: tuple[np.void, np.void]
    instance: Mapping[str, Any]


class Recurrent:
    """A kernel of one of the three.

    Args:
        xp: CuPy.
        operation: the node.
    """

    name: ClassVar[str]
    gates: ClassVar[int]
    default_activations: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]] = ("initial_h",)
    input_names: tuple[str, ...] = ("x", "w", "r", "b", "sequence_lens", "initial_h")
    required_inputs = 3
    launches_many = True

    def __init__(self, xp: Any, operation: Operation) -> None:
        self.xp, self.attributes = xp, operation.attributes
        self._output_count = len(operation.outputs)
        self.layout = int(operation.attributes.get("layout", 0))
        self._direction = operation.attributes.get("direction", "forward")

    def multiplier(self, a: Array, b: Array, out: Array, scratch: Mapping[str, Array]) -> Work:
        """What writes the matrix product of a and b, as often as it is called within a launch."""
        return partial(product, self.xp, a, b, out)

    def scratch(self, directions: int, batch: int, size: int, dtype: np.dtype) -> Sizes:
        """Name → shape and dtype of what one step leaves for the next, or for its own next kernel."""
        return {
            "hidden": ((directions, batch, size), dtype),
            "recurrence": ((directions, batch, self.gates * size), dtype),
        }

    def parts(self, run: _Run) -> Sequence[Part]:
        """The products and kernels of a step, in order: each is called with the step's number."""
        raise NotImplementedError

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """Of Y and the last states.

        Raises:
            InvalidArgument: shapes or attributes do not fit.
        """
        x, w, r = inputs[:3]
        specs = recurrent_specs(x, w, r, layout=self.layout, output_count=self._output_count)
        if specs is None:
            raise InvalidArgument(f"{self.name}: expected X, W and R of rank 3, got shapes {[list(each.shape) for each in (x, w, r)]}")
        directions_of(self.name, self._direction, w)
        rows = self.gates * r.shape[2]
        if w.shape[1] != rows or r.shape[1] != rows or w.shape[0] != r.shape[0]:
            raise InvalidArgument(
                f"{self.name}: expected W and R with {self.gates} * hidden_size rows, "
                f"got shapes {list(w.shape[1:])} and {list(r.shape[1:])} a direction"
            )
        if x.shape[2] != w.shape[2]:
            raise InvalidArgument(f"{self.name}: expected an input size of {w.shape[2]} like W's, got X of shape {list(x.shape)}")
        return specs

    def workspace(self, inputs: Sequence[Value]) -> int:
        """Bytes for the gates of all steps, what one step's products give, and the states."""
        return sum(map(_room, self.sizes(inputs).values()))

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        xp = self.xp
        specs = self.outputs(inputs)
        results = [xp.empty(spec.shape, spec.dtype) for spec in specs] if outputs is None else list(outputs)
        given: list[Array | None] = [None if value is None else dense(xp, value) for value in inputs]
        tensors = dict(zip(self.input_names, given + [None] * (len(self.input_names) - len(given)), strict=True))
        y, lasts = results[0], results[1:]
        firsts = [tensors[name] for name in self.states]
        if self.layout:
            y, lasts = y.transpose(1, 2, 0, 3), [last.swapaxes(0, 1) for last in lasts]
            firsts = [None if first is None else first.swapaxes(0, 1) for first in firsts]
        if not y.size:
            for last, first in zip(lasts, firsts, strict=False):
                last[...] = 0 if first is None else first
            return results
        scratch = self._arrays(inputs, workspace)
        functions, is_default = self._functions(y.shape[1])
        x, w, r = (dense(xp, value) for value in inputs[:3])
        self.multiplier(x.reshape(-1, x.shape[2]), w.reshape(-1, w.shape[2]).T, scratch["inputs"], scratch)()
        instance = {"T": x.dtype, "is_default": "true" if is_default else "false"}
        run = _Run(
            tensors, scratch, r.swapaxes(1, 2), y, [*lasts, None, None], firsts, (self._structure(y, lasts, firsts), functions), instance
        )
        parts = self.parts(run)
        for step in range(y.shape[0]):
            for part in parts:
                part(step)
        return results

    def of_state(self, run: _Run, weights: Array, out: Array) -> Part:
        """The product of the hidden state before a step with some of the recurrence's weights; none where the state is zero."""
        first = None if run.firsts[0] is None else self.multiplier(run.firsts[0], weights, out, run.scratch)
        rest = self.multiplier(run.scratch["hidden"], weights, out, run.scratch)

        def part(step: int) -> None:
            if step:
                rest()
            elif first is not None:
                first()

        return part

    def by_kernel(self, kernel: Template, run: _Run, *more: Array | bool | None) -> Part:
        """A launch with the arguments that all kernels begin and end with, and `more` between them."""
        tensors, scratch = run.tensors, run.scratch
        arrays = (scratch["inputs"], scratch["recurrence"], tensors["b"], tensors["sequence_lens"], run.firsts[0], scratch["hidden"], *more)
        arguments = [0 if x is None else x if isinstance(x, bool) else x.data.ptr for x in arrays]
        launch, blocks = kernel.instance(**run.instance).launch, blocks_for(scratch["hidden"].size)
        return lambda step: launch(blocks, THREADS, *arguments, step, *run.structures)

    def _structure(self, y: Array, lasts: Sequence[Array], firsts: Sequence[Array | None]) -> np.void:
        """`Step` of the kernels."""
        steps, directions, batch, size = y.shape
        width = directions * self.gates * size
        from_step, from_batch = (width, steps * width) if self.layout else (batch * width, width)
        first = next((_strides(state)[:2] for state in firsts if state is not None), [0, 0])
        last = _strides(lasts[0])[:2] if lasts else [0, 0]
        y_step, y_direction, y_batch, _ = _strides(y)
        return structure(
            *(directions, batch, size, steps, {"reverse": 1, "bidirectional": 2}.get(self._direction, 0)),
            *(from_step, from_batch, *first, y_step, y_batch, y_direction, *last, float(self.attributes.get("clip") or 0.0)),
        )

    def _functions(self, directions: int) -> tuple[np.void, bool]:
        """`Activations`, and whether they are ONNX's defaults."""
        defaults = [*self.default_activations] * directions
        names = list(self.attributes.get("activations") or defaults)
        if len(names) < len(defaults):
            raise InvalidArgument(f"{self.name}: expected {len(defaults)} activations for {directions} direction(s), got {names}")
        names = names[: len(defaults)]
        parameters = named_activations(names, self.attributes.get("activation_alpha"), self.attributes.get("activation_beta"))
        each = len(self.default_activations)
        fields: list[int | float] = []
        for place in range(_MOST_DIRECTIONS * _MOST_FUNCTIONS):
            direction, function = divmod(place, _MOST_FUNCTIONS)
            known = function < each and direction < directions
            kind, alpha, beta = parameters[direction * each + function] if known else ("affine", 0.0, 0.0)
            fields += [_KINDS[kind], alpha, beta]
        return structure(*fields), [name.lower() for name in names] == [name.lower() for name in defaults]

    def sizes(self, inputs: Sequence[Value]) -> Sizes:
        """Name → shape and dtype of everything in the workspace."""
        x, w, r = inputs[:3]
        steps, batch = x.shape[self.layout], x.shape[1 - self.layout]
        projected = (x.shape[0] * x.shape[1], w.shape[0] * w.shape[1]), x.dtype
        return {"inputs": projected, **(self.scratch(w.shape[0], batch, r.shape[2], x.dtype) if steps else {})}

    def _arrays(self, inputs: Sequence[Value], workspace: Array | None) -> dict[str, Array]:
        """The scratch arrays, in `workspace` or in memory of their own."""
        memory = self.xp.empty(self.workspace(inputs), np.uint8) if workspace is None else workspace
        arrays, start = {}, 0
        for name, (shape, dtype) in self.sizes(inputs).items():
            arrays[name] = memory[start : start + Spec(shape, dtype).nbytes].view(dtype).reshape(shape)
            start += _room((shape, dtype))
        return arrays


def _room(size: tuple[tuple[int, ...], np.dtype]) -> int:
    return -(-Spec(*size).nbytes // _ALIGNMENT) * _ALIGNMENT


def _strides(x: Array) -> list[int]:
    """In elements."""
    return [stride // x.itemsize for stride in x.strides]


def refusal(operation: Operation) -> str | None:
    """Why the node is not computed here."""
    floats = [value for index, value in enumerate(operation.inputs) if value is not None and index != 4]
    return "takes tensors of one element type" if len({value.dtype for value in floats}) > 1 else None


@operator("RNN", types=FLOAT_NAMES, when=refusal)
class RNN(Recurrent):
    """One gate: H = f(X W + H R + b). Spec: https://onnx.ai/onnx/operators/onnx__RNN.html"""

    name, gates, default_activations = "RNN", 1, ("Tanh",)

    def parts(self, run: _Run) -> Sequence[Part]:
        """See `Recurrent`."""
        return self.of_state(run, run.weights, run.scratch["recurrence"]), self.by_kernel(RNN_STEP, run, run.y, run.lasts[0])


@operator("GRU", types=FLOAT_NAMES, when=refusal)
class GRU(Recurrent):
    """Gated recurrent unit. Spec: https://onnx.ai/onnx/operators/onnx__GRU.html"""

    name, gates, default_activations = "GRU", 3, ("Sigmoid", "Tanh")

    def scratch(self, directions: int, batch: int, size: int, dtype: np.dtype) -> Sizes:
        """Before the product that the reset state goes into: the reset state, and the update gate."""
        sizes = super().scratch(directions, batch, size, dtype)
        if self._is_linear():
            return sizes
        state = (directions, batch, size)
        gates = ((directions, batch, 2 * size), dtype)
        return {
            **sizes,
            "recurrence": gates,
            "candidate": (state, dtype),
            "reset": (state, dtype),
            "update": (state, accumulation_dtype(dtype)),
        }

    def parts(self, run: _Run) -> Sequence[Part]:
        """See `Recurrent`."""
        scratch, size = run.scratch, run.y.shape[-1]
        if self._is_linear():
            whole = self.of_state(run, run.weights, scratch["recurrence"])
            return whole, self.by_kernel(GRU_STEP, run, run.y, run.lasts[0], None, None)
        update, reset, candidate = (scratch[name] for name in ("update", "reset", "candidate"))
        multiply = self.multiplier(reset, run.weights[..., 2 * size :], candidate, scratch)

        def of_reset(step: int) -> None:
            if step or run.firsts[0] is not None:
                multiply()

        gates = self.of_state(run, run.weights[..., : 2 * size], scratch["recurrence"])
        last = self.by_kernel(GRU_STEP, run, run.y, run.lasts[0], update, candidate)
        return gates, self.by_kernel(GRU_GATES, run, update, reset), of_reset, last

    def _is_linear(self) -> bool:
        return bool(self.attributes.get("linear_before_reset", 0))


@operator("LSTM", types=FLOAT_NAMES, when=refusal)
class LSTM(Recurrent):
    """Long short-term memory, with peepholes if given. Spec: https://onnx.ai/onnx/operators/onnx__LSTM.html"""

    name, gates, default_activations = "LSTM", 4, ("Sigmoid", "Tanh", "Tanh")
    states = ("initial_h", "initial_c")
    input_names = (*Recurrent.input_names, "initial_c", "p")

    def scratch(self, directions: int, batch: int, size: int, dtype: np.dtype) -> Sizes:
        """And the memory."""
        return {**super().scratch(directions, batch, size, dtype), "memory": ((directions, batch, size), accumulation_dtype(dtype))}

    def parts(self, run: _Run) -> Sequence[Part]:
        """See `Recurrent`."""
        states = run.tensors["p"], run.firsts[1], run.scratch["memory"], run.lasts[1]
        forgets = bool(self.attributes.get("input_forget", 0))
        kernel = self.by_kernel(LSTM_STEP, run, run.y, run.lasts[0], *states, forgets)
        return self.of_state(run, run.weights, run.scratch["recurrence"]), kernel
