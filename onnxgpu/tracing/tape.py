"""The calls of NumPy that a traced function made, and how they are written out for a plan.

A call is recorded over names: those of its arrays, of constants, of the array it returns. Calls that return nothing, since they
write into memory that is there, are a plan's calls as they are (`onnxgpu.provider.Call`). If one of them returns something, all
of them are written as a Python function, and that is the one call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from onnxgpu.provider import Call, Spec

MOST_CALLS = 200


class Untraceable(Exception):
    """The function asks for a value, or for something that cannot be written down."""


@dataclass(frozen=True, slots=True)
class Name:
    """An array at run time: an input, an output, scratch memory, or what an earlier call returned."""

    text: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """`result = function(*arguments)`, where each `Name` in the arguments stands for its array.

    Attributes:
        function: what is called.
        arguments: by position; lists and tuples may hold names.
        keywords: by keyword.
        result: what is returned; None where it does not matter.
        written: the array that the call writes all of, or None.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    result: Name | None = None
    written: Name | None = None

    def names(self) -> list[Name]:
        """Every array it reads or writes."""
        return _names((*self.arguments, *self.keywords.values()))

    def renamed(self, old: Name, new: Name) -> Recorded:
        """The same call with another array."""
        arguments = tuple(_with(argument, {old: new}) for argument in self.arguments)
        keywords = {key: _with(value, {old: new}) for key, value in self.keywords.items()}
        return replace(self, arguments=arguments, keywords=keywords, written=new if self.written == old else self.written)


class Tape:
    """The calls so far, and the memory they need.

    Attributes:
        memory: arrays that exist beforehand: inputs, outputs and scratch.
        overlaps: an output's name → inputs whose memory it may take over.
    """

    def __init__(self) -> None:
        self.calls: list[Recorded] = []
        self.memory: dict[Name, Any] = {}
        self.overlaps: dict[Name, frozenset[Name]] = {}
        self._count = 0

    def name(self, stem: str) -> Name:
        """A name that is not taken."""
        self._count += 1
        return Name(f"{stem}{self._count}")

    def given(self, stem: str, value: Spec) -> Name:
        """The name of an input or output."""
        name = self.name(stem)
        self.memory[name] = value
        return name

    def scratch(self, spec: Spec) -> Name:
        """Memory for an intermediate result."""
        return self.given("s", spec)

    def record(self, call: Recorded) -> None:
        """Add a call.

        Raises:
            Untraceable: they are too many to be written down.
        """
        if len(self.calls) >= MOST_CALLS:
            raise Untraceable(f"more than {MOST_CALLS} calls")
        self.calls.append(call)

    def moved(self, source: Name, target: Name) -> bool:
        """Let the calls that write the scratch memory `source` write `target` in its place, if that changes nothing else."""
        mentioned = [position for position, call in enumerate(self.calls) if source in call.names() or source == call.written]
        if not mentioned or any(target in call.names() for call in self.calls):
            return False
        first = mentioned[0]
        if self.calls[first].written != source or any(call.result is not None and source in call.names() for call in self.calls):
            return False
        lost = self.overlaps.get(target, frozenset())
        later = self.calls[first + 1 if _allows_overlap(self.calls[first]) else first :]
        if any(not lost.isdisjoint(self._roots(call)) for call in later):
            return False
        self.calls[first:] = [call.renamed(source, target) for call in self.calls[first:]]
        del self.memory[source]
        return True

    def _roots(self, call: Recorded) -> set[Name]:
        """The arrays that a call reads, with those of which they may be views."""
        made_by = {other.result: other for other in self.calls if other.result is not None}
        found, waiting = set(), list(call.names())
        while waiting:
            name = waiting.pop()
            found.add(name)
            if name in made_by:
                waiting.extend(made_by[name].names())
        return found

    def written_out(self, returned: Sequence[Name] = ()) -> list[Call]:
        """The calls of a plan: one that returns these arrays, or, if nothing is returned, any number of them."""
        self._drop_unused(returned)
        if not returned and all(call.result is None and not call.keywords and _is_flat(call) for call in self.calls):
            return [(call.function, tuple(_with(argument, self.memory) for argument in call.arguments)) for call in self.calls]
        used = [name for name in self.memory if name in returned or any(name in call.names() for call in self.calls)]
        values: list[Any] = []
        lines = [self._line(call, values) for call in self.calls]
        lines += [f"return ({', '.join(name.text for name in returned)},)"] if returned else []
        function = _compiled(tuple(lines), tuple(name.text for name in used), len(values))(*values)
        return [(function, tuple(self.memory[name] for name in used))]

    def _drop_unused(self, returned: Sequence[Name]) -> None:
        """Leave out views and copies that nobody reads."""
        read = set(returned)
        kept = []
        for call in reversed(self.calls):
            if call.result is None or call.result in read:
                read.update(call.names())
                kept.append(call)
        self.calls = kept[::-1]

    def _line(self, call: Recorded, values: list[Any]) -> str:
        arguments = [_text(argument, values) for argument in call.arguments]
        arguments += [f"{key}={_text(value, values)}" for key, value in call.keywords.items()]
        target = "" if call.result is None else f"{call.result.text} = "
        return f"{target}{_text(call.function, values)}({', '.join(arguments)})"


def _allows_overlap(call: Recorded) -> bool:
    """True for ufuncs and their methods: NumPy makes sure that they may write where they read."""
    return isinstance(getattr(call.function, "__self__", call.function), np.ufunc)


def _is_flat(call: Recorded) -> bool:
    """True if names stand only where a plan's call may have them: as arguments themselves."""
    return not any(type(argument) in (list, tuple) and _names(argument) for argument in call.arguments)


def _names(values: Sequence[Any]) -> list[Name]:
    """The names among the values, and in lists and tuples."""
    found: list[Name] = []
    for value in values:
        if type(value) is Name:
            found.append(value)
        elif type(value) in (list, tuple):
            found += _names(value)
    return found


def _with(value: Any, new: Mapping[Name, Any]) -> Any:
    """`value`, lists and tuples included, with what stands for names in `new`."""
    if type(value) is Name:
        return new.get(value, value)
    return type(value)(_with(item, new) for item in value) if type(value) in (list, tuple) and _names(value) else value


def _text(value: Any, values: list[Any]) -> str:
    """The text of a name, or of a list of them; everything else goes to `values` and gets a name there."""
    if isinstance(value, Name):
        return value.text
    if type(value) in (list, tuple) and _names(value):
        inside = ", ".join(_text(item, values) for item in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside},)"
    values.append(value)
    return f"c{len(values) - 1}"


@lru_cache(256)
def _compiled(lines: Sequence[str], parameters: Sequence[str], constants: int) -> Callable[..., Callable[..., None]]:
    """A function of the constants that gives the function of the arrays."""
    head = [f"def make({', '.join(f'c{index}' for index in range(constants))}):", f"    def traced({', '.join(parameters)}):"]
    text = "\n".join([*head, *(f"        {line}" for line in lines), "    return traced", ""])
    namespace: dict[str, Any] = {}
    exec(compile(text, "<onnxgpu traced operator>", "exec"), namespace)
    make: Callable[..., Callable[..., None]] = namespace["make"]
    return make
