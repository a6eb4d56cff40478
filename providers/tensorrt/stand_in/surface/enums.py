"""Enums as pybind11 makes them: not Python's, equal only to members of the same enum, numbers only where a number is wanted."""

from __future__ import annotations

from typing import Any, ClassVar

from onnxgpu.providers.tensorrt.stand_in.surface.api import ClassApi

MODULE = "tensorrt_bindings.tensorrt"
BYTES_PER_ELEMENT = {
    "FLOAT": 4,
    "HALF": 2,
    "BF16": 2,
    "INT8": 1,
    "INT32": 4,
    "INT64": 8,
    "BOOL": 1,
    "UINT8": 1,
    "FP8": 1,
    "INT4": 0.5,
    "FP4": 0.5,
}


class Enum:
    """A value of one of the API's enums."""

    __slots__ = ("_value",)
    __members__: ClassVar[dict[str, Any]] = {}

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        given = (*arguments, *keywords.values())
        if len(given) != 1 or set(keywords) - {"value"} or not hasattr(given[0], "__index__"):
            name = type(self).__qualname__
            raise TypeError(
                "__init__(): incompatible constructor arguments. The following argument types are supported:\n"
                f"    1. {MODULE}.{name}(value: SupportsInt)\n\nInvoked with: {', '.join(map(repr, given))}"
            )
        self._value = int(given[0])

    @property
    def name(self) -> str:
        """The member's name; `???` where no member has this value."""
        return next((name for name, member in type(self).__members__.items() if member._value == self._value), "???")

    @property
    def value(self) -> int:
        """The number."""
        return self._value

    def __int__(self) -> int:
        return self._value

    __index__ = __int__
    __hash__ = __int__

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __repr__(self) -> str:
        return f"<{self}: {self._value}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._value,)


class OrderedEnum(Enum):
    """An enum whose members compare among each other."""

    __slots__ = ()

    def _number(self, other: object) -> int:
        if type(other) is not type(self):
            raise TypeError("Expected an enumeration of matching type!")
        return other._value

    def __lt__(self, other: object) -> bool:
        return self._value < self._number(other)

    def __le__(self, other: object) -> bool:
        return self._value <= self._number(other)

    def __gt__(self, other: object) -> bool:
        return self._value > self._number(other)

    def __ge__(self, other: object) -> bool:
        return self._value >= self._number(other)


def _itemsize(member: Enum) -> float | None:
    return BYTES_PER_ELEMENT.get(member.name)


def make(api: ClassApi) -> type[Enum]:
    """The class of one enum, with its members as attributes."""
    name = api.name.rpartition(".")[2]
    body: dict[str, Any] = {"__slots__": (), "__module__": MODULE, "__qualname__": api.name, "__members__": {}}
    body |= {each: property(_itemsize) for each in api.properties if each == "itemsize"}
    made: type[Enum] = type(name, (OrderedEnum if api.ordered else Enum,), body)
    for member, value in api.members.items():
        made.__members__[member] = made(value)
        setattr(made, member, made.__members__[member])
    return made
