"""Behaviours that only write down what reached them, and arguments of every type, so that the surface can be tried alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from onnxgpu.providers.tensorrt.stand_in.surface import api, dims, module

PLAIN: dict[str, Any] = {
    "SupportsInt": 1,
    "SupportsFloat": 1.5,
    "int": 1,
    "float": 1.5,
    "bool": True,
    "str": "text",
    "bytes": b"bytes",
    "Buffer": b"bytes",
    "object": "anything",
    "list": [1],
    "tuple": (1, 2),
    "slice": slice(2),
    "ndarray": np.ones(2, np.float32),
    "CapsuleType": None,
    "Callable": len,
    "Iterable": [1],
    "memoryview": memoryview(b"bytes"),
    "None": None,
    "Dims": (2, 3),
}
DIMS = {each.__name__: each for each in (dims.Dims, dims.Dims2, dims.DimsHW, dims.Dims3, dims.Dims4)}
SHOWING = ("__repr__", "__str__")  # error messages call these
ENUM_OF_NO_PARAMETER = "APILanguage"


class Echoes:
    """A module of one version whose behaviours are echoes; `reached` lists (class, member, arguments)."""

    def __init__(self, version: str) -> None:
        self.api = api.load(version)
        self.reached: list[tuple[str, str, tuple[Any, ...]]] = []
        echoed = {name: each for name, each in self.api.classes.items() if not each.members and not each.interface}
        self.behaviours: dict[str, Any] = {name: self._behaviour(each) for name, each in echoed.items()} | DIMS
        self.surface = module.surface_of(self.api, self.behaviours)
        self.tensorrt: ModuleType = module.make(self.surface)

    def object(self, name: str) -> Any:
        """One of a class, of a derived class where programs derive from it."""
        found: Any = self.surface.classes[name]
        if name in DIMS:
            return found()
        if name in self.behaviours:
            return self.surface.wrap(self.behaviours[name].__new__(self.behaviours[name]))
        return type(f"My{name}", (found,), {})()

    def sample(self, kind: str) -> Any:
        """A value of a type, as a program gives it."""
        kind = kind.removesuffix(" | None")
        if kind in PLAIN:
            return PLAIN[kind]
        if re.fullmatch(r"u?int\d+", kind):
            return 3
        generic = re.fullmatch(r"(\w+)\[(.*)\]", kind)
        if generic and generic[1] == "tuple":
            return tuple(self.sample(each) for each in re.split(r", (?![^\[]*\])", generic[2]))
        if generic:
            return [self.sample(generic[2])]
        if self.api.classes[kind].members:
            return next(iter(self.surface.classes[kind].__members__.values()))
        return self.object(kind)

    def arguments(self, signature: api.Signature) -> list[Any]:
        """Values for each parameter."""
        return [self.sample(each.type) for each in signature.parameters]

    def wrong(self, kind: str) -> list[Any]:
        """Values that a parameter of this type must not take."""
        bare = kind.removesuffix(" | None")
        if bare in ("object", "CapsuleType"):
            return []
        found = [object(), getattr(self.tensorrt, ENUM_OF_NO_PARAMETER).CPP]
        found += [] if "str" in bare or "bytes" in bare or bare == "Buffer" or bare == "Iterable" else ["text"]
        if bare.startswith("uint"):
            found.append(-1)
        if self.api.classes.get(bare) and self.api.classes[bare].members:
            found.append(0)
        return found

    def answer(self, kind: str) -> Any:
        """What an echo returns where the API says this type."""
        generic = re.fullmatch(r"(\w+)\[(.*)\]", kind)
        if generic and generic[1] == "tuple":
            return tuple(self.answer(each) for each in re.split(r", (?![^\[]*\])", generic[2]))
        if generic:
            return [self.answer(generic[2])]
        if kind in self.behaviours and kind not in DIMS:
            return self.behaviours[kind].__new__(self.behaviours[kind])
        return iter([]) if kind == "Iterator" else self.sample(kind)

    def _behaviour(self, each: api.ClassApi) -> type:
        body: dict[str, Any] = {"__init__": self._method(each.name, "__init__", "None")}
        lookup: dict[str, Any] = {}
        for owner in (*each.bases, each.name):
            lookup |= {**self.api.classes[owner].methods, **self.api.classes[owner].static_methods}
        lookup.pop("__del__", None)
        for name, overloads in lookup.items():
            returns = overloads[0].returns
            method = self._method(each.name, name, returns)
            static = name in each.static_methods
            body[name] = staticmethod(lambda *given, method=method: method(None, *given)) if static else method
        body |= {"__hash__": object.__hash__, "__eq__": object.__eq__} if "__eq__" in body else {}
        for owner in (*each.bases, each.name):
            body |= {
                name: self._property(each.name, name, found.get or "None") for name, found in self.api.classes[owner].properties.items()
            }
        if each.buffer:
            body["__buffer__"] = lambda own, flags: memoryview(b"bytes")
        return type(each.name, (), body)

    def _method(self, owner: str, name: str, returns: str) -> Any:
        def method(own: Any, *given: Any) -> Any:
            if name not in SHOWING:
                self.reached.append((owner, name, given))
            return self.answer(returns)

        return method

    def _property(self, owner: str, name: str, returns: str) -> property:
        def get(own: Any) -> Any:
            self.reached.append((owner, name, ()))
            return self.answer(returns)

        def put(own: Any, value: Any) -> None:
            self.reached.append((owner, name, (value,)))

        return property(get, put)


def callable_members(echoes: Echoes) -> list[tuple[str, str, Sequence[api.Signature]]]:
    """Class, name and overloads of every method that a behaviour has."""
    return [
        (owner, name, overloads)
        for owner, each in echoes.api.classes.items()
        if owner in echoes.behaviours and owner not in DIMS
        for name, overloads in each.methods.items()
        if name not in ("__del__", "__enter__", "__exit__", "__eq__", "__ne__", "__hash__", *SHOWING)
    ]
