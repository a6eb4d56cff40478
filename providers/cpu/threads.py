"""A few threads that share one kernel's work, made on first use.

NumPy's inner loops release the interpreter lock, so ranges of one array can be worked on at the same time. Matrix
products come here too (see blas.py): the BLAS's own threads and these would fight for the same cores.

Each worker is bound to one core, and the caller hands work only to those that are bound to other cores than its own:
unbound, a woken thread lands on the caller's core often enough to make two threads no faster than one.

All sessions share the workers. How many of them a session may use is a setting of the thread that runs it (`apply`), and travels
with the work it hands over.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import pairwise
from queue import SimpleQueue

import numpy as np

from onnxgpu.float_errors import set_for_runs
from onnxgpu.provider import Array, RunSettings
from onnxgpu.providers.cpu.denormals import flush

RangeFunction = Callable[[int, int], None]
_Job = tuple[RangeFunction, "deque[tuple[int, int]]", "SimpleQueue[BaseException | None]", RunSettings]

MOST_THREADS = 8
WORTH_SPLITTING = 500_000
"""Elements read or written from which work is shared.

Handing work over takes 20 to 70 µs, and after each NumPy call the two threads contend for the interpreter lock: a thread that waits for it
sleeps, and is woken too late where the other one makes many short calls. So parts are few, of few and long calls.
"""
WORTH_SECONDS = 200e-6
"""The same for work whose single calls are long, by its estimated time on one core. Waking a core takes a good part of it, and what it
reads lies in the other core's cache: in paired runs of whole models 140 µs was no better than 200, and 70 worse than 300."""
_LONG_SECONDS = 4e-3
"""Estimated seconds from which there are more parts than threads, lest one waits for a slower one. Each part costs some 15 µs."""
BLOCK = 1 << 17
"""Elements of one block: a few blocks of float32 lie in the second- and third-level cache, and NumPy's call overhead is small beside it."""

_LINE = 64
"""Bytes of a cache line."""


class _Workers:
    """One thread a core, each with its own queue."""

    def __init__(self) -> None:
        self._cores = _cores()[:MOST_THREADS]
        self._queues: list[SimpleQueue[_Job]] = [SimpleQueue() for _ in self._cores]
        for core, queue in zip(self._cores, self._queues, strict=True):
            threading.Thread(target=_work, args=(core, queue), name=f"onnxgpu-cpu-{core}", daemon=True).start()

    def run(self, function: RangeFunction, parts: deque[tuple[int, int]]) -> None:
        """Call `function(start, stop)` for all parts; whoever is free takes the next, so that a late helper delays nobody."""
        here = _current_core()
        helpers = [queue for core, queue in zip(self._cores, self._queues, strict=True) if core != here][: thread_count() - 1]
        done: SimpleQueue[BaseException | None] = SimpleQueue()
        count = len(parts)
        for queue in helpers:
            queue.put((function, parts, done, _settings()))
        _take(function, parts, done)
        problems = [problem for problem in [done.get() for _ in range(count)] if problem]
        if problems:
            raise problems[0]


def _take(function: RangeFunction, parts: deque[tuple[int, int]], done: SimpleQueue[BaseException | None]) -> None:
    """Work on parts until none is left; tell of each what it raised, or None."""
    while True:
        try:
            start, stop = parts.popleft()
        except IndexError:
            return
        try:
            function(start, stop)
        except BaseException as problem:
            done.put(problem)
        else:
            done.put(None)


def _work(core: int, queue: SimpleQueue[_Job]) -> None:
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, {core})
    set_for_runs()
    while True:
        function, parts, done, settings = queue.get()
        apply(settings)
        _take(function, parts, done)
        del function, parts, done


def _cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@cache
def _core_function() -> Callable[[], int] | None:
    try:
        function: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
    except (OSError, AttributeError, TypeError):
        return None
    return function


def _current_core() -> int:
    function = _core_function()
    return function() if function else 0


_lock = threading.Lock()
_workers: _Workers | None = None
_local = threading.local()
_NO_SETTINGS = RunSettings()


def _settings() -> RunSettings:
    settings: RunSettings = getattr(_local, "settings", _NO_SETTINGS)
    return settings


def apply(settings: RunSettings) -> RunSettings:
    """What this thread does from now on, and has done by the workers, is done with `settings`; returns those before."""
    before = _settings()
    if settings.flush_denormals != before.flush_denormals:
        flush(settings.flush_denormals)
    _local.settings = settings
    return before


def _start_anew() -> None:
    """A forked child has none of its parent's threads, and must not wait for a lock that one of them held."""
    global _lock, _workers
    _lock, _workers = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def thread_count() -> int:
    """How many threads share a large piece of work, the caller's included."""
    return min(len(_cores()), MOST_THREADS, _settings().threads or MOST_THREADS)


def share(function: RangeFunction, count: int, elements: int = 0, *, seconds: float = 0.0) -> None:
    """Call `function(start, stop)` over `range(count)`, on several threads if that pays.

    Args:
        function: works on the part from start to stop; parts must not depend on each other.
        count: length of the range.
        elements: how many array elements the whole work reads or writes in calls of a block each.
        seconds: the whole work's estimated time on one core, where its calls are long.
    """
    global _workers
    if (elements < WORTH_SPLITTING and seconds < WORTH_SECONDS) or count < 2 or thread_count() == 1:
        function(0, count)
        return
    workers = _workers
    if workers is None:
        with _lock:
            if _workers is None:
                _workers = _Workers()
            workers = _workers
    pieces = min(count, thread_count() * (2 if seconds > _LONG_SECONDS else 1))
    ends = [count * i // pieces for i in range(pieces + 1)]
    workers.run(function, deque(pairwise(ends)))


def scratch(count: int, dtype: np.dtype, slot: int = 0) -> Array:
    """`count` elements of memory that belong to the calling thread, until it asks for the same slot again."""
    wanted = count * dtype.itemsize
    buffers: dict[int, Array] = _local.__dict__.setdefault("buffers", {})
    buffer = buffers.get(slot)
    if buffer is None or buffer.nbytes < wanted:
        whole = np.empty(max(wanted, BLOCK * 4) + _LINE, np.uint8)
        start = -whole.ctypes.data % _LINE
        buffer = buffers[slot] = whole[start : len(whole) - _LINE + start]
    return buffer[:wanted].view(dtype)
