"""Print the API as JSON, with what pybind11 does not print: which numbers the bindings take, and where they take None.

Every function is called with `tensorrt_answers.cpp` behind the bindings, in a child process, with arguments of the declared types
but one. A TypeError refuses that one; whatever else happens, a crash for one, comes after it was taken. What is found is
written in place of the type: `SupportsInt` becomes `int32` or `uint64`, `str` becomes `str | None`.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorrt_bindings as tensorrt
from tensorrt_callbacks import callbacks
from tensorrt_introspection import api as printed_api
from tensorrt_introspection import resolve

REFUSED = re.compile(r"incompatible (function|constructor) arguments")
SECONDS = 10
MEMORY = 8 << 30  # bytes
INTEGERS = ("SupportsInt", "Sequence[SupportsInt]")
PLAIN: dict[str, Any] = {
    "SupportsInt": 1,
    "SupportsFloat": 1.0,
    "bool": True,
    "str": "a",
    "bytes": b"a",
    "Buffer": b"a",
    "object": None,
    "list": [1],
    "tuple": (1,),
    "slice": slice(1),
    "ndarray": np.ones(1, np.float32),
    "CapsuleType": None,
    "Callable": len,
    "Iterable": [],
    "Dims": (1,),
}
Arguments = list[Any]


class Unknown(Exception):
    """No value of the type could be made."""


def taken(calls: list[Callable[[], Any]]) -> list[bool]:
    """Of each call, whether its arguments are taken, tried in a child process; another one goes on where one crashed."""
    found: list[bool] = []
    while len(found) < len(calls):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                answer(calls[len(found) :], writing)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            found += [byte == ord("y") for byte in stream.read()]
        if os.waitpid(child, 0)[1]:
            found.append(True)
    return found


def answer(calls: list[Callable[[], Any]], writing: int) -> None:
    """In the child: a letter for each call."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for call in calls:
        signal.alarm(SECONDS)
        refused = False
        try:
            call()
        except TypeError as error:
            refused = REFUSED.search(str(error)) is not None
        except Exception:
            pass
        os.write(writing, b"n" if refused else b"y")


def split(text: str) -> tuple[list[tuple[str, str, str]], str]:
    """Name, type and default of each parameter, and what follows them."""
    inner, closing, rest = text[1:].rpartition(") -> ") if " -> " in text else (text[1:-1], ")", "")
    parts = re.split(r", (?=\w+: )", inner) if inner else []
    found = []
    for part in parts:
        name, _, rest_of_part = part.partition(": ")
        kind, equals, value = rest_of_part.partition(" = ")
        found.append((name, kind, equals + value))
    return found, closing + rest


def returns(call: Callable[[], Any]) -> bool:
    """Whether it returns, in a child process."""
    child = os.fork()
    if not child:
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


class Pool:
    """Objects of the bindings' classes, found by calling what returns them."""

    def __init__(self, classes: dict[str, Any]) -> None:
        self._classes = classes
        self._found: dict[str, Any] = {}
        while self._grown():
            pass

    def sample(self, kind: str) -> Any:
        """A value of a type.

        Raises:
            Unknown: there is none.
        """
        if kind in PLAIN:
            return PLAIN[kind]
        generic = re.fullmatch(r"(Sequence|list)\[(.*)\]", kind)
        if generic:
            return [self.sample(generic[2])]
        if "members" in self._classes.get(kind, ()):
            return next(iter(resolve(kind).__members__.values()))
        for name, each in self._found.items():
            if name == kind or kind in self._classes[name].get("bases", ()):
                return each
        raise Unknown(kind)

    def arguments(self, text: str) -> Arguments:
        """Values for every parameter of a signature."""
        return [self.sample(kind) for _, kind, _ in split(text)[0]]

    def _grown(self) -> bool:
        before = len(self._found)
        for name, each in self._classes.items():
            for maker, text, given in [*self._constructors(name, each), *self._methods(name, each)]:
                if given not in self._found and given in self._classes and "members" not in self._classes[given]:
                    self._make(given, maker, text)
        return len(self._found) > before

    def _constructors(self, name: str, each: dict[str, Any]) -> Iterator[tuple[Any, str, str]]:
        for text in each.get("constructors", ()):
            yield resolve(name), text, name

    def _methods(self, name: str, each: dict[str, Any]) -> Iterator[tuple[Any, str, str]]:
        if name in self._found:
            for member, texts in each.get("methods", {}).items():
                for text in texts:
                    yield getattr(self._found[name], member), text, text.rpartition(" -> ")[2]
            for member, accessors in each.get("properties", {}).items():
                yield lambda owner=self._found[name], member=member: getattr(owner, member), "()", accessors.get("get", "")

    def _make(self, kind: str, maker: Any, text: str) -> None:
        try:
            arguments = self.arguments(text)
        except Unknown:
            return

        def make() -> None:
            assert isinstance(maker(*arguments), resolve(kind))

        if returns(make):
            self._found[kind] = maker(*arguments)

    def get(self, kind: str) -> Any:
        """An object of a class, None if none was found."""
        return self._found.get(kind)


