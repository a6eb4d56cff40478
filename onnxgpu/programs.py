"""The programs of one plan: for all outputs, and for each choice of outputs and places that a run asks for."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from onnxgpu import knobs
from onnxgpu.provider import Place, Provider

if TYPE_CHECKING:
    from onnxgpu.execute import Program
    from onnxgpu.plan import Plan

_Key = tuple[tuple[int, ...], tuple[tuple[int, Place], ...], tuple[tuple[int, Place], ...]]


class Programs:
    """Keeps one program for each; threads may ask at the same time, and a forked child finds no lock held.

    Args:
        plan: with inputs and outputs on the host.
        providers: those of the session.
        one_signature: every run's inputs have the same shapes and dtypes.

    Attributes:
        plan: as it is now.
        whole: the program for all outputs.
    """

    def __init__(self, plan: Plan, providers: Sequence[Provider], *, one_signature: bool = False) -> None:
        self._providers, self._one_signature = tuple(providers), one_signature
        self._begin(plan)

    def _begin(self, plan: Plan) -> None:
        self.plan = plan
        self.whole = self._program(plan)
        self._made: dict[_Key, Program] = {((), (), ()): self.whole}

    def _program(self, plan: Plan) -> Program:
        from onnxgpu.execute import Program

        return Program(plan, one_signature=self._one_signature, on_change=partial(_settle, weakref.ref(self)))

    def settle(self) -> None:
        """Let go of what stands by for segments that have all of their engines, with its memory."""
        from onnxgpu.plan import settled

        plan = settled(self.plan)
        if plan is not self.plan:
            self._begin(plan)

    def __iter__(self) -> Iterator[Program]:
        return iter(tuple(self._made.values()))

    def of(
        self,
        positions: Sequence[int] = (),
        inputs: Mapping[int, Provider] | None = None,
        outputs: Mapping[int, Provider] | None = None,
    ) -> Program:
        """The program for these outputs, in this order.

        Args:
            positions: of the plan's outputs; empty: all.
            inputs: position of an input → whose memory it lies in; the others lie on the host.
            outputs: index in `positions` → whose memory the output is wanted in; the others are wanted on the host.
        """
        made = self._made
        everything = tuple(range(len(self.plan.outputs)))
        chosen = () if tuple(positions) == everything else tuple(positions)
        key = chosen, _places(inputs or {}), _places(outputs or {})
        program = made.get(key)
        if program is None:
            program = made.setdefault(key, self._make(key, (*(inputs or {}).values(), *(outputs or {}).values())))
        return program

    def _make(self, key: _Key, memories: Sequence[Provider]) -> Program:
        from onnxgpu.plan import bound, pruned
        from onnxgpu.plan.check import check_plan

        positions, inputs, outputs = key
        plan = pruned(self.plan, positions) if positions else self.plan
        if inputs or outputs:
            plan = bound(plan, dict(inputs), dict(outputs), (*self._providers, *memories))
        if knobs.CHECK():
            check_plan(plan)
        return self._program(plan)


def _settle(programs: weakref.ref[Programs]) -> None:
    made = programs()
    if made is not None:
        made.settle()


def _places(memories: Mapping[int, Provider]) -> tuple[tuple[int, Place], ...]:
    return tuple(sorted((position, memory.place) for position, memory in memories.items()))
