"""What PyCUDA has, from `api.json`: everything that the stand-in offers is checked against it, and so is every call."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Mapping
from functools import wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

API: Mapping[str, Any] = json.loads(Path(__file__).with_name("api.json").read_text())


def module(name: str, functions: Mapping[str, Callable[..., Any]], classes: Mapping[str, type], others: Mapping[str, Any]) -> ModuleType:
    """The module `name`; what it lacks of PyCUDA's raises NotImplementedError, anything else AttributeError.

    Args:
        name: `pycuda.driver`, …
        functions: by name.
        classes: by name.
        others: constants and what the module has from other modules.
    """
    known = API[name]
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None, origin="stand-in")
    for key, function in functions.items():
        setattr(made, key, _checked(f"{name}.{key}", function, known["functions"][key]))
    for key, cls in classes.items():
        setattr(made, key, _checked_class(name, key, cls))
    vars(made).update(others)

    def missing(key: str) -> Any:
        if key in known["functions"] or key in known["classes"]:
            raise NotImplementedError(f"PyCUDA has {name}.{key}, its stand-in has not")
        raise AttributeError(f"module {name!r} has no attribute {key!r}")

    made.__getattr__ = missing  # type: ignore[method-assign]
    return made


def _checked_class(module_name: str, name: str, cls: type) -> type:
    """The class, with every public member and operator of it PyCUDA's, called as PyCUDA's is."""
    known = API[module_name]["classes"][name]
    for key, member in list(vars(cls).items()):
        inner = member.__func__ if isinstance(member, staticmethod) else member
        if isinstance(inner, FunctionType) and key in known:
            checked = _checked(f"{name}.{key}", inner, known[key], bound=not isinstance(member, staticmethod))
            setattr(cls, key, staticmethod(checked) if isinstance(member, staticmethod) else checked)
        elif not key.startswith("_"):
            assert key in known, f"PyCUDA's {name} has no {key!r}"
            assert known[key] not in ("property", "value") or not isinstance(inner, FunctionType), f"{name}.{key} is no method"

    def missing(self: object, key: str) -> Any:
        if key in known and not hasattr(type(self), key):
            raise NotImplementedError(f"PyCUDA has {name}.{key}, its stand-in has not")
        raise AttributeError(f"{name!r} object has no attribute {key!r}")

    if "__getattr__" not in vars(cls):
        cls.__getattr__ = missing  # type: ignore[attr-defined]
    return cls


def _checked(label: str, function: Callable[..., Any], text: str | None, *, bound: bool = False) -> Callable[..., Any]:
    expected = _signature(text)

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        if expected is not None:
            try:
                expected.bind(*arguments[bound:], **keywords)
            except TypeError as error:
                raise TypeError(f"Python argument types in {label} did not match C++ signature: {error}") from None
        return function(*arguments, **keywords)

    return call


def _signature(text: str | None) -> inspect.Signature | None:
    """Without types, and with None for every default; None where it is not known."""
    if text is None:
        return None
    tree = ast.parse(f"lambda {_untyped(text)}: None", mode="eval")
    assert isinstance(tree.body, ast.Lambda)
    given = tree.body.args
    given.defaults = [ast.Constant(None) for _ in given.defaults]
    made = eval(compile(ast.fix_missing_locations(tree), "<signature>", "eval"))
    return inspect.signature(made)


def _untyped(text: str) -> str:
    (function,) = ast.parse(f"def f{text}: pass").body
    assert isinstance(function, ast.FunctionDef)
    for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        argument.annotation = None
    return ast.unparse(function.args)
