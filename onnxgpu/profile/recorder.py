"""Records a session: what each stage of making it took, and each step of each run, bodies of control flow included."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from onnxgpu.dtypes import name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.log import logger
from onnxgpu.profile.trace import TraceEvent, write_trace
from onnxgpu.provider import ValueInfo, bytes_of

if TYPE_CHECKING:
    from onnxgpu.execute import Program
    from onnxgpu.execute.loop import Observer
    from onnxgpu.plan import Plan
    from onnxgpu.plan.steps import Step

MOST_EVENTS = 1_000_000
"""As many as onnxruntime keeps; later ones are left out, and the log says so."""
WARM_UP_RUNS = 2


class Recorder:
    """Events of one session, from its beginning until `finish`.

    Args:
        prefix: of the file's name; `_` and the local time follow.

    Attributes:
        path: of the file, with `prefix` as it was given.
        started_at: nanoseconds since the epoch.

    Raises:
        InvalidArgument: there is no such folder.
    """

    def __init__(self, prefix: str = "") -> None:
        now = datetime.now()
        self.path = f"{prefix}_{now:%Y-%m-%d_%H-%M-%S}_{now.microsecond // 1000:03}.json"
        self._file = Path(self.path).absolute()
        if not self._file.parent.is_dir():
            raise InvalidArgument(f"the profile '{self.path}' cannot be written: there is no folder '{self._file.parent}'")
        self.started_at = time_ns()
        self._start = perf_counter_ns()
        self._events: list[TraceEvent] = []
        self._places: dict[int, tuple[int, Plan]] = {}  # by the step's id: its position, and its plan
        self._known: dict[int, Program] = {}  # by id; holding the programs keeps the ids of their steps valid
        self._finished = False

    @property
    def events(self) -> Sequence[TraceEvent]:
        """What was recorded so far."""
        return tuple(self._events)

    def stage(self, name: str, start_ns: int) -> None:
        """Record a stage that began at `start_ns` (of `perf_counter_ns`) and ends now."""
        self._add("Session", name, start_ns, perf_counter_ns())

    def run(self, program: Program, call: Callable[[Observer], list[Any]], between_steps: Callable[[], None] | None = None) -> list[Any]:
        """The outputs of `call`; every step is recorded.

        Args:
            program: what `call` runs.
            call: runs it with an observer.
            between_steps: called between steps; may raise to end the run.
        """
        self._learn(program)
        start = perf_counter_ns()
        outputs = call(self._observer(between_steps))
        self._add("Session", "SequentialExecutor::Execute", start, perf_counter_ns())
        self._add("Session", "model_run", start, perf_counter_ns())
        return outputs

    def finish(self) -> str:
        """Write the file and return its name; "" if it was written before.

        Raises:
            InvalidArgument: it cannot be written.
        """
        if self._finished:
            return ""
        self._finished = True
        if len(self._events) >= MOST_EVENTS:
            logger.warning("the profile is full: only the first %d events are in '%s'", MOST_EVENTS, self.path)
        write_trace(self._file, self._events)
        self._events.clear()
        return self.path

    def _learn(self, program: Program) -> None:
        """Note the position of every step of `program` and of its bodies."""
        if id(program) in self._known:
            return
        self._known[id(program)] = program
        for index, step in enumerate(program.plan.steps):
            self._places[id(step)] = (index, program.plan)
        for _, body in program.bodies:
            self._learn(body)

    def _observer(self, between_steps: Callable[[], None] | None) -> Observer:
        def observe(step: Step, inputs: Sequence[Any], results: Sequence[Any], start: int, end: int) -> None:
            step.provider.synchronize()
            end = perf_counter_ns()  # a launch returns before the device is done
            index, plan = self._places[id(step)]
            name = step.operation.name if step.operation.name else f"{step.operation.operator}_{index}"
            self._add("Node", f"{name}_kernel_time", start, end, _arguments(step, plan, index, inputs, results))
            if between_steps is not None:
                between_steps()

        return observe

    def _add(self, category: str, name: str, start: int, end: int, arguments: Mapping[str, Any] | None = None) -> None:
        if not self._finished and len(self._events) < MOST_EVENTS:
            event = TraceEvent(category, name, start - self._start, end - start, threading.get_native_id(), arguments or {})
            self._events.append(event)


def _arguments(step: Step, plan: Plan, index: int, inputs: Sequence[Any], results: Sequence[Any]) -> dict[str, Any]:
    """onnxruntime's arguments of a node, and for a transfer where from, where to and how many bytes."""
    infos = step.operation.inputs
    parameters = activations = 0
    shapes = []
    for position, value in enumerate(inputs):
        info = infos[position] if position < len(infos) else None
        if value is None and info is not None and info.constant is not None:
            parameters += bytes_of(info)
            shapes += _constant_shape(info)
            continue
        if step.inputs[position] in plan.constants:
            parameters += _nbytes(value)
        else:
            activations += _nbytes(value)
        shapes += _shape(value)
    output_size = sum(map(_nbytes, results))
    arguments: dict[str, Any] = {
        "op_name": step.operation.operator,
        "provider": step.provider.label,
        "node_index": str(index),
        "output_type_shape": [shape for value in results for shape in _shape(value)],
        "input_type_shape": shapes,
        "output_size": str(output_size),
        "activation_size": str(activations),
        "parameter_size": str(parameters),
    }
    if step.is_transfer:
        source, target = plan.slots[step.inputs[0]], plan.slots[step.outputs[0]]
        arguments |= {"transfer_from": str(source.place), "transfer_to": str(target.place), "transfer_bytes": str(output_size)}
    return arguments


def _constant_shape(info: ValueInfo) -> list[dict[str, Any]]:
    return [] if info.dtype is None else [{name_of(info.dtype): list(info.shape or ())}]


def _shape(value: Any) -> list[dict[str, list[int]]]:
    """Type and shape of a tensor; the tensors of a sequence one by one."""
    if isinstance(value, (list, tuple)):
        return [shape for item in value for shape in _shape(item)]
    dtype = getattr(value, "dtype", None)
    return [] if dtype is None else [{name_of(dtype): list(value.shape)}]


def _nbytes(value: Any) -> int:
    """Bytes of a tensor, or of the tensors of a sequence; strings count as the pointers that an array of them holds."""
    if isinstance(value, (list, tuple)):
        return sum(map(_nbytes, value))
    dtype = getattr(value, "dtype", None)
    return 0 if dtype is None else int(dtype.itemsize) * math.prod(value.shape)


def recorded_runs(program: Program, call: Callable[[Observer], list[Any]], *, runs: int) -> Sequence[TraceEvent]:
    """The events of `runs` runs, after some that are not recorded; no file is written.

    Args:
        program: what `call` runs.
        call: runs it with an observer.
        runs: how many.
    """
    for _ in range(WARM_UP_RUNS):
        call(lambda *_: None)
    recorder = Recorder()
    for _ in range(runs):
        recorder.run(program, call)
    return recorder.events
