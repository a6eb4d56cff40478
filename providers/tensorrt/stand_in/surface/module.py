"""The module object: classes, enums, constants and functions of one version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from onnxgpu.providers.tensorrt.stand_in import recording
from onnxgpu.providers.tensorrt.stand_in.surface import classes, enums, members
from onnxgpu.providers.tensorrt.stand_in.surface.api import Api, ClassApi, Signature
from onnxgpu.providers.tensorrt.stand_in.surface.capsules import Capsules
from onnxgpu.providers.tensorrt.stand_in.surface.conversion import EnumKind, Kind, Kinds

NUMPY_TYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}


def volume(iterable: Iterable[int]) -> int:
    """The product of the numbers, one of none."""
    product = 1
    for each in iterable:
        product *= each
    return product


def nptype(trt_type: Any) -> type:
    """NumPy's type for a `DataType`.

    Raises:
        TypeError: NumPy has none.
    """
    found = NUMPY_TYPES.get(getattr(trt_type, "name", ""))
    if found is None:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return found


FUNCTIONS: Mapping[str, Callable[..., Any]] = {each.__name__: each for each in (volume, nptype)}


def function(surface: classes.Surface, name: str, overloads: Sequence[Signature]) -> Callable[..., Any]:
    """One function of the module: of this file, or registered as a behaviour is."""
    place = classes.Place("", name, bound=False)

    def call(*positional: Any, **named: Any) -> Any:
        arguments, returns = surface.arguments(place, overloads, (), positional, named)
        found = FUNCTIONS.get(name) or surface.behaviours.get(name)
        if found is None:
            raise surface.missing(f"the function {name}")
        recording.record("", name, recording.shown(positional, named), None, positional, named)
        return surface.give(place, returns, found(*arguments))

    call.__name__ = call.__qualname__ = name
    return call


def bases_first(found: Mapping[str, ClassApi]) -> list[ClassApi]:
    """The classes in an order in which each comes after its bases and the classes that it has as attributes."""
    ordered: dict[str, ClassApi] = {}

    def add(name: str) -> None:
        for needed in (*found[name].bases, *found[name].classes):
            add(needed)
        ordered.setdefault(name, found[name])

    for enum_first in sorted(found, key=lambda name: not found[name].members):
        add(enum_first)
    return list(ordered.values())


def surface_of(api: Api, behaviours: Mapping[str, Callable[..., Any]]) -> classes.Surface:
    """The classes and enums of one version, acting through the behaviours."""
    surface = classes.Surface(api, behaviours)
    named: dict[str, Kind] = {"CapsuleType": Capsules(classes.Object), "object": classes.AnythingKind(surface)}
    for each in bases_first(api.classes):
        if each.members:
            surface.classes[each.name] = enums.make(each)
            named[each.name] = EnumKind(surface.classes[each.name])
        else:
            surface.classes[each.name] = members.make(surface, each)
            named[each.name] = classes.KINDS.get(each.name, classes.ObjectKind)(surface, each.name)
    surface.kinds = Kinds(named)
    return surface


def make(surface: classes.Surface) -> ModuleType:
    """The module `tensorrt`, with these classes."""
    api = surface.api
    module = ModuleType("tensorrt", "The stand-in of TensorRT's Python module.")
    module.__spec__ = ModuleSpec("tensorrt", loader=None)
    contents: dict[str, Any] = {name: each for name, each in surface.classes.items() if "." not in name}
    contents |= {name: value if isinstance(value, int) else surface.default(value) for name, value in api.constants.items()}
    contents |= {name: function(surface, name, each) for name, each in api.functions.items()}
    for name, value in (contents | {"__version__": api.version}).items():
        setattr(module, name, value)
    return module
