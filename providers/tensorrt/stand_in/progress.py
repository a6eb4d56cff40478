"""The phases of a build, as a progress monitor sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Canceled(Exception):
    """The progress monitor said so."""


class Monitor:
    """Calls an `IProgressMonitor`, or nothing."""

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor

    @contextmanager
    def phase(self, name: str, parent: str | None, steps: int) -> Iterator[Any]:
        """A phase; the value ends its next step.

        Raises:
            Canceled: the monitor said so, or raised.
        """
        if self._monitor is None:
            yield lambda: None
            return
        done = 0

        def step() -> None:
            nonlocal done
            try:
                goes_on = self._monitor.step_complete(name, done)
            except Exception as error:  # the bindings take it for a request to end
                print(f"[ERROR] Exception caught in step_complete(): {error}")  # noqa: T201
                goes_on = False
            done += 1
            if not goes_on:
                raise Canceled

        self._call("phase_start", name, parent, steps)
        try:
            yield step
        finally:
            self._call("phase_finish", name)

    def _call(self, method: str, *arguments: Any) -> None:
        try:
            getattr(self._monitor, method)(*arguments)
        except Exception as error:
            print(f"[ERROR] Exception caught in {method}(): {error}")  # noqa: T201
