"""The plan: a list of steps over numbered slots, immutable and shared by every run and thread of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxgpu.provider import HOST, Array, Kernel, Operation, Place, Provider

ABSENT = 0
"""The slot that is always None: an optional input that the node leaves out."""

DISCARD = 1
"""The slot nobody reads: an output that the node leaves out."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one value lies during a run."""

    name: str
    place: Place = HOST


@dataclass(frozen=True, slots=True)
class BodyCall:
    """A control-flow body: its own plan, and which of the step's inputs are the outer values it captures."""

    plan: Plan
    captures: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel launch, or one copy between places (a `transfer`).

    `inputs` are slots: the node's inputs, then what its bodies capture. `releases` are the slots nobody reads after
    this step.
    """

    operation: Operation
    provider: Provider
    kernel: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    host_inputs: frozenset[int] = frozenset()
    shape_only_inputs: frozenset[int] = frozenset()
    view_of: int | None = None
    deterministic: bool = True
    is_transfer: bool = False
    bodies: Mapping[str, BodyCall] = field(default_factory=dict)
    releases: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """The node's operator and name, as error messages and profiles show it."""
        return str(self.operation)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run needs besides its inputs.

    Attributes:
        slots: slot 0 is `ABSENT`, slot 1 `DISCARD`.
        steps: in order.
        inputs: slots of the graph's inputs, in order (for a body: its formal inputs, then its captures).
        outputs: slots of the graph's outputs, in order.
        constants: slot → array, at the slot's place.
        holders: providers at whose places inputs or outputs lie although no step needs them.
    """

    name: str
    slots: tuple[Slot, ...]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, Array]
    holders: tuple[Provider, ...] = ()

    def holder(self, slot: int) -> Provider | None:
        """A provider through which the memory of `slot` can be copied; None for host memory."""
        place = self.slots[slot].place
        if place == HOST:
            return None
        return next(provider for provider in (*(step.provider for step in self.steps), *self.holders) if provider.place == place)

    @property
    def transfers(self) -> tuple[Step, ...]:
        """The copies between places, those of bodies excluded."""
        return tuple(step for step in self.steps if step.is_transfer)

    def __str__(self) -> str:
        from onnxgpu.plan.text import plan_text

        return plan_text(self)
