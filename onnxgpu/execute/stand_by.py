"""A segment's step while its engine is not there: the body runs, and the next recording looks again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from onnxgpu.execute.bodies import Call
from onnxgpu.execute.loop import new_memory
from onnxgpu.plan.steps import Plan, Step
from onnxgpu.provider import Array, Kernel, Provider, Spec, Value
from onnxgpu.segment_provider import ChangingKernel

Awaited = tuple[ChangingKernel, int]
"""A kernel that served nothing, and its generation then."""


class StandByKernel:
    """A segment's kernel with its body.

    Args:
        kernel: the segment provider's.
        provider: whose memory outputs lie in.
        body: takes the segment's inputs.
    """

    def __init__(self, kernel: ChangingKernel, provider: Provider, body: Call) -> None:
        self.kernel, self._provider, self._body = kernel, provider, body

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """Unknown until run: an engine may come in between."""
        return None

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Run the engine if there is one for these shapes, otherwise the body."""
        engine = self.kernel.serving(inputs)
        if engine is None:
            return self._body(inputs)
        return engine.launch(inputs, *new_memory(engine, self._provider, inputs))


def served(step: Step, inputs: Sequence[Value]) -> tuple[Step, Awaited | None]:
    """The step with the kernel that serves these inputs from now on and no body, or itself and what it waits for."""
    kernel = step.kernel.kernel if isinstance(step.kernel, StandByKernel) else step.kernel
    if not hasattr(kernel, "serving"):
        return step, None
    changing = cast(ChangingKernel, kernel)
    generation = changing.generation  # before the question, so that no change in between is missed
    engine: Kernel | None = changing.serving(inputs)
    return (step, (changing, generation)) if engine is None else (replace(step, kernel=engine, bodies={}), None)


def with_served(plan: Plan, steps: dict[int, Step]) -> Plan:
    """The plan with these steps at their positions."""
    return replace(plan, steps=tuple(steps.get(position, step) for position, step in enumerate(plan.steps))) if steps else plan


def has_changed(awaited: Sequence[Awaited]) -> bool:
    """True if a kernel may serve now what it did not."""
    return any(kernel.generation != generation for kernel, generation in awaited)
