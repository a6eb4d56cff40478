"""What tells runs apart that need plans of their own: the kinds of their inputs, and the values of those that decide what is done.

A shape, an axis or a size that a run is given as an input is mostly the same from run to run. As long as few such values come,
each has a plan in which it counts as a constant; if they keep changing, runs are told apart by kinds alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from onnxgpu.execute.record import Kind, kind_of
from onnxgpu.plan.steps import Plan
from onnxgpu.provider import HOST, Value

MOST_DECIDING_BYTES = 256
FEW_VALUES = 4
"""So many signatures that differ in values alone are nothing to worry about."""
RUNS_A_VALUE = 16
"""New values that come more often than once in so many runs are not worth plans."""

Key = tuple[tuple[Kind | None, ...] | None, tuple[bytes | None, ...]]
"""Of a signature: the kinds of all inputs, None where they are always the same; the values of those that decide, None for what is large."""


class Signatures:
    """Names the signature of a run's inputs.

    Args:
        plan: what is run.
        one_kind: the caller makes sure that every run's inputs have the same shapes and dtypes.
        by_values: some signatures may differ in values alone.
    """

    def __init__(self, plan: Plan, *, one_kind: bool, by_values: bool) -> None:
        self._plan, self._has_one_kind = plan, one_kind
        self._deciding = deciding_inputs(plan) if by_values else ()
        self._new_values = 0

    def of(self, inputs: Sequence[Value]) -> Key:
        """Equal for inputs with the same signature."""
        return self._of(inputs, self._deciding)

    def fix(self, inputs: Sequence[Value]) -> tuple[list[Value], tuple[int, ...], Key]:
        """The inputs, copies of those whose values are part of the signature, the slots of these, and the signature."""
        deciding = self._deciding  # once: another thread may find at any time that values count no more
        known = [position for position in deciding if _content(inputs[position]) is not None]
        copies = {position: inputs[position].copy() for position in known}
        fixed = [copies.get(position, value) for position, value in enumerate(inputs)]
        return fixed, tuple(self._plan.inputs[p] for p in known), self._of(fixed, deciding)

    def are_too_many(self, inputs: Sequence[Value], others: Iterable[Key], runs: int) -> bool:
        """Note a new signature; True if values change too often, and do not count from now on.

        Args:
            inputs: those of the run.
            others: the signatures that are known; one of the same kinds differs in values alone.
            runs: how many there were.
        """
        if not self._deciding:
            return False
        own = self._kinds(inputs)
        if all(kinds != own for kinds, _ in others):
            return False
        self._new_values += 1
        if self._new_values <= FEW_VALUES or self._new_values * RUNS_A_VALUE <= runs:
            return False
        self._deciding = ()
        return True

    def _of(self, inputs: Sequence[Value], deciding: Sequence[int]) -> Key:
        return self._kinds(inputs), tuple([_content(inputs[position]) for position in deciding]) if deciding else ()

    def _kinds(self, inputs: Sequence[Value]) -> tuple[Kind | None, ...] | None:
        return None if self._has_one_kind else tuple([kind_of(value) for value in inputs])


def deciding_inputs(plan: Plan) -> tuple[int, ...]:
    """Positions of inputs on the host that a step wants there for their values, or what such a value is computed from."""
    wanted = {slot for step in plan.steps for index, slot in enumerate(step.inputs) if index in step.host_inputs}
    for step in reversed(plan.steps):
        if not wanted.isdisjoint(step.outputs) and step.deterministic and not step.bodies and not step.is_transfer:
            wanted.update(slot for index, slot in enumerate(step.inputs) if index not in step.shape_only_inputs)
    return tuple(position for position, slot in enumerate(plan.inputs) if slot in wanted and plan.slots[slot].place == HOST)


def _content(value: Value) -> bytes | None:
    """The elements of a small tensor of numbers."""
    if type(value) is np.ndarray and value.nbytes <= MOST_DECIDING_BYTES and value.dtype.kind != "O":
        return value.tobytes()
    return None
