"""Make a session ready for its first request: its engines built, its plans drawn up, its launches recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.dtypes import dtype_named
from onnxgpu.errors import EPFail, InvalidArgument
from onnxgpu.log import logger
from onnxgpu.segment_provider import EngineBuild, SegmentProvider, Shape
from onnxgpu.waiting import wait_for

if TYPE_CHECKING:
    from onnxgpu.metadata import NodeArg
    from onnxgpu.plan import Plan
    from onnxgpu.programs import Programs
    from onnxgpu.provider import Provider
    from onnxgpu.session import InferenceSession

ENTRY = "onnxgpu.warm_up"
"""The configuration entry by which a session warms up while it is made."""

RUNS = 3
"""What a run does for the first time, it does in the first (records), the second (fixed plan) or the third (recorded launches)."""

Feed = Mapping[str, Any]


def wants_warm_up(entries: Mapping[str, str]) -> bool:
    """What the configuration entry says.

    Raises:
        InvalidArgument: it is neither 0 nor 1.
    """
    text = entries.get(ENTRY, "0")
    if text not in ("0", "1"):
        raise InvalidArgument(f"session configuration entry '{ENTRY}' is {text!r}: expected 0 or 1")
    return text == "1"


def warm_up(
    session: InferenceSession, programs: Programs, feeds: Sequence[Feed], providers: Sequence[Provider], timeout: float | None
) -> None:
    """See `InferenceSession.warm_up`; `programs` and `providers` are the session's."""
    deadline = None if timeout is None else time.monotonic() + timeout
    chosen = list(feeds) or usual_feeds(session.get_inputs(), providers)
    for feed in chosen:
        session.run(None, feed)  # segments learn of the shapes, so that they ask for engines
    _wait_for_engines(programs.plan, deadline, timeout)
    programs.settle()
    for feed in chosen:
        for _ in range(RUNS):
            session.run(None, feed)


def _wait_for_engines(plan: Plan, deadline: float | None, timeout: float | None) -> None:
    """Wait until every engine that a segment of the plan asked for is there.

    Raises:
        TimeoutError: the deadline passed; names the segments.
        EPFail: an engine could not be built.
    """
    builds = list(engine_builds(plan))
    if not wait_for(builds, deadline):
        waiting = ", ".join(dict.fromkeys(build.name for build in builds if not build.is_done))
        raise TimeoutError(f"after {timeout:g} s engines are still being built: {waiting}")
    for build in builds:
        if build.error is not None:
            raise EPFail(f"{build.name} could not be built: {getattr(build.error, 'message', build.error)}") from build.error


def engine_builds(plan: Plan) -> Iterator[EngineBuild]:
    """What the segments of the plan and of its bodies asked for."""
    for step in plan.steps:
        builds = getattr(step.kernel, "builds", None)
        if builds is not None:
            yield from builds()
        for body in step.bodies.values():
            yield from engine_builds(body.plan)


def usual_feeds(inputs: Sequence[NodeArg], providers: Sequence[Provider]) -> list[Feed]:
    """Zeros for each choice of shapes that the session is known to be for: those of profiles, or the only one there is."""
    choices = [shapes for provider in providers if isinstance(provider, SegmentProvider) for shapes in provider.usual_shapes()]
    feeds: list[Feed] = []
    for shapes in choices or [{}]:
        missing = [argument.name for argument in inputs if _shape(argument, shapes) is None]
        if missing:
            logger.warning("warm_up runs nothing, since the shape of input %s is not known: give it inputs, or profiles", missing[0])
            return []
        feeds.append({argument.name: _zeros(argument, shapes) for argument in inputs})
    return feeds


def _shape(argument: NodeArg, shapes: Mapping[str, Shape]) -> Shape | None:
    if not argument.type.startswith("tensor("):
        return None
    given = shapes.get(argument.name, tuple(argument.shape or ()) if argument.shape is not None else None)
    return given if given is not None and all(isinstance(size, int) for size in given) else None  # type: ignore[return-value]


def _zeros(argument: NodeArg, shapes: Mapping[str, Shape]) -> np.ndarray:
    dtype, shape = dtype_named(argument.type[7:-1]), _shape(argument, shapes)
    assert shape is not None
    return np.full(shape, "", object) if dtype == np.dtype(object) else np.zeros(shape, dtype)
