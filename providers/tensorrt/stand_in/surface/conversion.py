"""What pybind11 takes as an argument of a type, and what the type promises of a returned value.

As in pybind11, overloads are tried twice: first with values of just that type, then with those that can be converted. It is
stricter where the bindings take what is a mistake: None as a bool, a member of an enum as a number (flags are `1 << int(flag)`), a set
as a sequence, and None for a pointer to anything but an interface that it unsets, or a default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from onnxgpu.providers.tensorrt.stand_in.surface.enums import Enum

REFUSED: Any = object()


class Misbehaviour(BaseException):
    """The stand-in itself gave what the API does not promise; it is not swallowed as an error of a program is."""


class Kind(Protocol):
    """A type of the API; `accept` gives what reaches the behaviour or `REFUSED`, `give` what reaches the program."""

    def accept(self, value: Any, *, convert: bool) -> Any:
        """The value as the behaviour gets it."""

    def give(self, value: Any) -> Any:
        """The value as the program gets it.

        Raises:
            Misbehaviour: it is not of the type.
        """


class Plain:
    """A type of Python, exactly; `given` is what may be returned, the same if it is left out."""

    def __init__(self, accepts: Callable[[Any, bool], Any], given: type | tuple[type, ...]) -> None:
        self._accepts = accepts
        self._given = given

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        return self._accepts(value, convert)

    def give(self, value: Any) -> Any:
        """See `Kind`; a boolean is no number."""
        if not isinstance(value, self._given) or (isinstance(value, bool) and self._given in (int, float)):
            raise Misbehaviour(f"{value!r} is no {self._given}")
        return value


def _integer(lowest: int, highest: int) -> Callable[[Any, bool], Any]:
    def accept(value: Any, convert: bool) -> Any:
        if isinstance(value, float | Enum) or not (hasattr(value, "__index__") or (convert and hasattr(value, "__int__"))):
            return REFUSED
        try:
            number = int(value)
        except (TypeError, ValueError):  # arrays have `__int__`, whatever their length
            return REFUSED
        return number if lowest <= number <= highest else REFUSED

    return accept


def _real(value: Any, convert: bool) -> Any:
    if isinstance(value, Enum):
        return REFUSED
    if not isinstance(value, float) and not (convert and (hasattr(value, "__float__") or hasattr(value, "__index__"))):
        return REFUSED
    try:
        return float(value)
    except (TypeError, ValueError):
        return REFUSED


def _boolean(value: Any, convert: bool) -> Any:
    if isinstance(value, bool):
        return value
    if not convert or value is None or not hasattr(value, "__bool__"):
        return REFUSED
    try:
        return bool(value)
    except ValueError:  # of an array with several elements
        return REFUSED


def _text(value: Any, convert: bool) -> Any:
    if isinstance(value, bytes | bytearray):
        return value.decode()
    return str(value) if isinstance(value, str) else REFUSED


def _exactly(*types: type) -> Callable[[Any, bool], Any]:
    return lambda value, convert: value if isinstance(value, types) else REFUSED


def _buffer(value: Any, convert: bool) -> Any:
    try:
        return memoryview(value)
    except TypeError:
        return REFUSED


PLAIN: dict[str, Kind] = {
    "None": Plain(_exactly(type(None)), type(None)),
    "SupportsInt": Plain(_integer(-(2**63), 2**64 - 1), int),
    "SupportsFloat": Plain(_real, float),
    "int": Plain(_integer(-(2**63), 2**64 - 1), int),
    "float": Plain(_real, float),
    "bool": Plain(_boolean, bool),
    "str": Plain(_text, (str, type(None))),
    "bytes": Plain(_exactly(bytes), bytes),
    "list": Plain(_exactly(list), list),
    "tuple": Plain(_exactly(tuple), tuple),
    "slice": Plain(_exactly(slice), slice),
    "memoryview": Plain(_exactly(memoryview), memoryview),
    "ndarray": Plain(_exactly(np.ndarray), np.ndarray),
    "Buffer": Plain(_buffer, (bytes, memoryview)),
    "Callable": Plain(lambda value, convert: value if callable(value) else REFUSED, object),
    "Iterable": Plain(lambda value, convert: value if isinstance(value, Iterable) else REFUSED, object),
    "Iterator": Plain(lambda value, convert: REFUSED, object),
}
for _bits in (8, 16, 32, 64):
    PLAIN[f"int{_bits}"] = Plain(_integer(-(2 ** (_bits - 1)), 2 ** (_bits - 1) - 1), int)
    PLAIN[f"uint{_bits}"] = Plain(_integer(0, 2**_bits - 1), int)


def is_sequence(value: Any) -> bool:
    """Whether pybind11 takes it for a vector: anything with a length and indices but text, bytes and mappings."""
    kind = type(value)
    return hasattr(kind, "__getitem__") and hasattr(kind, "__len__") and not isinstance(value, str | bytes | dict)


class Sequence:
    """`Sequence[X]` as an argument arrives as a tuple; `list[X]` is returned as a list."""

    def __init__(self, item: Kind) -> None:
        self._item = item

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        if not is_sequence(value):
            return REFUSED
        items = tuple(self._item.accept(each, convert=convert) for each in value)
        return REFUSED if any(each is REFUSED for each in items) else items

    def give(self, value: Any) -> Any:
        """See `Kind`."""
        if not isinstance(value, list | tuple):
            raise Misbehaviour(f"{value!r} is no list")
        return [self._item.give(each) for each in value]


class Stream:
    """`Iterator[X]`, which is only returned."""

    def __init__(self, item: Kind) -> None:
        self._item = item

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        return REFUSED

    def give(self, value: Any) -> Iterator[Any]:
        """See `Kind`."""
        return map(self._item.give, iter(value))


class Tuple:
    """`tuple[A, B]`, of fixed length."""

    def __init__(self, items: list[Kind]) -> None:
        self._items = items

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        if not is_sequence(value) or len(value) != len(self._items):
            return REFUSED
        items = tuple(kind.accept(each, convert=convert) for kind, each in zip(self._items, value, strict=True))
        return REFUSED if any(each is REFUSED for each in items) else items

    def give(self, value: Any) -> Any:
        """See `Kind`."""
        if not isinstance(value, tuple) or len(value) != len(self._items):
            raise Misbehaviour(f"{value!r} is no tuple of {len(self._items)}")
        return tuple(kind.give(each) for kind, each in zip(self._items, value, strict=True))


class EnumKind:
    """A member of just this enum, in both directions."""

    def __init__(self, enum: type) -> None:
        self._enum = enum

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        return value if type(value) is self._enum else REFUSED

    def give(self, value: Any) -> Any:
        """See `Kind`."""
        if type(value) is not self._enum:
            raise Misbehaviour(f"{value!r} is no {self._enum.__qualname__}")
        return value


class Kinds:
    """Every type of one version, by its text; `named` holds the classes and enums."""

    def __init__(self, named: dict[str, Kind]) -> None:
        self._found = PLAIN | named

    def __getitem__(self, text: str) -> Kind:
        if text not in self._found:
            self._found[text] = self._generic(text)
        return self._found[text]

    def _generic(self, text: str) -> Kind:
        parts = re.fullmatch(r"(\w+)\[(.*)\]", text)
        if parts is None:
            raise Misbehaviour(f"the API has a type that the stand-in does not know: {text}")
        if parts[1] == "tuple":
            return Tuple([self[each] for each in re.split(r", (?![^\[]*\])", parts[2])])
        return Stream(self[parts[2]]) if parts[1] == "Iterator" else Sequence(self[parts[2]])
