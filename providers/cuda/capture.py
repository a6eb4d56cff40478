"""CUDA graphs: launches recorded once and replayed with one call."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock, local
from typing import Any

from onnxgpu.log import logger

going_on = RLock()
"""Held by a capture, and by whoever waits for a whole device: CUDA refuses that while one of its streams is capturing."""


class NotCapturable(Exception):
    """Raised within a capture by what cannot be replayed."""


class _Capture(local):
    """Of the calling thread: what its capture needs whenever it is replayed; None while there is none."""

    needed: list[object] | None = None


_current = _Capture()


def keep(thing: object) -> None:
    """Keep `thing` for as long as the graph that this thread is capturing, if it is: code that a graph calls has to stay loaded."""
    if _current.needed is not None:
        _current.needed.append(thing)


def forbid(what: str) -> None:
    """Say that this thread is going to do what CUDA has no part of a graph for.

    Raises:
        NotCapturable: it is capturing.
    """
    if _current.needed is not None:
        raise NotCapturable(what)


def capture(module: Any, device: Any, work: Callable[[], None]) -> Callable[[], None] | None:
    """A function that does on the device what `work` does, on the stream that is current when it is called.

    `work` runs on the host once and launches nothing. The capture has a stream of its own, which no other thread's work on the default
    stream disturbs, and forbids what CUDA forbids on this thread alone.

    Returns:
        None if `work` does what cannot be captured: it allocates, waits, or copies from or to the host.
    """
    cuda = module.cuda
    with going_on, _uncollected(), _keeping() as needed, device, cuda.Stream(non_blocking=True) as stream, cuda.using_allocator(_refuse):
        stream.begin_capture(cuda.runtime.streamCaptureModeThreadLocal)
        try:
            work()
            problem = ""
        except Exception as error:
            problem = _told(error)
        try:
            graph = stream.end_capture()
        except Exception as error:
            problem, graph = problem or _told(error), None
    if problem:
        logger.debug("not captured into a CUDA graph: %s", problem)
        return None
    graph.upload(stream)
    return _Replay(graph, needed)


class _Replay:
    """Launches a graph on the current stream, and keeps what it needs."""

    def __init__(self, graph: Any, needed: list[object]) -> None:
        self._launch, self._needed = graph.launch, needed

    def __call__(self) -> None:
        self._launch()


@contextmanager
def _keeping() -> Iterator[list[object]]:
    """What `keep` is given by this thread."""
    before, needed = _current.needed, list[object]()
    _current.needed = needed
    try:
        yield needed
    finally:
        _current.needed = before


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is collected: it may hold device memory, which must not be freed during a capture."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _told(error: Exception) -> str:
    """The error itself would keep what the frames of its traceback have."""
    return f"{type(error).__name__}: {error}"


def _refuse(size: int) -> Any:
    raise NotCapturable(f"it allocates {size} bytes")
