"""Launches: made at once, or written down to be made again.

What a step launches on arrays that lie where they lay, with shapes that are known, is the same in every run: the function, its grid
and its arguments, addresses included. So a fixed plan has it written down once, and repeats the calls of the driver and of the
libraries without deciding anything.

While a step is written down it launches nothing, its arrays are `addresses.Address`es, and it cannot allocate. An operator that
computes with CuPy fails on these, and is launched in every run as before; nothing that would be missing from what is written
goes unnoticed, as long as whatever is launched without CuPy goes through `make`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import local
from typing import Any

Launch = Callable[[], Any]


class _Writing(local):
    """What the calling thread has written, and what has to live as long; None while it makes its launches."""

    launches: list[Launch] | None = None
    held: list[object] | None = None


_writing = _Writing()


def make(function: Callable[..., Any], *arguments: Any, held: object = None) -> bool:
    """Call `function`, which launches something, or write the call down.

    Args:
        function: of the driver or of a library.
        arguments: what it is called with, addresses and the stream among them.
        held: what has to live as long as the call may be repeated.

    Returns:
        True if it was called.
    """
    if _writing.launches is None:
        function(*arguments)
        return True
    _writing.launches.append(partial(function, *arguments))
    assert _writing.held is not None
    _writing.held.append(held)
    return False


def make_again(launches: Sequence[Launch], held: object) -> None:
    """Make launches that were written down, or write them down once more; `held` has to live as long as they."""
    for launch in launches:
        make(launch, held=held)


def written_down(work: Callable[[], Any]) -> tuple[tuple[Launch, ...], tuple[object, ...]]:
    """The launches that `work` would make, in order, and what has to live as long as they."""
    before = _writing.launches, _writing.held
    launches, held = _writing.launches, _writing.held = list[Launch](), list[object]()
    try:
        work()
    finally:
        _writing.launches, _writing.held = before
    return tuple(launches), tuple(held)
