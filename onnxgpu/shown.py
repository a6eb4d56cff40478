"""Properties that give way: a subclass or a program may set an attribute of the same name on the object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class shown(Generic[T]):  # noqa: N801 - used as `property` is
    """As `property`, but an attribute that is set on the object hides it.

    Programs derive from `InferenceSession` and set attributes of any name (`model_path` is a frequent one).
    """

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        return self if instance is None else self._read(instance)
