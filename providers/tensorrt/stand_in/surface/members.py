"""What a class of the API has: each use is checked, recorded and passed to the behaviour that is registered for the class."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from onnxgpu.providers.tensorrt.stand_in import recording
from onnxgpu.providers.tensorrt.stand_in.surface.api import ClassApi, Parameter, Property, Signature
from onnxgpu.providers.tensorrt.stand_in.surface.classes import Object, ObjectType, Place, Surface, refusal
from onnxgpu.providers.tensorrt.stand_in.surface.enums import MODULE
from onnxgpu.providers.tensorrt.stand_in.surface.exported_bytes import ExportedBytes

SHOWING = ("__repr__", "__str__")


def implements(behaviour: Any, name: str) -> bool:
    """Whether it has this member; properties are not evaluated to find out."""
    return hasattr(type(behaviour), name) or name in getattr(behaviour, "__dict__", ())


def method(surface: Surface, owner: str, name: str, overloads: Sequence[Signature]) -> Callable[..., Any]:
    """One method of one class."""
    place = Place(owner, name)

    def call(self: Any, *positional: Any, **named: Any) -> Any:
        if not isinstance(self, surface.classes[owner]):
            raise TypeError(refusal(place, overloads, (self, *positional), named))
        arguments, returns = surface.arguments(place, overloads, (self,), positional, named)
        behaviour = self._behaviour
        if behaviour is None:
            raise RuntimeError(f'Tried to call pure virtual function "{owner}::{name}"')
        if not implements(behaviour, name):
            raise surface.missing(place)
        if name not in SHOWING:
            recording.record(owner, name, recording.shown(positional, named), self, positional, named)
        return surface.give(place, returns, getattr(behaviour, name)(*arguments))

    call.__name__, call.__qualname__ = name, str(place)
    call.__doc__ = "\n".join(f"{name}{each.text}" for each in overloads)
    return call


def static_method(surface: Surface, owner: str, name: str, overloads: Sequence[Signature]) -> Any:
    """One function of a class."""
    place = Place(owner, name, bound=False)

    def call(*positional: Any, **named: Any) -> Any:
        arguments, returns = surface.arguments(place, overloads, (), positional, named)
        found = getattr(surface.behaviours.get(owner), name, None)
        if found is None:
            raise surface.missing(place)
        recording.record(owner, name, recording.shown(positional, named), None, positional, named)
        return surface.give(place, returns, found(*arguments))

    return staticmethod(call)


def accessor(surface: Surface, owner: str, name: str, declared: Property) -> property:
    """One property of one class, read-only or write-only where the real one is."""
    place = Place(owner, name, assigned=True)

    def behaviour(self: Any) -> Any:
        if not implements(self._behaviour, name):
            raise surface.missing(place)
        return self._behaviour

    def get(self: Any) -> Any:
        acting = behaviour(self)
        recording.record(owner, name, "", self, (), {})
        return surface.give(place, str(declared.get), getattr(acting, name))

    def put(self: Any, value: Any) -> None:
        signature = Signature((Parameter("arg0", str(declared.set)),), "None", f"(arg0: {declared.set}) -> None")
        (accepted,), _ = surface.arguments(place, [signature], (self,), (value,), {})
        acting = behaviour(self)
        recording.record(owner, name, f" = {recording.short(value)}", self, (value,), {})
        setattr(acting, name, accepted)

    return property(get if declared.get else None, put if declared.set else None)


def constructor(surface: Surface, api: ClassApi) -> Callable[..., None]:
    """`__init__` of one class, which refuses where a program cannot make one."""

    def init(self: Any, *positional: Any, **named: Any) -> None:
        if not api.constructors:
            own = type(self)
            raise TypeError(f"{f'{MODULE}.' * (own.__module__ == MODULE)}{own.__qualname__}: No constructor defined!")
        arguments, _ = surface.arguments(Place(api.name, "__init__"), api.constructors, (), positional, named)
        behaviour = surface.behaviours.get(api.name)
        if behaviour is None and not api.interface:
            raise surface.missing(f"the constructor of {api.name}")
        recording.record(api.name, "__init__", recording.shown(positional, named), self, positional, named)
        surface.bind(self, None if behaviour is None else behaviour(*arguments))

    return init


def enter(self: Any) -> Any:
    """As the bindings do."""
    text = "Context managers for TensorRT types are deprecated. Memory will be freed automatically when the reference count reaches 0."
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return self


def leave(self: Any, exc_type: object, exc_value: object, traceback: object) -> None:
    """As the bindings do: nothing."""


def buffer(body: dict[str, Any]) -> tuple[type, ...]:
    """Let a class export its behaviour's bytes; returns its bases.

    Only from Python 3.12 on can a class written in Python do this by itself; before, it derives from `bytearray` and hides the rest.
    """
    if sys.version_info >= (3, 12):
        body["__buffer__"] = lambda self, flags: memoryview(self._behaviour.__buffer__(flags))
        return (Object,)
    return Object, ExportedBytes


def make(surface: Surface, api: ClassApi) -> type:
    """One class; its bases have been made."""
    bases: tuple[type, ...] = tuple(surface.classes[each] for each in api.bases) or (Object,)
    body: dict[str, Any] = {"__slots__": () if api.bases else ("__weakref__", "_behaviour"), "__module__": MODULE, "__qualname__": api.name}
    if api.buffer:
        bases = buffer(body)
    body |= {"__init__": constructor(surface, api), "_callbacks": api.callbacks, "_surface": surface}
    body |= {name: method(surface, api.name, name, each) for name, each in api.methods.items() if name != "__del__"}
    body |= {name: static_method(surface, api.name, name, each) for name, each in api.static_methods.items()}
    body |= {name: accessor(surface, api.name, name, each) for name, each in api.properties.items()}
    body |= {each.rpartition(".")[2]: surface.classes[each] for each in api.classes}
    body |= {name: value if isinstance(value, int) else surface.default(value) for name, value in api.constants.items()}
    body |= {"__enter__": enter, "__exit__": leave} if "__enter__" in api.methods else {}
    body |= {"__hash__": None} if api.unhashable else {}
    return ObjectType(api.name, bases, body)
