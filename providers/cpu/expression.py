"""Elementwise expressions: a list of steps, evaluated block by block.

One step is `"<operator> <operand> ..."`; an operand is

    3       input 3 of the node
    %0      the result of step 0
    =0.5    a constant

and the last step's result is the result of the whole: x·sigmoid(x)+y is `["Sigmoid 0", "Mul 0 %0", "Add %1 1"]`.
Attributes are operands too: `"Clip 0 =0 =6"`, `"LeakyRelu 0 =0.01"`, `"HardSigmoid 0 =0.2 =0.5"`, `"QuickGelu 0 =1.702"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Literal

import numpy as np

from onnxgpu.errors import InvalidGraph
from onnxgpu.provider import Array
from onnxgpu.providers.cpu.elementwise_operators import OPERATORS, BlockFunction
from onnxgpu.providers.cpu.threads import BLOCK, WORTH_SPLITTING, scratch, share

Kind = Literal["input", "step", "constant"]
_FIRST_REGISTER = 10


@dataclass(frozen=True)
class Operand:
    """One operand of a step: which input or which earlier step, or a constant."""

    kind: Kind
    index: int = 0
    value: float = 0.0


@dataclass(frozen=True)
class Step:
    """One operator of an expression; `register` is the block of scratch memory that takes its result."""

    function: BlockFunction
    operands: tuple[Operand, ...]
    register: int


def elementwise_operators() -> frozenset[str]:
    """The operators that may stand in an expression."""
    return frozenset(OPERATORS)


class Expression:
    """A parsed expression, ready to be evaluated.

    Args:
        steps: see the module's docstring.

    Raises:
        InvalidGraph: a step names an unknown operator, or has the wrong number or kind of operands.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        if not steps:
            raise InvalidGraph("an elementwise expression needs at least one step")
        parsed = [_parsed(step, position) for position, step in enumerate(steps)]
        self._steps = _with_registers(parsed)
        self.inputs = max((o.index for s in self._steps for o in s.operands if o.kind == "input"), default=-1) + 1

    def evaluate(self, inputs: Sequence[Array], out: Array) -> None:
        """Write the result for `inputs`, which broadcast to `out.shape`, into `out` (which may be an input of that shape)."""
        if out.size == 0:
            return
        work = out.size * len(self._steps)
        if out.size <= BLOCK or (len(self._steps) == 1 and work < WORTH_SPLITTING):
            self._block([x if x.ndim else x[()] for x in inputs], out)
            return
        shape, arrays = collapsed(out.shape, inputs)
        result = out.reshape(shape) if out.flags.c_contiguous else out
        if result is out:
            arrays = [np.broadcast_to(x, out.shape) for x in inputs]
            shape = out.shape
        blocks = block_indices(shape, BLOCK)

        def part(start: int, stop: int) -> None:
            for index in blocks[start:stop]:
                self._block([_piece(x, index) for x in arrays], result[index])

        share(part, len(blocks), work)

    def _block(self, inputs: Sequence[Any], out: Array) -> None:
        results: list[Array] = []
        last = len(self._steps) - 1
        for position, step in enumerate(self._steps):
            values = [self._value(o, inputs, results, out.dtype) for o in step.operands]
            target = out if position == last else scratch(out.size, out.dtype, _FIRST_REGISTER + step.register).reshape(out.shape)
            if not isinstance(values[0], np.ndarray) or (len(values) == 1 and values[0].shape != out.shape):
                values[0] = np.broadcast_to(values[0], out.shape)
            step.function(target, *values)
            results.append(target)

    @staticmethod
    def _value(operand: Operand, inputs: Sequence[Any], results: Sequence[Array], dtype: np.dtype) -> Any:
        if operand.kind == "input":
            return inputs[operand.index]
        return results[operand.index] if operand.kind == "step" else dtype.type(operand.value)


def collapsed(shape: tuple[int, ...], inputs: Sequence[Array]) -> tuple[tuple[int, ...], list[Array]]:
    """`shape` and arrays that broadcast to it, with neighbouring axes joined wherever every array allows."""
    if all(x.shape == shape for x in inputs):
        return (prod(shape),), [x.reshape(-1) for x in inputs]
    padded = [(1,) * (len(shape) - x.ndim) + x.shape for x in inputs]
    groups: list[list[int]] = []
    kinds: list[tuple[bool, ...]] = []
    for axis, size in enumerate(shape):
        kind = tuple(p[axis] == size for p in padded)
        if groups and (size == 1 or kinds[-1] == kind):
            groups[-1].append(axis)
        else:
            groups.append([axis])
            kinds.append(kind)

    def joined(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(prod([sizes[a] for a in group]) for group in groups)

    return joined(shape), [x.reshape(joined(p)) for x, p in zip(inputs, padded, strict=True)]


def block_indices(shape: tuple[int, ...], elements: int) -> list[tuple[Any, ...]]:
    """Indices that cut an array of `shape` into blocks of about `elements` elements, in memory order."""
    inner = 1
    axis = len(shape)
    while axis > 0 and inner * shape[axis - 1] <= elements:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        return [()]
    size = shape[axis - 1]
    step = max(1, elements // inner)
    slices = [slice(i, min(i + step, size)) for i in range(0, size, step)]
    outer = product(*(range(n) for n in shape[: axis - 1]))
    return [(*(slice(i, i + 1) for i in position), piece) for position in outer for piece in slices]


def _piece(array: Array, index: tuple[Any, ...]) -> Array:
    return array[tuple(slice(None) if size == 1 else i for size, i in zip(array.shape, index, strict=False))]


def _parsed(step: str, position: int) -> tuple[BlockFunction, tuple[Operand, ...]]:
    name, *words = step.split()
    if name not in OPERATORS:
        raise InvalidGraph(
            f"step {position} of an elementwise expression, {step!r}: unknown operator {name!r} (known: {', '.join(sorted(OPERATORS))})"
        )
    function, count = OPERATORS[name]
    if len(words) != count:
        raise InvalidGraph(f"step {position} of an elementwise expression, {step!r}: {name} takes {count} operands, {len(words)} are given")
    return function, tuple(_operand(word, position, step) for word in words)


def _operand(word: str, position: int, step: str) -> Operand:
    try:
        if word.startswith("="):
            return Operand("constant", value=float(word[1:]))
        operand = Operand("step", int(word[1:])) if word.startswith("%") else Operand("input", int(word))
    except ValueError:
        operand = Operand("input", -1)
    if operand.index < 0 or (operand.kind == "step" and operand.index >= position):
        raise InvalidGraph(
            f"step {position} of an elementwise expression, {step!r}: operand {word!r} is neither an input, an earlier step nor a constant"
        )
    return operand


def _with_registers(parsed: Sequence[tuple[BlockFunction, tuple[Operand, ...]]]) -> list[Step]:
    """Give each result the first register that no later step still reads; a step never writes over its own operands."""
    last_use = {o.index: position for position, (_, operands) in enumerate(parsed) for o in operands if o.kind == "step"}
    steps: list[Step] = []
    free: list[int] = []
    count = 0
    for position, (function, operands) in enumerate(parsed):
        if not free:
            free.append(count)
            count += 1
        steps.append(Step(function, operands, free.pop(0)))
        dying = {o.index for o in operands if o.kind == "step" and last_use[o.index] == position}
        free.extend(sorted(steps[i].register for i in dying))
    return steps
