"""What the stand-in does, by the name of the class of `tensorrt` that it stands for.

A behaviour is a plain class with the names that it implements; `surface.py` puts the API of one version around it. Between the two holds:

- The surface checks a call first. What then arrives has the declared types and is given by position, in the order of the overload.
- Objects of registered classes arrive as behaviours and are returned as such; the surface wraps and unwraps them, the same object
  always by the same wrapper.
- Objects of classes that programs derive from (`ILogger`, `IOutputAllocator`, `IProgressMonitor`, …) arrive as they are, and are called
  by the API's names. `Logger` and `Profiler` are registered; the behaviour has the methods of the interface.
- Members of enums are those of the installed version, in both directions: `enum("DataType").FLOAT`.
- `Dims` and other sequences of numbers arrive as tuples, and tuples are returned for `Dims`.
- Functions of the module are registered by their names as well.
- Properties are properties or attributes of the behaviour; the surface alone says which may be written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_Behaviour = TypeVar("_Behaviour", bound=Callable[..., Any])

_implementations: dict[str, Callable[..., Any]] = {}
_enums: dict[str, Any] = {}
_version = ""


def implements(name: str) -> Callable[[_Behaviour], _Behaviour]:
    """Register a class, or a function, as what `tensorrt.NAME` does.

    Raises:
        ValueError: another is registered under this name.
    """

    def register(implementation: _Behaviour) -> _Behaviour:
        if name in _implementations:
            raise ValueError(f"{_implementations[name]!r} implements {name} already")
        _implementations[name] = implementation
        return implementation

    return register


def implementations() -> Mapping[str, Callable[..., Any]]:
    """Every behaviour, by the name of its class or function in the API."""
    return _implementations


def use(version: str, enums: Mapping[str, Any]) -> None:
    """Behave as this version, whose enums are these; called by what installs the module.

    Args:
        version: `10.13.3.9`, as in `tensorrt.__version__`.
        enums: name → class, whose members have `name` and can be made an `int`.
    """
    global _version
    _version = version
    _enums.clear()
    _enums.update(enums)


def version() -> str:
    """Of the API that is installed."""
    return _version


def major() -> int:
    """The first number of the version."""
    return int(_version.partition(".")[0])


def enum(name: str) -> Any:
    """An enum of the installed version."""
    return _enums[name]


def has_enum(name: str) -> bool:
    """Whether the installed version has an enum of this name."""
    return name in _enums
