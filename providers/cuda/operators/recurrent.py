"""RNN, GRU and LSTM: the inputs' share of all gates in one product, then all steps in one cooperative kernel.

The kernel multiplies the states with the recurrence's weights itself, and its blocks wait for each other between two steps. Where the
device cannot launch that, a step is a launch; with many states, a product of them and a launch. A GRU that resets its state before the
product takes two of each. float16 and bfloat16 hidden states are rounded to their type after each step, gates where a product gives
them; LSTM's memory is kept in float32.
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
from onnxgpu.providers.cuda.launches import make
from onnxgpu.providers.cuda.products import product, structure
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.state_products import ROWS, launch_shape, parts_of, rows_of

_BOOLS = ("false", "true")
_CHOICES = {"T": FLOATS, "is_default": _BOOLS, "rows": ROWS}

RNN_STEPS = Template("recurrent.cu", "rnn_steps<{T}, {is_default}, {rows}>", "pppppppppllss", **_CHOICES)
GRU_GATES = Template("recurrent.cu", "gru_gates<{T}, {is_default}, {rows}>", "pppppppplss", **_CHOICES)
GRU_STEPS = Template(
    "recurrent.cu", "gru_steps<{T}, {is_default}, {rows}, {resets_after}>", "pppppppppppllss", **_CHOICES, resets_after=_BOOLS
)
LSTM_STEPS = Template("recurrent.cu", "lstm_steps<{T}, {is_default}, {rows}>", "ppppppppppppbpllss", **_CHOICES)

_MOST_DIRECTIONS, _MOST_FUNCTIONS = 2, 3
_KINDS = {name: number for number, name in enumerate(ACTIVATION_PARAMETERS)}
"""Activation → its number in kernels/recurrent.cu."""

_ALIGNMENT = 256
Sizes = Mapping[str, tuple[tuple[int, ...], np.dtype]]


@dataclass(frozen=True, slots=True)
class Part:
    """What is launched for steps.

    Attributes:
        launch: called with the first step, and the one behind the last.
        takes_several: whether these may be more than one.
    """

    launch: Callable[[int, int], None]
    takes_several: bool = False


@dataclass(frozen=True, slots=True)
class _Run:
    """What is the same for all steps of a launch.

    Attributes:
        tensors: the inputs by name, dense; None for one that is absent.
        scratch: arrays in the workspace by name.
        weights: of the recurrence, dense: (directions, gates * hidden, hidden).
        rows: see `state_products.ROWS`.
        y: all hidden states as (steps, directions, batch, hidden), a view.
        lasts: the wanted last states as (directions, batch, hidden), views, then None.
        firsts: the given first states, likewise; None for zeros.
        structures: `Step` and `Activations` of the kernels.
        instance: what the kernels' templates are given.
    """

    tensors: Mapping[str, Array | None]
    scratch: Mapping[str, Array]
    weights: Array
    rows: int
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

    def scratch(self, rows: int, directions: int, batch: int, size: int, dtype: np.dtype) -> Sizes:
        """Name → shape and dtype of what one step leaves for the next, or for its own next kernel.

        A kernel that multiplies reads the states before the step whole, while it writes those after it.
        """
        if rows:
            return {"hidden": ((2, directions, batch, size), dtype), "arrivals": ((1,), np.dtype(np.uint32))}
        return {
            "hidden": ((1, directions, batch, size), dtype),
            "recurrence": ((directions, batch, self.gates * size), dtype),
        }

    def parts(self, run: _Run) -> Sequence[Part]:
        """The products and kernels of a step, in order."""
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
        rows = rows_of(y.shape[2], y.shape[3], y.dtype)
        instance = {"T": x.dtype, "is_default": "true" if is_default else "false", "rows": rows}
        structures = self._structure(rows, y, lasts, firsts), functions
        run = _Run(tensors, scratch, r, rows, y, [*lasts, None, None], firsts, structures, instance)
        parts, steps = self.parts(run), y.shape[0]
        at_once = steps if len(parts) == 1 and parts[0].takes_several else 1
        for begin in range(0, steps, at_once):
            for part in parts:
                part.launch(begin, begin + at_once)
        return results

    def of_states(
        self, run: _Run, begin: int = 0, end: int | None = None, out: str = "recurrence", of: Array | None = None
    ) -> tuple[Array, Sequence[Part]]:
        """The states' share of some gates, or the weights that give it, and what has to be done before the kernel that takes it.

        Args:
            run: the launch.
            begin: the first of these gates.
            end: behind the last of them; None: all from `begin` on.
            out: name of the array for the share.
            of: the states before the step, if they are not the hidden ones.
        """
        if run.rows:
            return run.weights, ()
        size, share = run.y.shape[-1], run.scratch[out]
        weights = run.weights[:, begin * size : None if end is None else end * size].swapaxes(1, 2)
        firsts, states = (run.firsts[0], run.scratch["hidden"][0]) if of is None else (of, of)
        first = None if run.firsts[0] is None else self.multiplier(firsts, weights, share, run.scratch)
        rest = self.multiplier(states, weights, share, run.scratch)

        def multiply(step: int, _: int) -> None:
            if step:
                rest()
            elif first is not None:  # else the states are zero
                first()

        return share, (Part(multiply),)

    def by_kernel(self, kernel: Template, run: _Run, share: Array, gates: int, *more: Array | bool | None, **choices: Any) -> Part:
        """Launches of a kernel that makes hidden states, with the arguments that all of these begin and end with, and `more` between them.

        Args:
            kernel: of a step, or of several.
            run: the launch.
            share: the states' share of the gates, or the weights that give it.
            gates: how many these are.
            more: arguments of this kernel alone.
            choices: of this kernel's template alone.
        """
        function, (blocks, threads) = kernel.instance(**run.instance, **choices), _shape(run, gates)
        arrivals = run.scratch.get("arrivals")
        arguments = _arguments(*_common(run, share), *more, arrivals)
        at_once = 0 if arrivals is None else function.blocks_at_once(threads)

        def launch(begin: int, end: int) -> None:
            if end - begin == 1:
                function.launch(blocks, threads, *arguments, begin, end, *run.structures)
                return
            make(self.xp.cuda.runtime.memsetAsync, *_arguments(arrivals), 0, 4, self.xp.cuda.get_current_stream().ptr)
            function.launch(min(blocks, at_once), threads, *arguments, begin, end, *run.structures, is_cooperative=True)

        return Part(launch, takes_several=at_once > 0)

    def _structure(self, rows: int, y: Array, lasts: Sequence[Array], firsts: Sequence[Array | None]) -> np.void:
        """`Step` of the kernels."""
        steps, directions, batch, size = y.shape
        width = directions * self.gates * size
        from_step, from_batch = (width, steps * width) if self.layout else (batch * width, width)
        first = next((_strides(state)[:2] for state in firsts if state is not None), [0, 0])
        last = _strides(lasts[0])[:2] if lasts else [0, 0]
        y_step, y_direction, y_batch, _ = _strides(y)
        return structure(
            *(directions, batch, size, steps, {"reverse": 1, "bidirectional": 2}.get(self._direction, 0)),
            parts_of(rows, self.gates, y),
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
        rows = rows_of(batch, r.shape[2], x.dtype)
        return {"inputs": projected, **(self.scratch(rows, w.shape[0], batch, r.shape[2], x.dtype) if steps else {})}

    def _arrays(self, inputs: Sequence[Value], workspace: Array | None) -> dict[str, Array]:
        """The scratch arrays, in `workspace` or in memory of their own."""
        memory = self.xp.empty(self.workspace(inputs), np.uint8) if workspace is None else workspace
        arrays, start = {}, 0
        for name, (shape, dtype) in self.sizes(inputs).items():
            arrays[name] = memory[start : start + Spec(shape, dtype).nbytes].view(dtype).reshape(shape)
            start += _room((shape, dtype))
        return arrays


def _common(run: _Run, share: Array) -> tuple[Array | None, ...]:
    """What all kernels begin with; see `Recurrent.by_kernel`."""
    return run.scratch["inputs"], share, run.tensors["b"], run.tensors["sequence_lens"], run.firsts[0], run.scratch["hidden"]


def _shape(run: _Run, gates: int) -> tuple[int, int]:
    """Blocks and threads of a kernel for so many gates."""
    return launch_shape(run.rows, gates, run.y) if run.rows else (blocks_for(run.scratch["hidden"][0].size), THREADS)


def _arguments(*values: Array | bool | None) -> list[int | bool]:
    """Arrays as their addresses, null for None."""
    return [0 if value is None else value if isinstance(value, bool) else value.data.ptr for value in values]


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
        share, before = self.of_states(run)
        return *before, self.by_kernel(RNN_STEPS, run, share, 1, run.y, run.lasts[0])


@operator("GRU", types=FLOAT_NAMES, when=refusal)
class GRU(Recurrent):
    """Gated recurrent unit. Spec: https://onnx.ai/onnx/operators/onnx__GRU.html"""

    name, gates, default_activations = "GRU", 3, ("Sigmoid", "Tanh")

    def scratch(self, rows: int, directions: int, batch: int, size: int, dtype: np.dtype) -> Sizes:
        """Before the product that the reset state goes into: the reset state, and the update gate."""
        sizes = super().scratch(rows, directions, batch, size, dtype)
        if self._is_linear():
            return sizes
        state = (directions, batch, size)
        gates: Sizes = {} if rows else {"recurrence": ((directions, batch, 2 * size), dtype), "candidate": (state, dtype)}
        return {**sizes, **gates, "reset": (state, dtype), "update": (state, accumulation_dtype(dtype))}

    def parts(self, run: _Run) -> Sequence[Part]:
        """See `Recurrent`."""
        if self._is_linear():
            share, before = self.of_states(run)
            return *before, self.by_kernel(GRU_STEPS, run, share, 3, run.y, run.lasts[0], None, None, resets_after="true")
        reset, update = run.scratch["reset"], run.scratch["update"]
        share, before = self.of_states(run, 0, 2)
        function, shape = GRU_GATES.instance(**run.instance), _shape(run, 2)
        arguments = _arguments(*_common(run, share), update, reset)
        gates = Part(lambda step, _: function.launch(*shape, *arguments, step, *run.structures))
        share, between = self.of_states(run, 2, 3, "candidate", of=reset)
        last = self.by_kernel(GRU_STEPS, run, share, 1, run.y, run.lasts[0], update, reset, resets_after="false")
        return *before, gates, *between, last

    def _is_linear(self) -> bool:
        return bool(self.attributes.get("linear_before_reset", 0))


@operator("LSTM", types=FLOAT_NAMES, when=refusal)
class LSTM(Recurrent):
    """Long short-term memory, with peepholes if given. Spec: https://onnx.ai/onnx/operators/onnx__LSTM.html"""

    name, gates, default_activations = "LSTM", 4, ("Sigmoid", "Tanh", "Tanh")
    states = ("initial_h", "initial_c")
    input_names = (*Recurrent.input_names, "initial_c", "p")

    def scratch(self, rows: int, directions: int, batch: int, size: int, dtype: np.dtype) -> Sizes:
        """And the memory."""
        return {**super().scratch(rows, directions, batch, size, dtype), "memory": ((directions, batch, size), accumulation_dtype(dtype))}

    def parts(self, run: _Run) -> Sequence[Part]:
        """See `Recurrent`."""
        states = run.tensors["p"], run.firsts[1], run.scratch["memory"], run.lasts[1]
        forgets = bool(self.attributes.get("input_forget", 0))
        share, before = self.of_states(run)
        return *before, self.by_kernel(LSTM_STEPS, run, share, 4, run.y, run.lasts[0], *states, forgets)
