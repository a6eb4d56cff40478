"""Records the public names of the installed onnxruntime: `python -m tests.onnxruntime_names` writes onnxruntime_names.json anew.

Of each name its kind; of a class its members; of an enumeration its numbers; of a function or method its parameters, each with
its default. A parameter that onnxruntime leaves unnamed (`arg0`) is recorded as null. Where there are several signatures, none is.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

PATH = Path(__file__).with_name("onnxruntime_names.json")
MODULES = (
    "onnxruntime",
    "onnxruntime.capi.onnxruntime_inference_collection",
    "onnxruntime.capi.onnxruntime_pybind11_state",
    "onnxruntime.capi.onnxruntime_validation",
)
PYTHON_OWN = frozenset(
    ["C", "annotations", "capi", "collections", "contextlib", "linecache", "np", "npt", "os", "platform", "typing", "warnings", "weakref"]
)
"""Modules that onnxruntime's files import for themselves."""


def recorded() -> dict[str, dict[str, Any]]:
    """Module → name → what it is."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        found[name] = {n: _described(getattr(module, n)) for n in sorted(vars(module)) if not n.startswith("_") and n not in PYTHON_OWN}
    return found


def _described(value: Any) -> Any:
    if isinstance(value, ModuleType):
        return {"kind": "module"}
    if isinstance(value, type):
        members = getattr(value, "__members__", None)
        if members is not None:
            return {"kind": "enum", "members": {name: _number(member) for name, member in members.items()}}
        members = {name: _described_member(value, name) for name in _members(value)}
        return {"kind": "class", "bases": _bases(value), "constructor": _constructor(value), "members": members}
    if callable(value):
        return {"kind": "function", "parameters": parameters(value)}
    return {"kind": "value"}


def _constructor(value: type) -> list[list[Any]] | None:
    if issubclass(value, Exception):
        return None
    found = parameters(value.__init__)
    return None if found is not None and ["*args", None] in found else found


def _number(member: Any) -> int:
    return int(member.value if isinstance(member, enum.Enum) else member)


def _bases(value: type) -> list[str]:
    return [base.__name__ for base in value.__mro__[1:] if base.__module__ != "pybind11_builtins" and base is not object]


def _members(value: type) -> list[str]:
    inherited = set(dir(Exception if issubclass(value, Exception) else object))
    return sorted(name for name in dir(value) if not name.startswith("_") and name not in inherited)


def _described_member(owner: type, name: str) -> Any:
    member = getattr(owner, name)
    if callable(member) and not isinstance(member, type):
        return {"parameters": parameters(member)}
    return {}


def parameters(function: Any) -> list[list[Any]] | None:
    """Names and defaults without `self`, or None: unknown."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return _documented(function.__doc__ or "")
    return [
        [("*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else "") + p.name, _default(p)]
        for p in signature.parameters.values()
        if p.name not in ("self", "cls")
    ]


def _default(parameter: inspect.Parameter) -> str | None:
    if parameter.default is parameter.empty:
        return None
    default = parameter.default
    return repr(_number(default) if hasattr(type(default), "__members__") else default)


def _documented(doc: str) -> list[list[Any]] | None:
    """The parameters in the first line of a docstring of pybind11."""
    first = re.match(r"\w+\((.*)\) -> ", doc.split("\n", 1)[0])
    if first is None or "Overloaded function" in doc or "*args" in first[1]:
        return None
    found: list[list[Any]] = []
    for part in _split(first[1]):
        if not part or part.startswith(("self:", "*", "/")):
            continue
        name, _, rest = part.partition(":")
        default = rest.rpartition(" = ")[2] if " = " in rest else None
        number = re.search(r": (-?\d+)>$", default or "")
        found.append([None if re.fullmatch(r"arg\d+", name) else name, number[1] if number else default])
    return found


def _split(text: str) -> list[str]:
    """The parts between commas that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[<(") - (character in "]>)")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


if __name__ == "__main__":
    lines = [
        f"{json.dumps(module)}: {{\n" + ",\n".join(f"{json.dumps(n)}: {json.dumps(what)}" for n, what in names.items()) + "\n}"
        for module, names in recorded().items()
    ]
    version = importlib.import_module("onnxruntime").__version__
    PATH.write_text(f'{{"version": {json.dumps(version)},\n' + ",\n".join(lines) + "}\n")
