"""Elementwise expressions: a list of steps, evaluated block by block.

One step is `"<operator> <operand> ..."`; an operand is

    3       input 3 of the node
    %0      the result of step 0
    =0.5    a constant

and the last step's result is the result of the whole: x·sigmoid(x)+y is `["Sigmoid 0", "Mul 0 %0", "Add %1 1"]`.
Attributes are operands too: `"Clip 0 =0 =6"`, `"LeakyRelu 0 =0.01"`, `"HardSigmoid 0 =0.2 =0.5"`, `"QuickGelu 0 =1.702"`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidGraph
from onnxgpu.provider import Array, Call, Spec, Value
from onnxgpu.providers.cpu.blocks import block_indices, collapsed
from onnxgpu.providers.cpu.elementwise_operators import (
    COMPOSITES,
    PRIMITIVES,
    BlockFunction,
    Input,
    Node,
    Operand,
    Primitive,
    apply,
    elementwise_operators,
)
from onnxgpu.providers.cpu.expression_rules import in_order, simplified
from onnxgpu.providers.cpu.threads import BLOCK, WORTH_SPLITTING, scratch, share

_FIRST_REGISTER = 10
_OUT = -1
"""The result's own memory, behind all registers in the list of memory."""
_FEW = 4096
"""Elements up to which a call's overhead outweighs its work. An operand that broadcasts is then expanded first: NumPy's call with
operands of one shape takes a third of the time."""