def number(takes: Mapping[Any, bool]) -> str:
    """Which integers are taken."""
    if takes[-1]:
        return f"int{next((bits for bits in (64, 32, 16) if takes[2 ** (bits - 1) - 1]), 8)}"
    return f"uint{next((bits for bits in (64, 32, 16) if takes[2**bits - 1]), 8)}"


def refined(kind: str, takes: Mapping[Any, bool]) -> str:
    """The type of a parameter, more exactly; `takes` says of each probe whether it is taken in its place."""
    if kind in INTEGERS:
        return kind.replace("SupportsInt", number(takes))
    return f"{kind} | None" if takes[None] else kind


def probes(kind: str) -> list[Any]:
    """Values to try in place of a type."""
    if kind in INTEGERS:
        return [-1, *(2**bits - 1 for bits in (64, 63, 32, 31, 16, 15))]
    return [] if kind in ("object", "CapsuleType", "bool") else [None]


@dataclass
class Probed:
    """A parameter, or a property that is assigned: its type, how it is tried, and where the better type is written."""

    kind: str
    attempt: Callable[[Any], Any]
    write: Callable[[str], None]
    first: Callable[[], Any] = lambda: None

    def calls(self) -> list[Callable[[], Any]]:
        """The call with values of the declared types, then with each probe."""
        return [self.first, *(partial(self.attempt, self.value(probe)) for probe in probes(self.kind))]

    def value(self, probe: Any) -> Any:
        """A probe as it is passed."""
        return [probe] if self.kind.startswith("Sequence") and probe is not None else probe


def of_signature(pool: Pool, function: Any, texts: list[str], place: int) -> Iterator[Probed]:
    """The parameters of one overload, none if it cannot be called. Where there are others, one of them may be what takes None."""
    try:
        arguments = pool.arguments(texts[place])
    except Unknown:
        return
    for index, (_, kind, _) in enumerate(split(texts[place])[0]):
        if len(texts) > 1 and kind not in INTEGERS:
            continue

        def attempt(value: Any, index: int = index) -> Any:
            return function(*arguments[:index], value, *arguments[index + 1 :])

        def write(found: str, index: int = index) -> None:
            parameters, rest = split(texts[place])
            name, _, default = parameters[index]
            parameters[index] = name, found, default
            texts[place] = f"({', '.join(f'{name}: {kind}{value}' for name, kind, value in parameters)}{rest}"

        yield Probed(kind, attempt, write, partial(function, *arguments))


def of_property(own: Any, member: str, accessors: dict[str, str]) -> Probed:
    """A property that is assigned."""
    return Probed(accessors["set"], lambda value: setattr(own, member, value), lambda found: accessors.update(set=found))


def every(api: dict[str, Any], pool: Pool) -> Iterator[Probed]:
    """All that can be called."""
    for name, each in api["classes"].items():
        own = pool.get(name)
        functions = [(resolve(name), each.get("constructors", []))]
        if own is not None:
            functions += [(getattr(own, member), texts) for member, texts in each.get("methods", {}).items() if member != "__del__"]
            for member, accessors in each.get("properties", {}).items():
                if "set" in accessors:
                    yield of_property(own, member, accessors)
        for function, texts in functions:
            for place in range(len(texts)):
                yield from of_signature(pool, function, texts, place)
    for name, texts in api["functions"].items():
        yield from of_signature(pool, getattr(tensorrt, name), texts, 0)


def refine(api: dict[str, Any]) -> dict[str, Any]:
    """The API with the types of parameters and of assigned properties that were found."""
    found = list(every(api, Pool(api["classes"])))
    answers = iter(taken([call for each in found for call in each.calls()]))
    for each in found:
        callable_at_all = next(answers)
        takes = {probe: next(answers) for probe in probes(each.kind)}
        if callable_at_all and takes:
            each.write(refined(each.kind, takes))
    return api


if __name__ == "__main__":
    found = refine(printed_api())
    for name, methods in callbacks(found["classes"]).items():
        found["classes"][name]["callbacks"] = methods
    print(json.dumps(found, indent=1, sort_keys=True))
