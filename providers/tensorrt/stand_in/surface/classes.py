"""The API's classes as types: which of their objects stands for which behaviour, and what a call takes and gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from onnxgpu.providers.tensorrt.stand_in.surface import callbacks
from onnxgpu.providers.tensorrt.stand_in.surface.api import Api, Parameter, Signature
from onnxgpu.providers.tensorrt.stand_in.surface.conversion import REFUSED, Kinds, Misbehaviour
from onnxgpu.providers.tensorrt.stand_in.surface.dims import MAX_DIMS, Dims
from onnxgpu.providers.tensorrt.stand_in.surface.enums import MODULE
from onnxgpu.providers.tensorrt.stand_in.surface.exported_bytes import ExportedBytes, export

MISSING: Any = object()
UNSET_BY_NONE = {
    f"{name} | None" for name in ("IDebugListener", "IErrorRecorder", "IGpuAllocator", "IOutputAllocator", "IProfiler", "IProgressMonitor")
}


class ObjectType(type):
    """Of the API's classes: a derived class has to call the constructor of its base, and has methods as TensorRT calls them."""

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> None:
        super().__init__(name, bases, body)
        for base in cls.__mro__[1:] if cls.__module__ != MODULE else ():
            if base.__module__ == MODULE:
                callbacks.prepare(cls, vars(base)["_callbacks"], vars(base)["_surface"], Object)

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        """Make one.

        Raises:
            TypeError: the derived class did not.
        """
        made = super().__call__(*arguments, **keywords)
        if not hasattr(made, "_behaviour"):
            base = next(each for each in cls.__mro__ if each.__module__ == MODULE)
            raise TypeError(f"{MODULE}.{base.__qualname__}.__init__() must be called when overriding __init__")
        return made


class Object(metaclass=ObjectType):
    """The base of the API's classes; `_behaviour` is what acts for it, None for a class that a program derived."""

    __slots__ = ()
    _behaviour: Any


@dataclass(frozen=True)
class Place:
    """A member of the API; `owner` is empty for a function of the module, `bound` says whether it is called on an object."""

    owner: str
    member: str
    bound: bool = True
    assigned: bool = False

    def __str__(self) -> str:
        return f"{self.owner}.{self.member}" if self.owner else self.member


class Surface:
    """What the classes of one installed version share: the types, the behaviours, and which object stands for which behaviour."""

    def __init__(self, api: Api, behaviours: Mapping[str, Callable[..., Any]]) -> None:
        self.api = api
        self.behaviours = behaviours
        self.classes: dict[str, Any] = {}
        self.names = {behaviour: name for name, behaviour in behaviours.items()}
        self.kinds = Kinds({})
        self._objects: WeakValueDictionary[int, Object] = WeakValueDictionary()
        self._lock = threading.Lock()

    def wrap(self, behaviour: Any) -> Any:
        """The object that stands for a behaviour, the same one as long as a program has it."""
        with self._lock:
            found = self._objects.get(id(behaviour))
            return self._made(behaviour) if found is None else found

    def _made(self, behaviour: Any) -> Any:
        name = next((self.names[each] for each in type(behaviour).__mro__ if each in self.names), None)
        if name is None:
            raise Misbehaviour(f"{behaviour!r} is of no class of the API")
        kind: Any = self.classes[name]
        made = kind.__new__(kind)
        self.bind(made, behaviour)
        if isinstance(made, ExportedBytes):
            export(made, behaviour)
        return made

    def bind(self, made: Object, behaviour: Any) -> None:
        """Let an object stand for a behaviour."""
        made._behaviour = behaviour
        if behaviour is not None:
            self._objects[id(behaviour)] = made

    def arguments(
        self, place: Place, overloads: Sequence[Signature], receiver: tuple[Any, ...], positional: tuple[Any, ...], named: Mapping[str, Any]
    ) -> tuple[list[Any], str]:
        """The arguments as the behaviour gets them, of the first overload that takes them, and the type which that one returns.

        Raises:
            TypeError: none does, in pybind11's words.
        """
        for convert in (False, True):
            for signature in overloads:
                found = self._bind(signature, positional, named, convert=convert)
                if found is not None:
                    return found, signature.returns
        raise TypeError(refusal(place, overloads, (*receiver, *positional), named))

    def _bind(self, signature: Signature, positional: tuple[Any, ...], named: Mapping[str, Any], *, convert: bool) -> list[Any] | None:
        if len(positional) > len(signature.parameters):
            return None
        names = {each.name for each in signature.parameters[len(positional) :] if not each.by_position_only}
        if not names.issuperset(named):
            return None
        found = []
        for index, parameter in enumerate(signature.parameters):
            value = positional[index] if index < len(positional) else named.get(parameter.name, MISSING)
            accepted = self._accept(parameter, value, convert=convert)
            if accepted is REFUSED:
                return None
            found.append(accepted)
        return found

    def _accept(self, parameter: Parameter, value: Any, *, convert: bool) -> Any:
        if value is MISSING:
            return REFUSED if parameter.default is None else self.default(parameter.default)
        if value is None and (parameter.default == "None" or parameter.type in UNSET_BY_NONE):
            return None
        return self.kinds[parameter.type.removesuffix(" | None")].accept(value, convert=convert)

    def default(self, text: str) -> Any:
        """The value of a default's expression: a number, text, True, False, None, or a member of an enum."""
        plain = {"None": None, "True": True, "False": False, "''": ""}
        if text in plain:
            return plain[text]
        if text.lstrip("-").isdigit():
            return int(text)
        enum, _, member = text.rpartition(".")
        return getattr(self.classes[enum], member)

    def give(self, place: object, type: str, value: Any) -> Any:
        """A behaviour's result as the program gets it.

        Raises:
            Misbehaviour: it is not of the declared type.
        """
        try:
            return self.kinds[type].give(value)
        except Misbehaviour as error:
            raise Misbehaviour(f"the stand-in's {place} gave {value!r}, and the API of {self.api.version} says {type}: {error}") from None

    def missing(self, place: object) -> NotImplementedError:
        """The error for what the real module has and the stand-in has not."""
        return NotImplementedError(f"TensorRT {self.api.version} has {place}; the stand-in does not implement it")