class Expression:
    """A parsed expression, ready to be evaluated.

    Args:
        steps: see the module's docstring.

    Attributes:
        inputs: how many arrays it takes.

    Raises:
        InvalidGraph: a step names an unknown operator, or has the wrong number or kind of operands.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        if not steps:
            raise InvalidGraph("an elementwise expression needs at least one step")
        self._steps = len(steps)
        result = simplified(_parsed(steps))
        self._result = result if isinstance(result, Node) else apply("Copy", result)
        self._order = in_order(self._result)
        self._reads = [o.index for node in self._order for o in node.operands if isinstance(o, Input)]
        self._registers, self._register_count = _with_registers(self._order)
        self.inputs = max(self._reads, default=-1) + 1

    def evaluate(self, inputs: Sequence[Array], out: Array) -> None:
        """Write the result for `inputs`, which broadcast to `out.shape`, into `out` (which may be an input of that shape)."""
        if out.size == 0:
            return
        work = out.size * self._steps
        if self._in_one_block(out):
            self.block(inputs, out)
            return
        shape, arrays = collapsed(out.shape, inputs)
        result = out.reshape(shape) if out.flags.c_contiguous else out
        if result is out:
            arrays = [np.broadcast_to(x, out.shape) for x in inputs]
            shape = out.shape
        blocks = block_indices(shape, BLOCK)

        def part(start: int, stop: int) -> None:
            for index in blocks[start:stop]:
                self.block([_piece(x, index) for x in arrays], result[index])

        share(part, len(blocks), work)

    def calls(self, inputs: Sequence[Value], out: Spec) -> list[Call] | None:
        """What `evaluate` would call; None where it cuts its work into blocks (see `onnxgpu.provider.InlineKernel`)."""
        if out.size == 0 or not self._in_one_block(out):
            return None
        expanded = {i for i in self._reads if inputs[i].ndim and inputs[i].shape != out.shape and self._pays(i, out)}
        copies = {index: apply("Copy", Input(index)) for index in sorted(expanded)}
        order = [*copies.values(), *self._order]
        registers, count = _with_registers(order, copies)
        memory = [*(Spec(out.shape, out.dtype) for _ in range(count)), out]
        places = {node: memory[register] for node, register in registers.items()}

        def argument(operand: Operand, reader: Node) -> Any:
            if isinstance(operand, Input):
                copied = copies.get(operand.index)
                return inputs[operand.index] if copied is None or copied is reader else places[copied]
            return places[operand] if isinstance(operand, Node) else _constant(operand, out.dtype)

        return [(_function(node.primitive, out.size), (*(argument(o, node) for o in node.operands), places[node])) for node in order]

    def _in_one_block(self, out: Array | Spec) -> bool:
        return out.size <= BLOCK or (self._steps == 1 and out.size < WORTH_SPLITTING)

    def _pays(self, index: int, out: Spec) -> bool:
        return out.size <= _FEW or self._reads.count(index) > 1

    def block(self, inputs: Sequence[Array], out: Array) -> None:
        """`evaluate` in the calling thread, all at once."""
        memory = [*(scratch(out.size, out.dtype, _FIRST_REGISTER + i).reshape(out.shape) for i in range(self._register_count)), out]
        places: dict[Node, Array] = {}
        for node in self._order:
            values = [
                inputs[o.index] if isinstance(o, Input) else places[o] if isinstance(o, Node) else _constant(o, out.dtype)
                for o in node.operands
            ]
            places[node] = memory[self._registers[node]]
            _function(node.primitive, out.size)(*values, places[node])


def _function(primitive: Primitive, size: int) -> BlockFunction:
    return primitive.small if primitive.small is not None and size <= _FEW else primitive.function


@lru_cache(1024)
def _scalar(digits: str, dtype: np.dtype) -> Array:
    array = np.array(float.fromhex(digits), dtype)
    array.flags.writeable = False
    return array


def _constant(value: float, dtype: np.dtype) -> Array:
    """A 0-d array: NumPy takes twice as long for a scalar of its own. (0.0 and -0.0 are equal, their digits are not.)"""
    return _scalar(value.hex(), dtype)


def _piece(array: Array, index: tuple[Any, ...]) -> Array:
    return array[tuple(slice(None) if size == 1 else i for size, i in zip(array.shape, index, strict=False))]


def _with_registers(order: Sequence[Node], kept: Collection[int] = ()) -> tuple[dict[Node, int], int]:
    """The register that takes each node's result, and how many there are besides `_OUT`.

    A result may take over the register of an operand that is not read again. `_OUT`, which may be the memory of an input, serves once
    no input is read any more. The first `len(kept)` nodes are copies of inputs, which stay.
    """
    last_use = {operand: position for position, node in enumerate(order) for operand in node.operands if isinstance(operand, Node)}
    last_read = max((p for p, node in enumerate(order) if any(isinstance(o, Input) for o in node.operands)), default=0)
    registers: dict[Node, int] = {}
    free: list[int] = []
    count = 0
    for position, node in enumerate(order[:-1]):
        for operand in dict.fromkeys(node.operands):
            if isinstance(operand, Node) and last_use[operand] == position:
                free.append(registers[operand])
        if position == max(last_read, len(kept)):
            free.append(_OUT)
        if not free or position < len(kept):
            free.append(count)
            count += 1
        registers[node] = free.pop()
    registers[order[-1]] = _OUT
    return registers, count


def _parsed(steps: Sequence[str]) -> Operand:
    results: list[Operand] = []
    for position, step in enumerate(steps):
        name, *words = step.split()
        if name not in elementwise_operators():
            known = ", ".join(sorted(elementwise_operators()))
            raise InvalidGraph(f"step {position} of an elementwise expression, {step!r}: unknown operator {name!r} (known: {known})")
        count = PRIMITIVES[name].operands if name in PRIMITIVES else COMPOSITES[name][1]
        if len(words) != count:
            raise InvalidGraph(
                f"step {position} of an elementwise expression, {step!r}: {name} takes {count} operands, {len(words)} are given"
            )
        operands = [_operand(word, results, position, step) for word in words]
        results.append(apply(name, *operands) if name in PRIMITIVES else COMPOSITES[name][0](*operands))
    return results[-1]


def _operand(word: str, results: Sequence[Operand], position: int, step: str) -> Operand:
    try:
        if word.startswith("="):
            return float(word[1:])
        index = int(word[1:] if word.startswith("%") else word)
        if index >= 0:
            return results[index] if word.startswith("%") else Input(index)
    except (ValueError, IndexError):
        pass
    raise InvalidGraph(
        f"step {position} of an elementwise expression, {step!r}: operand {word!r} is neither an input, an earlier step nor a constant"
    )
