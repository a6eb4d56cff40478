"""From a function of arrays to the calls that it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Call, Kernel, Spec, Value
from onnxgpu.tracing.stand_in import StandIn
from onnxgpu.tracing.tape import Tape

LARGEST = 4096
"""Elements up to which the time between the calls is worth saving."""


def are_few(x: Array | Spec) -> bool:
    """True for as many elements as calls are traced for."""
    return bool(0 < x.size <= LARGEST)


def traced_calls(function: Callable[..., Any], inputs: Sequence[Value], outputs: Sequence[Spec]) -> list[Call] | None:
    """What `function(*inputs, out=…)` calls for inputs and outputs of these shapes; None if that cannot be told.

    Args:
        function: writes its results into `out`, an array or a tuple of them; the same calls for the same shapes.
        inputs: the array itself where it is the same in every run, otherwise a `Spec`; None for an absent one.
        outputs: where it writes.
    """
    if not all(map(are_few, outputs)) or not all(map(_is_small, inputs)):
        return None
    tape = Tape()
    try:
        with np.errstate(all="ignore"):
            given = [_input(tape, value) for value in inputs]
            results = tuple(_output(tape, spec, given) for spec in outputs)
            function(*given, out=results[0] if len(results) == 1 else results)
    except Exception:
        return None
    written = {name for call in tape.calls for name in call.names()}
    return tape.written_out() if tape.overlaps.keys() <= written else None


def traced_launch(kernel: Kernel, inputs: Sequence[Value], outputs: Sequence[Spec]) -> list[Call] | None:
    """`traced_calls` of what a kernel with one output and without a workspace does in `launch`."""

    def launch(*arrays: Value, out: Array) -> None:
        kernel.launch(arrays, [out], None)

    return traced_calls(launch, inputs, outputs)


def traced_views(function: Callable[..., Any], inputs: Sequence[Value]) -> list[Call] | None:
    """The one call that returns what `function(*inputs)` does, a tuple of views of an input of that shape; None if that cannot be told."""
    tape = Tape()
    try:
        given = [_input(tape, value) for value in inputs]
        results = function(*given)
    except Exception:
        return None
    if not all(type(result) is StandIn and not result.is_own for result in results):
        return None
    return tape.written_out([result.name for result in results])


def _is_small(value: Value) -> bool:
    if isinstance(value, Spec):
        return are_few(value) and not value.dtype.hasobject
    return value is None or (isinstance(value, np.ndarray) and not value.dtype.hasobject)


def _input(tape: Tape, value: Value) -> Any:
    if not isinstance(value, Spec):
        return value
    return StandIn(tape, tape.given("x", value), _ones(value), writable=False, is_whole=True)


def _ones(spec: Spec) -> np.ndarray:
    """Ones; where they would take time, memory that nobody looks into."""
    return np.ones(spec.shape, spec.dtype) if spec.size <= LARGEST else np.empty(spec.shape, spec.dtype)


def _output(tape: Tape, spec: Spec, inputs: Sequence[Any]) -> StandIn:
    name = tape.given("y", spec)
    tape.overlaps[name] = frozenset(inputs[i].name for i in spec.may_reuse if i < len(inputs) and type(inputs[i]) is StandIn)
    return StandIn(tape, name, np.zeros(spec.shape, spec.dtype), writable=True, is_whole=True)