class ObjectKind:
    """A class of the API as a type. Registered classes arrive as behaviours, those that programs derive from as they are."""

    def __init__(self, surface: Surface, name: str) -> None:
        self._surface = surface
        self._name = name

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        own = self._surface.classes[self._name]
        if isinstance(value, own):
            return value if value._behaviour is None or type(value).__module__ != MODULE else value._behaviour
        return self.converted(value) if convert else REFUSED

    def converted(self, value: Any) -> Any:
        """What pybind11 makes of another value without being asked; of most classes nothing."""
        return REFUSED

    def give(self, value: Any) -> Any:
        """See `Kind`; pointers may be null."""
        own = self._surface.classes[self._name]
        found: Any = value if value is None or isinstance(value, Object) else self._surface.wrap(value)
        if found is not None and not isinstance(found, own):
            raise Misbehaviour(f"{value!r} is no {self._name}")
        return found


class AnythingKind:
    """`object`: whatever is given; a behaviour that is returned is wrapped."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        return value

    def give(self, value: Any) -> Any:
        """See `Kind`."""
        return self._surface.wrap(value) if type(value) in self._surface.names else value


class WeightsKind(ObjectKind):
    """`Weights`, as which arrays are taken."""

    def converted(self, value: Any) -> Any:
        """See `ObjectKind`."""
        return self._surface.behaviours["Weights"](value) if isinstance(value, np.ndarray) else REFUSED


class PermutationKind(ObjectKind):
    """`Permutation`, as which sequences of integers are taken."""

    def converted(self, value: Any) -> Any:
        """See `ObjectKind`."""
        found = self._surface.kinds["Sequence[int32]"].accept(value, convert=False)
        return REFUSED if found is REFUSED or len(found) > MAX_DIMS else self._surface.behaviours["Permutation"](found)


class DimsKind(ObjectKind):
    """`Dims`, which are tuples to a behaviour; sequences of integers are taken as such."""

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        found = super().accept(value, convert=convert)
        return found.shape if isinstance(found, Dims) else found

    def converted(self, value: Any) -> Any:
        """See `ObjectKind`."""
        found = self._surface.kinds["Sequence[int64]"].accept(value, convert=False)
        return found if found is REFUSED or len(found) <= MAX_DIMS else REFUSED

    def give(self, value: Any) -> Any:
        """See `Kind`."""
        if not isinstance(value, tuple | list) or not all(type(each) is int for each in value):
            raise Misbehaviour(f"{value!r} is no tuple of int")
        return self._surface.wrap(Dims(value))


KINDS = {"Dims": DimsKind, "Permutation": PermutationKind, "Weights": WeightsKind}


def refusal(place: Place, overloads: Sequence[Signature], positional: tuple[Any, ...], named: Mapping[str, Any]) -> str:
    """pybind11's message for arguments that no overload takes."""
    own = f"self: {MODULE}.{place.owner}" if place.bound else ""
    if place.member == "__init__":
        lines = [f"{MODULE}.{place.owner}{each.text}" for each in overloads]
    else:
        lines = [f"({own}{', ' if own and each.parameters else ''}{each.text[1:]}" for each in overloads]
    listed = "\n".join(f"    {index}. {line}" for index, line in enumerate(lines, 1))
    keywords = f"kwargs: {', '.join(f'{key}={value!r}' for key, value in named.items())}" if named else ""
    invoked = "; ".join(filter(None, [", ".join(map(repr, positional)), keywords]))
    kind = "constructor" if place.member == "__init__" else "function"
    name = "" if place.assigned else place.member
    return f"{name}(): incompatible {kind} arguments. The following argument types are supported:\n{listed}\n\nInvoked with: {invoked}"
