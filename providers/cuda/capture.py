"""What code that may be called while a CUDA graph is captured says of itself, and what a capture holds meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, local

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


def is_going_on() -> bool:
    """True if this thread is capturing."""
    return _current.needed is not None


def forbid(what: str) -> None:
    """Say that this thread is going to do what CUDA has no part of a graph for.

    Raises:
        NotCapturable: it is capturing.
    """
    if _current.needed is not None:
        raise NotCapturable(what)


@contextmanager
def keeping() -> Iterator[list[object]]:
    """What `keep` is given by this thread."""
    before, needed = _current.needed, list[object]()
    _current.needed = needed
    try:
        yield needed
    finally:
        _current.needed = before
