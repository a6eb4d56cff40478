"""Work that several threads do at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def in_threads(work: Callable[[T], object], arguments: Iterable[T]) -> None:
    """Call `work` with each argument, each in a thread of its own, and wait for all; what one of them raises is raised here."""
    failures: list[BaseException] = []

    def guarded(argument: T) -> None:
        try:
            work(argument)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
