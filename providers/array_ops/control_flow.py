"""If, Loop and SequenceMap as functions over callables (Scan: `scan.py`).

A graph attribute is given as a callable `body(*inputs) -> outputs`, with the values it captures bound. Conditions, trip
counts and iteration numbers are in host memory. Outputs may be inputs, or what a body captures, as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.provider import Array, Body, Operation, Spec, Subgraph, Value, ValueInfo
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import braced, integer
from onnxgpu.providers.array_ops.registry import operator


def truth(condition: Array, operator_name: str) -> bool:
    """The one element of a condition in host memory, shape [] or [1].

    Raises:
        InvalidArgument: `condition` has more or fewer elements.
    """
    values = np.asarray(condition)
    if values.size != 1:
        raise InvalidArgument(f"{operator_name}: expected a condition of one element, got shape {braced(values.shape)}")
    return bool(values.item())


def empty_scan_output(xp: Any, declared: ValueInfo | None, axis: int = 0, length: int = 0) -> Array:
    """A scan output no iteration gave an element to, of the declared dtype and shape; unknown sizes count as 0."""
    known = declared.shape if declared and declared.shape else (None,)
    shape = [size if isinstance(size, int) else 0 for size in known]
    shape[normalized_axis(axis, len(shape), "Scan")] = length
    dtype = declared.dtype if declared and declared.dtype is not None else np.dtype(np.float32)
    empty = xp.empty(shape, dtype)
    empty.fill("" if dtype.kind == "O" else 0)
    return empty


class ControlKernel(ABC):
    """A kernel that runs with the bodies of its node; it knows what the model declares of the node's outputs."""

    input_names: tuple[str, ...] = ()
    required_inputs = 0
    variadic = True

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp = xp
        self._declared = operation.outputs
        self._attributes = {name: value for name, value in operation.attributes.items() if not isinstance(value, Subgraph)}

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """Unknown until run: the body decides."""
        return None

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Refused: without its bodies the node cannot run."""
        raise Fail(f"{type(self).__name__}: expected the node's graph attributes as callables; run it with launch_with_bodies")

    @abstractmethod
    def launch_with_bodies(self, inputs: Sequence[Value], bodies: Mapping[str, Body]) -> Sequence[Value]:
        """Run, with the graph attributes as callables keyed by name."""


class IteratingKernel(ControlKernel):
    """A control-flow kernel with one body, which it runs again and again."""

    def launch_with_bodies(self, inputs: Sequence[Value], bodies: Mapping[str, Body]) -> Sequence[Value]:
        """See `ControlKernel`."""
        return self._run(inputs, bodies["body"])

    @abstractmethod
    def _run(self, inputs: Sequence[Value], body: Body) -> tuple[Value, ...]:
        """The node's outputs."""


@operator("If", host=("cond",))
def if_(xp: Any, cond: Array, *, then_branch: Body, else_branch: Body) -> tuple[Value, ...]:
    """The outputs of one of the branches. Spec: https://onnx.ai/onnx/operators/onnx__If.html"""
    return tuple(then_branch() if truth(cond, "If") else else_branch())


@operator("Loop", host=("M", "cond"))
class Loop(IteratingKernel):
    """`loop` as a kernel. Spec: https://onnx.ai/onnx/operators/onnx__Loop.html"""

    input_names = ("M", "cond")

    def _run(self, inputs: Sequence[Value], body: Body) -> tuple[Value, ...]:
        trip_count, cond = (*inputs, None, None)[:2]
        return loop(self._xp, trip_count, cond, *inputs[2:], body=body, declared=self._declared)


def loop(
    xp: Any,
    trip_count: Array | None = None,
    cond: Array | None = None,
    *v_initial: Value,
    body: Body,
    declared: Sequence[ValueInfo | None],
) -> tuple[Value, ...]:
    """Runs `body(iteration, condition, *carried) -> (condition, *carried, *scanned)` while the condition is true.

    Args:
        xp: array module.
        trip_count: int64, the most iterations; None: no limit.
        cond: bool, whether to start; None: yes.
        v_initial: N carried values of any type.
        body: the graph attribute.
        declared: what is known of the node's outputs; their number decides how many are scanned.

    Returns:
        The N carried values after the last iteration, then the scanned ones of all iterations stacked on axis 0.
    """
    limit = None if trip_count is None else integer(trip_count, "Loop", "M")
    going = cond is None or truth(cond, "Loop")
    carried = list(v_initial)
    width = len(carried)
    scanned: list[list[Array]] = [[] for _ in declared[width:]]
    for iteration in count() if limit is None else range(limit):
        if not going:
            break
        outputs = body(np.asarray(iteration, np.int64), np.asarray(going), *carried)
        going = truth(outputs[0], "Loop")
        carried = list(outputs[1 : 1 + width])
        for values, value in zip(scanned, outputs[1 + width :], strict=False):
            values.append(value)
    return (*carried, *(_stacked(xp, values, info) for values, info in zip(scanned, declared[width:], strict=True)))


def _stacked(xp: Any, values: list[Array], declared: ValueInfo | None) -> Array:
    if not values:
        return empty_scan_output(xp, declared)
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) > 1:
        raise InvalidArgument(f"Loop: expected scan outputs of one shape in all iterations, got {', '.join(sorted(map(braced, shapes)))}")
    return xp.stack(values)


@operator("SequenceMap", since=17)
def sequence_map(xp: Any, sequence: Sequence[Value], *inputs: Value, body: Body, output_count: int) -> tuple[list[Value], ...]:
    """`body` applied to each element of the sequence, with the elements of other sequences beside it and tensors as they are.

    Spec: https://onnx.ai/onnx/operators/onnx__SequenceMap.html
    """
    for other in inputs:
        if isinstance(other, list) and len(other) != len(sequence):
            raise InvalidArgument(f"SequenceMap: expected sequences of one length, got {len(sequence)} and {len(other)}")
    outputs: tuple[list[Value], ...] = tuple([] for _ in range(output_count))
    for i, element in enumerate(sequence):
        results = body(element, *(other[i] if isinstance(other, list) else other for other in inputs))
        for found, value in zip(outputs, results, strict=False):
            found.append(value)
    return outputs
