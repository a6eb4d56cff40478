"""Bytes that a class written in Python exports before Python 3.12, where `__buffer__` does not exist."""

from __future__ import annotations

from typing import Any

SPECIAL = {name for name in vars(bytearray) if name.startswith("__")} - {"__new__", "__init__", "__getattribute__", "__doc__"}
HIDDEN = {name for name in dir(bytearray) if not hasattr(object, name)}


class ExportedBytes(bytearray):
    """A copy of a behaviour's bytes, of which nothing of `bytearray` is left but the buffer."""

    __slots__ = ()

    def __new__(cls, *arguments: Any) -> ExportedBytes:
        """Without content; whether a program may make one is for `__init__` to say."""
        return super().__new__(cls)

    def __bool__(self) -> bool:
        return True

    def __getattribute__(self, name: str) -> Any:
        if name in HIDDEN:
            raise AttributeError(f"{type(self).__qualname__!r} object has no attribute {name!r}")
        return object.__getattribute__(self, name)


def export(made: ExportedBytes, behaviour: Any) -> None:
    """Let it export a copy of what the behaviour exports."""
    bytearray.extend(made, memoryview(behaviour.__buffer__(0)))


for _name in SPECIAL | {"__hash__"}:
    setattr(ExportedBytes, _name, getattr(object, _name, None))
