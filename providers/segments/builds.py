"""Engines that are being built: each in a thread of its own, few at once, and given up when nobody wants them any more.

What is built is any function of a `Report` that gives the engine; `child_process.in_child` makes one that works in another process.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from onnxgpu import knobs
from onnxgpu.errors import EPFail, ModelLoadCanceled
from onnxgpu.log import LogScope, current_scope, logger, logging_as
from onnxgpu.waiting import wait_for

__all__ = ["Build", "Report", "Work", "wait_for"]

T = TypeVar("T")

Report = Callable[[str, int, int], bool]
"""Called with a phase, its steps that are done, and how many it has; says False to end the build."""

Work = Callable[[Report], T]

POLL_SECONDS = 0.05
EXIT_SECONDS = 10.0
"""How long the end of the process waits for builds that it has cancelled."""

Progress = tuple[str, int, int]


class _Line:
    """Who builds now, and who waits for a turn, in the order in which they asked."""

    def __init__(self) -> None:
        self._members: list[object] = []
        self._moved = threading.Condition()

    @property
    def at_once(self) -> int:
        """How many build at once."""
        return int(knobs.BUILDS())

    def join(self, member: object) -> None:
        with self._moved:
            self._members.append(member)

    def wait(self, member: object, check: Callable[[], None]) -> None:
        """Wait for the member's turn; `check` may raise meanwhile."""
        with self._moved:
            while member not in self._members[: self.at_once]:
                check()
                self._moved.wait(POLL_SECONDS)

    def leave(self, member: object) -> None:
        with self._moved:
            self._members.remove(member)
            self._moved.notify_all()


_line = _Line()


class Build(Generic[T]):
    """Runs in the background from the start; cancelled when this object is collected.

    Args:
        name: of the segment, for messages.
        work: makes the engine. It must not refer to this object or what holds it.
    """

    def __init__(self, name: str, work: Work[T]) -> None:
        self.name, self._state, self._process = name, _State[T](), os.getpid()
        arguments = name, work, current_scope(), _line
        self._thread = threading.Thread(target=self._state.run, args=arguments, name=f"onnxgpu builds {name}", daemon=True)
        weakref.finalize(self, self._state.cancelled.set).atexit = False
        _line.join(self._state)
        _running[self._thread] = self._state
        try:
            self._thread.start()
        except RuntimeError:  # the system has no more threads
            _line.leave(self._state)
            del _running[self._thread]
            raise

    @property
    def is_done(self) -> bool:
        """True if there is a result or an error."""
        return self._state.done.is_set()

    @property
    def error(self) -> BaseException | None:
        """What went wrong, if it is done."""
        return self._state.error

    @property
    def was_cancelled(self) -> bool:
        """True if it is done and has no engine since it was cancelled."""
        return self.is_done and self._state.error is not None and self._state.cancelled.is_set()

    @property
    def progress(self) -> Progress:
        """The phase, its steps that are done, and how many it has."""
        return self._state.progress

    def wait(self, deadline: float | None = None) -> bool:
        """Wait until it is done, or until `deadline` (of `time.monotonic`); True if it is done.

        Raises:
            EPFail: this process was forked while it was being built.
        """
        while not self.is_done:
            if os.getpid() != self._process:
                raise EPFail(f"{self.name} was being built when this process was forked: make the session in the new process")
            left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
            if left <= 0:
                return False
            self._state.done.wait(left)
        return True

    def result(self) -> T:
        """The engine, waited for. An interrupt of the caller cancels the build.

        Raises:
            Exception: what the work raised.
            ModelLoadCanceled: it was cancelled.
        """
        try:
            self.wait()
        except BaseException:
            self.cancel()
            self._thread.join()
            raise
        if self._state.error is not None:
            raise self._state.error.with_traceback(self._state.trace)  # what was raised before adds nothing to it
        (value,) = self._state.value
        return value

    def cancel(self) -> None:
        """End it at its next report; its result is then `ModelLoadCanceled`."""
        self._state.cancelled.set()


class _State(Generic[T]):
    """What the thread and its `Build` share; the thread does not keep the `Build` alive."""

    def __init__(self) -> None:
        self.done, self.cancelled = threading.Event(), threading.Event()
        self.value: list[T] = []
        self.error: BaseException | None = None
        self.trace: TracebackType | None = None
        self.progress: Progress = ("waiting", 0, 0)

    def run(self, name: str, work: Work[T], scope: LogScope, line: _Line) -> None:
        """Wait for a turn and work; what is logged is logged for the session that asked."""
        with logging_as(scope):
            self._run(name, work, line)

    def _run(self, name: str, work: Work[T], line: _Line) -> None:
        try:
            line.wait(self, partial(self._check, name))
            self._check(name)
            self.value.append(work(self._report))
            self._check(name)
        except BaseException as error:
            self.value.clear()
            self.error, self.trace = error, error.__traceback__
            if not self.cancelled.is_set():
                logger.error("%s could not be built: %s", name, getattr(error, "message", error))
        finally:
            self.done.set()
            line.leave(self)
            _running.pop(threading.current_thread(), None)

    def _check(self, name: str) -> None:
        if self.cancelled.is_set():
            raise ModelLoadCanceled(f"the build of {name} was cancelled")

    def _report(self, phase: str, step: int, steps: int) -> bool:
        self.progress = phase, step, steps
        return not self.cancelled.is_set()


_running: dict[threading.Thread, _State[Any]] = {}


def _begin_in_forked_child() -> None:
    """No thread of the parent is here that could leave the line."""
    global _line
    _line = _Line()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_forked_child)


@atexit.register
def _end() -> None:
    """Leave no thread in a library that is being taken down."""
    deadline = time.monotonic() + EXIT_SECONDS
    running = dict(_running)
    for state in running.values():
        state.cancelled.set()
    for thread in running:
        thread.join(max(0.0, deadline - time.monotonic()))
