"""CUDA graphs: launches recorded once and replayed with one call."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from onnxgpu.log import logger

going_on = RLock()
"""Held by a capture, and by whoever waits for a whole device: CUDA refuses that while one of its streams is capturing."""


class NotCapturable(Exception):
    """Raised within a capture by what cannot be replayed."""


def capture(module: Any, device: Any, work: Callable[[], None]) -> Callable[[], None] | None:
    """A function that does on the device what `work` does, on the stream that is current when it is called.

    `work` runs on the host once and launches nothing. The capture has a stream of its own, which no other thread's work on the default
    stream disturbs, and forbids what CUDA forbids on this thread alone.

    Returns:
        None if `work` does what cannot be captured: it allocates, waits, or copies from or to the host.
    """
    cuda = module.cuda
    with going_on, _uncollected(), device, cuda.Stream(non_blocking=True) as stream, cuda.using_allocator(_refuse):
        stream.begin_capture(cuda.runtime.streamCaptureModeThreadLocal)
        try:
            work()
            problem: Exception | None = None
        except Exception as error:
            problem = error
        try:
            graph = stream.end_capture()
        except Exception as error:
            problem, graph = problem or error, None
    if problem is not None:
        logger.debug("not captured into a CUDA graph: %s: %s", type(problem).__name__, problem)
        return None
    graph.upload(stream)
    launch: Callable[[], None] = graph.launch
    return launch


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


def _refuse(size: int) -> Any:
    raise NotCapturable(f"it allocates {size} bytes")
