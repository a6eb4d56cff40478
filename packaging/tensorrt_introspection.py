"""The API of the module `tensorrt_bindings`, from what pybind11 prints of it; `tensorrt_api.py` says where it can be imported.

Types are written in one notation, whichever pybind11 the bindings were built with: without their modules, and of a parameter
as what it accepts (`SupportsInt` and `Sequence[X]`, where an older pybind11 prints `int` and `List[X]`).
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import tensorrt_bindings as tensorrt

MODULES = re.compile(r"\b(?:tensorrt_bindings\.tensorrt|typing|typing_extensions|types|collections\.abc|numpy)\.|\b(?:\w+::)+")
NAMES = {
    "IBuilder": "Builder",
    "IParserError": "ParserError",
    "buffer": "Buffer",
    "capsule": "CapsuleType",
    "function": "Callable",
    "handle": "object",
    "ndarray": "ndarray",
}
GENERICS = {"List": "list", "Tuple": "tuple", "Dict": "dict", "Set": "set"}
ACCEPTED = {"int": "SupportsInt", "float": "SupportsFloat", "list[": "Sequence["}

PYBIND = {"__doc__", "__module__", "__entries", "__buffer__", "__release_buffer__", "__nonzero__", "_pybind11_conduit_v1_"}
ENUM = {"__eq__", "__ge__", "__getstate__", "__gt__", "__hash__", "__index__", "__init__", "__int__", "__le__", "__lt__", "__members__"}
ENUM |= {"__ne__", "__repr__", "__setstate__", "__str__", "name", "value"}


def type_name(printed: str, *, accepted: bool) -> str:
    """The type that pybind11 prints, in the one notation."""
    if "detail::accessor" in printed:
        return "object"
    text = MODULES.sub("", printed)
    text = re.sub(r"\w+", lambda word: NAMES.get(word[0], GENERICS.get(word[0], word[0])), text)
    if accepted:
        text = re.sub(r"\b(int|float)\b|\blist\[", lambda word: ACCEPTED[word[0]], text)
    return text


def default(printed: str) -> str:
    """A default value as an expression: `<DataType.FLOAT: 0>` is `DataType.FLOAT`."""
    member = re.fullmatch(r"<(\w+\.\w+): -?\d+>", printed)
    return member[1].replace("Severity.", "ILogger.Severity.") if member else printed


def parameters(text: str) -> Iterator[str]:
    """`name: type = default` of each parameter but `self`."""
    for part in re.split(r", (?=\w+: |/|\*)", text) if text else []:
        if part == "/" or part.startswith("self: "):
            continue
        name, _, rest = part.partition(": ")
        kind, _, value = rest.partition(" = ")
        yield f"{name}: {type_name(kind, accepted=True)}" + (f" = {default(value)}" if value else "")


def signature(line: str, *, unbound: bool) -> str:
    """`(a: A, b: B = 0) -> R` of a line of pybind11's docstring; of a special method the first parameter is the object."""
    found = re.fullmatch(r"\w*\((.*?)\) -> (.*)", line)
    if found is None:
        raise ValueError(f"not a signature of pybind11: {line!r}")
    parts = list(parameters(found[1]))
    if unbound and parts and not found[1].startswith("self: "):
        parts = parts[1:]
    return f"({', '.join(parts)}) -> {type_name(found[2], accepted=False)}"


def overloads(function: Any, *, unbound: bool = False) -> list[str]:
    """Every signature of a function or a method, in the order in which they are tried."""
    text = function.__doc__ or ""
    lines = re.findall(r"^\d+\. (.*)$", text, re.MULTILINE) if "\nOverloaded function.\n" in text else [text.partition("\n")[0]]
    return [signature(line, unbound=unbound) for line in lines]


