"""The trace file: a list of complete events (`ph` X) that chrome://tracing, Perfetto and onnxruntime's own tools read.

Times in the file are microseconds since the start of the profile; a `TraceEvent` has nanoseconds. Source: the Trace Event Format of
Chromium, and the files that onnxruntime writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxgpu.atomic_file import whole_file
from onnxgpu.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that took time.

    Attributes:
        category: `Session` or `Node`.
        name: what it was; `NODE_kernel_time` for a node.
        start_ns: nanoseconds since the start of the profile.
        duration_ns: nanoseconds that it took.
        thread: the thread it ran on.
        arguments: onnxruntime's for a node (`op_name`, `provider`, `output_size`, …), all values but shapes as text.
    """

    category: str
    name: str
    start_ns: int
    duration_ns: int
    thread: int
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def end_ns(self) -> int:
        """When it ended, in nanoseconds since the start of the profile."""
        return self.start_ns + self.duration_ns


def write_trace(path: str | os.PathLike[str], events: Iterable[TraceEvent]) -> None:
    """Write `events` to a file, which appears whole or not at all.

    Raises:
        InvalidArgument: it cannot be written.
    """
    lines = ",\n".join(json.dumps(_as_json(event), ensure_ascii=False) for event in events)
    try:
        with whole_file(path) as file:
            file.write(f"[\n{lines}\n]\n".encode())
    except OSError as error:
        raise InvalidArgument(f"the profile '{os.fspath(path)}' cannot be written: {error}") from error


def read_trace(path: str | os.PathLike[str]) -> list[TraceEvent]:
    """The events of a file that `write_trace` or onnxruntime wrote.

    Raises:
        InvalidArgument: it is no such file.
    """
    try:
        events = json.loads(Path(path).read_text("utf-8"))
        return [_from_json(event) for event in events if event.get("ph") == "X"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"'{os.fspath(path)}' is no profile: expected a JSON list of trace events ({error!r})") from error


def _as_json(event: TraceEvent) -> dict[str, Any]:
    arguments = {**event.arguments, "duration_ns": str(event.duration_ns)} if event.category == "Node" else dict(event.arguments)
    return {
        "cat": event.category,
        "pid": os.getpid(),
        "tid": event.thread,
        "dur": event.duration_ns // 1000,
        "ts": event.start_ns // 1000,
        "ph": "X",
        "name": event.name,
        "args": arguments,
    }


def _from_json(event: Mapping[str, Any]) -> TraceEvent:
    arguments = dict(event.get("args", {}))
    duration = int(arguments.pop("duration_ns", event["dur"] * 1000))
    return TraceEvent(event["cat"], event["name"], event["ts"] * 1000, duration, event["tid"], arguments)
