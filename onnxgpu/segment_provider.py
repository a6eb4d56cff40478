"""What a provider is that compiles whole parts of a graph, and what the partitioner exchanges with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from onnxgpu.provider import Claim, Kernel, Operation, Provider, Refusal, Value, ValueInfo

STAND_BY = "stand_by"
"""The graph attribute of a segment's node that holds the nodes which others run while its provider has no engine for them."""

Shape = tuple[int, ...]

ShapesAt = Callable[[Mapping[str, Shape]], Mapping[str, Shape]]
"""Shapes of inputs of the graph, by name → those of its values, as far as inference knows them."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a graph that one provider compiles and runs as a whole; no path leaves it and comes back.

    Attributes:
        name: for messages; two segments of a model differ in it.
        operations: in graph order; constants are among their inputs (`ValueInfo.constant`), graph attributes never.
        inputs: the values read from outside that are not constant, in order of first use.
        outputs: the values read outside.
    """

    name: str
    operations: tuple[Operation, ...]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]

    def __str__(self) -> str:
        return f"segment '{self.name}' of {len(self.operations)} nodes"


@dataclass(frozen=True, slots=True)
class Exclusions:
    """A provider's no to some operations of a segment: index in `Segment.operations` → the reason. The rest is offered again."""

    reasons: Mapping[int, str]


class EngineBuild(Protocol):
    """An engine that is being built, or was."""

    @property
    def name(self) -> str:
        """Of the segment."""

    @property
    def is_done(self) -> bool:
        """True if there is an engine or an error."""

    @property
    def error(self) -> BaseException | None:
        """What went wrong, if it is done."""

    @property
    def progress(self) -> tuple[str, int, int]:
        """The phase, its steps that are done, and how many it has."""

    def wait(self, deadline: float | None = None) -> bool:
        """Wait until it is done, or until `deadline` (of `time.monotonic`); True if it is done."""

    def cancel(self) -> None:
        """End it."""


class ChangingKernel(Kernel, Protocol):
    """A segment's kernel whose engines come while the session is in use.

    As a kernel of its own it waits for an engine; with a stand-by nobody calls it, but what `serving` gives.

    Attributes:
        generation: another number whenever `serving` may answer otherwise than before.
    """

    @property
    def generation(self) -> int:
        """See the class."""

    def serving(self, inputs: Sequence[Value]) -> Kernel | None:
        """What runs inputs of these shapes from now on; None: nothing yet. Called once for many runs, so it may ask for an engine."""

    def builds(self) -> Sequence[EngineBuild]:
        """Of all engines that it asked for."""

    @property
    def is_complete(self) -> bool:
        """True if it serves whatever comes from now on, so that what stands by can go."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A compiled segment, as a model of compiled segments keeps it.

    Attributes:
        content: what the provider's library wrote; nobody but the provider looks into it.
        version: of that library.
        hardware: what the engine runs on; "": it does not say.
        notes: what else the provider wants to be told again.
        model_file: name of the model that it was compiled from, where the weights are that it lacks; "": it is not known.
    """

    content: bytes | memoryview
    version: str = ""
    hardware: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    model_file: str = ""


@dataclass(frozen=True, slots=True)
class SegmentClaim(Claim):
    """A provider's yes to a segment.

    Attributes:
        stand_by: `build` gives a `ChangingKernel`, and the next providers in the list run the nodes while it serves nothing. What
            they give has the shapes and dtypes that the engine's outputs will have.
        engine: gives what was compiled, and waits until it is; None: it cannot be kept in a model.
    """

    stand_by: bool = False
    engine: Callable[[], Engine] | None = None


class SegmentProvider(Provider):
    """Base of providers that compile whole parts of a graph.

    The partitioner asks `supports` of every operation, puts neighbours together into the largest segments that can run as
    one step, and offers each to `claim_segment`. What is refused there goes to the next provider in the list.
    """

    def supports(self, operation: Operation) -> Refusal | None:
        """Why `operation` cannot be in a segment of this provider, as far as that is known without the segment."""
        raise NotImplementedError

    def claim_segment(self, segment: Segment) -> Claim | Exclusions | Refusal:
        """Say whether this provider runs `segment`, and how; indices in a claim are those of its inputs and outputs."""
        raise NotImplementedError

    def survey(self, inputs: Sequence[ValueInfo], shapes_at: ShapesAt) -> None:
        """Called once a session, before any segment is offered.

        Args:
            inputs: of the model's graph.
            shapes_at: tells the shapes inside the model for given shapes of these; to be called here.

        Raises:
            InvalidArgument: the provider's options do not fit the inputs.
        """

    def misfit(self, version: str, hardware: str) -> str | None:
        """Why an engine out of a model cannot run here, as far as that is known without it; None if nothing speaks against it.

        Args:
            version: of the library that made it, as in `Engine`; "": it is not known.
            hardware: that it runs on, as in `Engine`; "": it is not known.
        """
        return None

    def usual_shapes(self) -> Sequence[Mapping[str, Shape]]:
        """Shapes of the model's inputs to be ready for, as profiles in its options name them."""
        return ()

    def claim_engine(self, segment: Segment, engine: Engine) -> SegmentClaim | Refusal:
        """Say whether this provider runs `engine`, which was in a model, and how; nothing is compiled.

        Args:
            segment: without operations; its inputs and outputs have the names that they had when the engine was made.
            engine: fits, as far as `misfit` can tell; where it has no version, it was made by another program.

        Raises:
            EPFail: the library does not take it, or it does not fit `segment`.
        """
        return Refusal(f"{self.name} reads no engines from models")

    @property
    def context_entries(self) -> Mapping[str, str]:
        """The configuration entries `ep.context_…` that options of this provider stand for."""
        return {}

    @property
    def least_nodes(self) -> int:
        """How many nodes a segment has at least."""
        return 1

    def claim(self, operation: Operation) -> Claim | Refusal:
        """No: a node alone, outside of the partitioner, is for providers of operators."""
        return Refusal(f"{self.name} runs segments, not single nodes")
