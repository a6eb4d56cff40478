"""The order in which a program called the stand-in; tests read it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

CALLS_KEPT = 100_000
TEXT_KEPT = 60


@dataclass(frozen=True)
class Call:
    """One use of a member that the surface let through.

    `text` is `(…)` with the arguments in short, ` = …` of an assignment, and empty where a property was read. The objects are
    kept only within `keeping_arguments`, so that the log prolongs no object's life; elsewhere `receiver` is None and the
    arguments are empty.
    """

    type: str
    member: str
    text: str
    receiver: Any = None
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        if self.member == "__init__":
            return f"{self.type}{self.text}"
        return f"{self.type}.{self.member}{self.text}" if self.type else f"{self.member}{self.text}"


_calls: deque[Call] = deque(maxlen=CALLS_KEPT)
_keeping = False


def record(type: str, member: str, text: str, receiver: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
    """Add one call."""
    _calls.append(Call(type, member, text, receiver, arguments, dict(keywords)) if _keeping else Call(type, member, text))


def recorded() -> tuple[Call, ...]:
    """What was called since `clear`, oldest first, the newest 100,000 calls at most."""
    return tuple(_calls)


def clear() -> None:
    """Forget every call."""
    _calls.clear()


@contextmanager
def keeping_arguments() -> Iterator[None]:
    """Keep receivers and arguments of the calls made within, which keeps them alive."""
    global _keeping
    before, _keeping = _keeping, True
    try:
        yield
    finally:
        _keeping = before


def short(value: object) -> str:
    """One argument, on one line and short."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{memoryview(value).nbytes} bytes>"
    text = " ".join(repr(value).split())
    return text if len(text) <= TEXT_KEPT else f"{text[: TEXT_KEPT - 1]}…"


def shown(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> str:
    """Arguments as they stand in a call, in brackets."""
    return f"({', '.join([*map(short, arguments), *(f'{name}={short(value)}' for name, value in keywords.items())])})"
