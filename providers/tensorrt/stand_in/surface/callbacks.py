"""Methods of a program's classes that TensorRT calls: they take its arguments, and get the types that the bindings give."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Protocol


class Giver(Protocol):
    """What turns a behaviour's value into what a program gets; see `Surface.give`."""

    def give(self, place: Any, type: str, value: Any) -> Any:
        """A value of this type."""


def prepare(derived: type, callbacks: Mapping[str, tuple[str, ...]], giver: Giver, object_type: type) -> None:
    """Check the methods of a class that a program derives from an interface, and let them get what the bindings give.

    Args:
        derived: the class.
        callbacks: what TensorRT calls, with the types of the arguments.
        giver: makes a `Dims` of a shape, for one.
        object_type: the base of the API's classes, whose objects are passed as they are.

    Raises:
        TypeError: TensorRT calls a method with arguments that it does not take. The bindings notice it later, during a build or a run.
    """
    for name, types in callbacks.items():
        function = vars(derived).get(name)
        if inspect.isfunction(function):
            try:
                inspect.signature(function).bind(None, *types)
            except TypeError as error:
                raise TypeError(f"TensorRT calls {derived.__qualname__}.{name} with ({', '.join(types)}): {error}") from None
            setattr(derived, name, _checked(function, f"{derived.__qualname__}.{name}", types, giver, object_type))


def _checked(function: Callable[..., Any], place: str, types: tuple[str, ...], giver: Giver, object_type: type) -> Callable[..., Any]:
    @wraps(function)
    def call(self: Any, *given: Any, **named: Any) -> Any:
        if len(given) == len(types):  # else a program calls its own method in its own way
            given = tuple(
                value if isinstance(value, object_type) else giver.give(place, type, value)
                for type, value in zip(types, given, strict=True)
            )
        return function(self, *given, **named)

    return call
