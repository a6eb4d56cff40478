"""The programs of one plan: for all outputs, and for each choice of outputs and places that a run asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    """

    def __init__(self, plan: Plan, providers: Sequence[Provider], *, one_signature: bool = False) -> None:
        from onnxgpu.execute import Program

        self._plan, self._providers, self._one_signature = plan, tuple(providers), one_signature
        self.whole = Program(plan, one_signature=one_signature)
        self._made: dict[_Key, Program] = {((), (), ()): self.whole}

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
        everything = tuple(range(len(self._plan.outputs)))
        chosen = () if tuple(positions) == everything else tuple(positions)
        key = chosen, _places(inputs or {}), _places(outputs or {})
        program = self._made.get(key)
        if program is None:
            made = self._make(key, (*(inputs or {}).values(), *(outputs or {}).values()))
            program = self._made.setdefault(key, made)
        return program

    def _make(self, key: _Key, memories: Sequence[Provider]) -> Program:
        from onnxgpu.execute import Program
        from onnxgpu.plan import bound, pruned
        from onnxgpu.plan.check import check_plan

        positions, inputs, outputs = key
        plan = pruned(self._plan, positions) if positions else self._plan
        if inputs or outputs:
            plan = bound(plan, dict(inputs), dict(outputs), (*self._providers, *memories))
        if knobs.CHECK():
            check_plan(plan)
        return Program(plan, one_signature=self._one_signature)


def _places(memories: Mapping[int, Provider]) -> tuple[tuple[int, Place], ...]:
    return tuple(sorted((position, memory.place) for position, memory in memories.items()))