def python_function(function: FunctionType) -> list[str]:
    """The signature of a function that the package writes in Python, without types."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return [f"({', '.join(f'{name}: object' for name in names if name != 'this')}) -> object"]


def accessors(item: property) -> dict[str, str]:
    """What a property gives and takes; without `get` it can only be written."""
    if isinstance(item.fget, FunctionType):
        return {"get": "object"}
    found = {}
    if item.fget is not None:
        found["get"] = overloads(item.fget)[0].rpartition(" -> ")[2]
    if item.fset is not None:
        value = re.search(r", \w+: (.*)\) -> ", item.fset.__doc__ or "")
        if value is None:
            raise ValueError(f"not a setter of pybind11: {item.fset.__doc__!r}")
        found["set"] = type_name(value[1], accepted=True)
    return found


def is_enum(item: Any) -> bool:
    """Whether it is what pybind11 makes of a C++ enum."""
    return isinstance(item, type) and hasattr(item, "__members__")


def enum_class(item: Any) -> dict[str, Any]:
    """Members and their values; the comparisons `<`, `<=`, … exist only where the bindings say so."""
    found: dict[str, Any] = {"members": {name: int(member) for name, member in item.__members__.items()}}
    if "__lt__" in vars(item):
        found["ordered"] = True
    return found


def constant(item: Any) -> int | str | None:
    """A number, or the name of a member of an enum."""
    if is_enum(type(item)):
        return f"{type(item).__qualname__}.{item.name}"
    return item if isinstance(item, int) and not isinstance(item, bool) else None


def member_class(item: Any) -> dict[str, Any]:
    """One class: its bases, constructors, methods, properties and constants."""
    found: dict[str, Any] = enum_class(item) if is_enum(item) else {}
    bases = [base.__qualname__ for base in item.__bases__ if base.__name__ != "pybind11_object"]
    if bases:
        found["bases"] = bases
    if not is_enum(item) and ctypes.pythonapi.PyObject_CheckBuffer(ctypes.py_object(item.__new__(item))):
        found["buffer"] = True
    for name, member in vars(item).items():
        if name in PYBIND or "_module_local_" in name or (is_enum(item) and (name in ENUM or name in item.__members__)):
            continue
        if name == "__init__":
            if type(member).__name__ == "instancemethod":
                found["constructors"] = [text.removesuffix(" -> None") for text in overloads(member)]
        elif type(member).__name__ == "pybind11_static_property":
            found.setdefault("constants", {})[name] = constant(getattr(item, name))
        elif isinstance(member, property):
            found.setdefault("properties", {})[name] = accessors(member)
        elif isinstance(member, staticmethod):
            found.setdefault("static_methods", {})[name] = overloads(member.__func__)
        elif isinstance(member, FunctionType):
            found.setdefault("methods", {})[name] = python_function(member)
        elif type(member).__name__ == "instancemethod":
            found.setdefault("methods", {})[name] = overloads(member, unbound=True)
        elif name == "__hash__":
            found["unhashable"] = True
        elif isinstance(getattr(item, name), type):
            found.setdefault("classes", []).append(getattr(item, name).__qualname__)
        else:
            found.setdefault("constants", {})[name] = constant(getattr(item, name))
    return found


def classes(scope: Any) -> Iterator[type]:
    """Every class, those inside others too."""
    for item in vars(scope).values():
        if isinstance(item, type) and item.__module__ == "tensorrt_bindings.tensorrt":
            yield item
            yield from classes(item)


def api() -> dict[str, Any]:
    """The whole module."""
    public = {name: item for name, item in vars(tensorrt).items() if not name.startswith("_") and name not in ("attr", "value")}
    functions = {name: item for name, item in public.items() if type(item).__name__ in ("function", "builtin_function_or_method")}
    return {
        "version": tensorrt.__version__,
        "classes": {item.__qualname__: member_class(item) for item in classes(tensorrt)},
        "constants": {name: constant(item) for name, item in public.items() if constant(item) is not None},
        "functions": {
            name: python_function(item) if isinstance(item, FunctionType) else overloads(item)
            for name, item in functions.items()
            if not name.startswith("common_")
        },
    }


def resolve(path: str) -> Any:
    """A class or a member of an enum by its name."""
    found: Any = tensorrt
    for name in path.split("."):
        found = getattr(found, name)
    return found
