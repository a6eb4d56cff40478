"""A trace, added up by operator, by node and by provider."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnxgpu.profile.trace import TraceEvent

_SUFFIX = "_kernel_time"


@dataclass(frozen=True, slots=True)
class Row:
    """What one operator, node or provider took.

    Attributes:
        name: of the operator, node or provider.
        provider: who ran it; several are separated by commas.
        calls: how often.
        seconds: in total, without the nodes of its bodies.
        share: of the time of all nodes.
        nbytes: bytes of its inputs and outputs, in total.
    """

    name: str
    provider: str
    calls: int
    seconds: float
    share: float
    nbytes: int

    @property
    def gigabytes_per_second(self) -> float | None:
        """Bytes of inputs and outputs over time; None where nothing is known."""
        return self.nbytes / self.seconds / 1e9 if self.nbytes and self.seconds else None


@dataclass(frozen=True)
class Summary:
    """A profile in numbers; rows with the most time come first.

    Attributes:
        runs: how many.
        run_seconds: of all runs together.
        node_seconds: of all nodes, each without the nodes of its bodies.
        operators: by operator.
        nodes: by node.
        providers: by provider.
        transfers: how many copies between places.
        transfer_bytes: of all of them.
        transfer_seconds: of all of them.
    """

    runs: int
    run_seconds: float
    node_seconds: float
    operators: tuple[Row, ...]
    nodes: tuple[Row, ...]
    providers: tuple[Row, ...]
    transfers: int
    transfer_bytes: int
    transfer_seconds: float


def summarize(events: Iterable[TraceEvent]) -> Summary:
    """The sums of `events`, which may come from onnxruntime as well."""
    events = list(events)
    nodes = [event for event in events if event.category == "Node" and event.name.endswith(_SUFFIX)]
    seconds = dict(zip(map(id, nodes), own_seconds(nodes), strict=True))
    runs = [event for event in events if event.category == "Session" and event.name == "model_run"]
    transfers = [event for event in nodes if "transfer_bytes" in event.arguments]
    total = sum(seconds.values())
    return Summary(
        len(runs),
        sum(event.duration_ns for event in runs) / 1e9,
        total,
        _rows([(str(event.arguments["op_name"]), event) for event in nodes], seconds, total),
        _rows([(node_name(event), event) for event in nodes], seconds, total),
        _rows([(str(event.arguments["provider"]), event) for event in nodes], seconds, total),
        len(transfers),
        sum(int(event.arguments["transfer_bytes"]) for event in transfers),
        sum(seconds[id(event)] for event in transfers),
    )


def node_name(event: TraceEvent) -> str:
    """The name of the node that an event is of."""
    return event.name.removesuffix(_SUFFIX)


def own_seconds(nodes: Sequence[TraceEvent]) -> list[float]:
    """The time of each node without that of the nodes inside it (those of its bodies)."""
    own = [event.duration_ns for event in nodes]
    order = sorted(range(len(nodes)), key=lambda i: (nodes[i].thread, nodes[i].start_ns, -nodes[i].duration_ns))
    open_nodes: list[int] = []
    for index in order:
        event = nodes[index]
        while open_nodes and not _within(event, nodes[open_nodes[-1]]):
            open_nodes.pop()
        if open_nodes:
            own[open_nodes[-1]] -= event.duration_ns
        open_nodes.append(index)
    return [max(0, duration) / 1e9 for duration in own]


def _within(inner: TraceEvent, outer: TraceEvent) -> bool:
    return inner.thread == outer.thread and outer.start_ns <= inner.start_ns < outer.end_ns


def _rows(named: Sequence[tuple[str, TraceEvent]], seconds: dict[int, float], total: float) -> tuple[Row, ...]:
    groups: dict[str, list[TraceEvent]] = defaultdict(list)
    for name, event in named:
        groups[name].append(event)
    rows = []
    for name, events in groups.items():
        spent = sum(seconds[id(event)] for event in events)
        providers = ", ".join(sorted({str(event.arguments["provider"]) for event in events}))
        rows.append(Row(name, providers, len(events), spent, spent / total if total else 0.0, sum(map(_nbytes, events))))
    return tuple(sorted(rows, key=lambda row: -row.seconds))


def _nbytes(event: TraceEvent) -> int:
    return sum(int(event.arguments.get(key, 0)) for key in ("output_size", "activation_size", "parameter_size"))
