"""CUDA graphs: launches recorded once and replayed with one call."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from onnxgpu.log import logger
from onnxgpu.provider import Work
from onnxgpu.providers.cuda.capture import NotCapturable, going_on, keeping
from onnxgpu.providers.cuda.memory import Memory

_MOST_TRIES = 16
"""Captures of the same work until the pool has what it needs."""


class _Growth:
    """Gives a pool more memory, but not during a capture; then it notes what was missing.

    Attributes:
        is_forbidden: during a capture.
        missing: bytes; 0 for nothing.
    """

    def __init__(self, allocate: Callable[[int], Any]) -> None:
        self._allocate = allocate
        self.is_forbidden = False
        self.missing = 0

    def more(self, size: int) -> Any:
        """New memory for the pool."""
        if self.is_forbidden:
            self.missing = size
            raise NotCapturable(f"it allocates {size} bytes")
        return self._allocate(size)


class Recorder:
    """Captures work into graphs that are launched one at a time: what they need in between lies in one pool, which grows between captures.

    Args:
        module: `cupy`.
        device: the `cupy.cuda.Device`.
        memory: what the pool gets its memory from.
    """

    def __init__(self, module: Any, device: Any, memory: Memory) -> None:
        self._module, self._device, self._memory, self._growth = module, device, memory, _Growth(memory.allocate)

    @cached_property
    def _pool(self) -> Any:
        pool = self._module.cuda.MemoryPool(self._growth.more)
        weakref.finalize(self, _give_back, pool, self._memory, self._device).atexit = False
        return pool

    @cached_property
    def _stream(self) -> Any:
        with self._device:
            return self._module.cuda.Stream(non_blocking=True)

    def record(self, work: Work) -> Work | None:
        """A graph that does what `work` does, on the stream that is current when it is called.

        The capture has a stream of its own, which no other thread's work on the default stream disturbs, and forbids what CUDA
        forbids on this thread alone. CUDA allocates nothing meanwhile: where the pool does not suffice, it gets what was missing, and
        the capture begins anew.

        Returns:
            None if `work` does what cannot be captured: it waits, or copies from or to the host.
        """
        wanted: list[int] = []
        while True:
            graph, problem = self._captured(work)
            if graph is not None:
                return graph
            if not self._growth.missing or len(wanted) == _MOST_TRIES:
                logger.debug("not captured into a CUDA graph: %s", problem)
                return None
            wanted.append(self._growth.missing)
            with self._device, self._stream:
                held = [self._pool.malloc(size) for size in wanted]  # at once, so that none takes what is there for another
                del held

    def _captured(self, work: Work) -> tuple[Work | None, str]:
        cuda, growth = self._module.cuda, self._growth
        growth.missing = 0
        with going_on, _uncollected(), keeping() as needed, self._device, self._stream as stream, cuda.using_allocator(self._pool.malloc):
            stream.begin_capture(cuda.runtime.streamCaptureModeThreadLocal)
            growth.is_forbidden = True
            try:
                work()
                problem = ""
            except Exception as error:
                problem = _told(error)
            growth.is_forbidden = False
            try:
                graph = stream.end_capture()
            except Exception as error:
                problem, graph = problem or _told(error), None
            if problem:
                return None, problem
            graph.upload(stream)
        return _Replay(graph, self._device, [*needed, self]), ""


class _Replay:
    """Launches a graph on the device's current stream, and keeps what it needs."""

    def __init__(self, graph: Any, device: Any, needed: list[object]) -> None:
        self._launch, self._device, self._needed = graph.launch, device, needed

    def __call__(self) -> None:
        with self._device:
            self._launch()


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


def _give_back(pool: Any, memory: Memory, device: Any) -> None:
    """Free what the graphs had; a faulted device takes nothing back."""
    with suppress(Exception), going_on, device:
        device.synchronize()
        pool.free_all_blocks()
        memory.free_unused()
