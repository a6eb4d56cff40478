"""The API of one version of the module, read from the file that `packaging/tensorrt_api.py` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

VERSIONS = ("10.13", "11.4")


@dataclass(frozen=True)
class Parameter:
    """One parameter; `default` is an expression, None where the argument has to be given."""

    name: str
    type: str
    default: str | None = None

    @property
    def by_position_only(self) -> bool:
        """Whether the bindings give it no name; pybind11 prints `arg0` then."""
        return re.fullmatch(r"arg\d+", self.name) is not None


@dataclass(frozen=True)
class Signature:
    """One overload of a function, method or constructor."""

    parameters: tuple[Parameter, ...]
    returns: str
    text: str


@dataclass(frozen=True)
class Property:
    """What a property gives and what it takes; None where it can only be written or only be read."""

    get: str | None
    set: str | None


@dataclass(frozen=True)
class ClassApi:
    """One class, or one enum if it has `members`.

    `constructors` is empty where a program cannot make one. `classes` are those that are reached as its attributes. `callbacks` are
    methods that TensorRT calls on objects of derived classes, and the types of their arguments.
    """

    name: str
    bases: tuple[str, ...]
    constructors: tuple[Signature, ...]
    methods: Mapping[str, tuple[Signature, ...]]
    static_methods: Mapping[str, tuple[Signature, ...]]
    properties: Mapping[str, Property]
    constants: Mapping[str, int | str]
    classes: tuple[str, ...]
    members: Mapping[str, int] = field(default_factory=dict)
    ordered: bool = False
    unhashable: bool = False
    buffer: bool = False
    callbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def interface(self) -> bool:
        """Whether programs derive from it: the bindings can make one although it is an interface of C++."""
        return bool(self.constructors) and re.match(r"I[A-Z][a-z]", self.name) is not None


@dataclass(frozen=True)
class Api:
    """The whole module; `version` is its `__version__`."""

    version: str
    classes: Mapping[str, ClassApi]
    functions: Mapping[str, tuple[Signature, ...]]
    constants: Mapping[str, int | str]


def parse_signature(text: str) -> Signature:
    """`(a: A, b: B = 0) -> R` as an object; constructors return nothing."""
    inner, _, returns = text.rpartition(" -> ") if " -> " in text else (text, "", "None")
    parts = re.split(r", (?=\w+: )", inner[1:-1]) if inner != "()" else []
    found = [re.fullmatch(r"(\w+): (.*?)(?: = (.*))?", part) for part in parts]
    return Signature(tuple(Parameter(each[1], each[2], each[3]) for each in found if each), returns, text)


def _signatures(found: Mapping[str, list[str]]) -> dict[str, tuple[Signature, ...]]:
    return {name: tuple(map(parse_signature, texts)) for name, texts in found.items()}


def _class(name: str, found: Mapping[str, Any]) -> ClassApi:
    return ClassApi(
        name,
        bases=tuple(found.get("bases", ())),
        constructors=tuple(map(parse_signature, found.get("constructors", ()))),
        methods=_signatures(found.get("methods", {})),
        static_methods=_signatures(found.get("static_methods", {})),
        properties={key: Property(each.get("get"), each.get("set")) for key, each in found.get("properties", {}).items()},
        constants=found.get("constants", {}),
        classes=tuple(found.get("classes", ())),
        members=found.get("members", {}),
        ordered=found.get("ordered", False),
        unhashable=found.get("unhashable", False),
        buffer=found.get("buffer", False),
        callbacks={key: tuple(filter(None, each[1:-1].split(", "))) for key, each in found.get("callbacks", {}).items()},
    )


@cache
def load(version: str) -> Api:
    """The API of `10.13` or `11.4`.

    Raises:
        ValueError: another version.
    """
    if version not in VERSIONS:
        raise ValueError(f"the stand-in of TensorRT knows the versions {' and '.join(VERSIONS)}, not {version!r}")
    found = json.loads(files("onnxgpu.providers.tensorrt.stand_in").joinpath(f"api_{version}.json").read_text("utf-8"))
    return Api(
        version=found["version"],
        classes={name: _class(name, each) for name, each in found["classes"].items()},
        functions=_signatures(found["functions"]),
        constants=found["constants"],
    )
