"""Calls that were taken, changed so that they must be refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from onnxgpu.providers.tensorrt import stand_in


class Nothing:
    """Of no type of the API."""


def mutants(call: stand_in.Call) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A description and the changed call, for every change; `call` was recorded within `keeping_arguments`."""
    place = f"{call.type}.{call.member}"
    misspelt = call.member + "_"
    if call.member == "__init__":
        yield from changed_arguments(place, type(call.receiver), call)
    elif call.text.startswith(" = "):
        yield f"{place} misspelt", lambda: setattr(call.receiver, misspelt, call.arguments[0])
        yield f"{place} = something else", lambda: setattr(call.receiver, call.member, Nothing())
    elif not call.text:
        yield f"{place} misspelt", lambda: getattr(call.receiver, misspelt)
    elif call.receiver is not None:
        yield f"{place} misspelt", lambda: getattr(call.receiver, misspelt)(*call.arguments, **(call.keywords or {}))
        yield from changed_arguments(place, getattr(call.receiver, call.member), call)


def changed_arguments(place: str, function: Any, call: stand_in.Call) -> Iterator[tuple[str, Callable[[], Any]]]:
    """More arguments than any overload has, one of another type or of another name."""
    keywords = call.keywords or {}
    yield f"{place} with three arguments more", lambda: function(*call.arguments, *[Nothing()] * 3, **keywords)
    yield f"{place} with an unknown keyword", lambda: function(*call.arguments, **keywords, nothing=1)
    for index in range(len(call.arguments)):
        changed = (*call.arguments[:index], Nothing(), *call.arguments[index + 1 :])
        yield f"{place} with another argument {index}", partial(function, *changed, **keywords)
    for name in keywords:
        others = {key: value for key, value in keywords.items() if key != name}
        yield f"{place} with another {name}", partial(function, *call.arguments, **others, **{name: Nothing()})
        yield (
            f"{place} with {name} misspelt",
            partial(function, *call.arguments, **others, **{f"{name}_": keywords[name]}),
        )


def taken(calls: tuple[stand_in.Call, ...]) -> list[str]:
    """The changed calls that were not refused, or that reached the behaviour; empty is how it should be."""
    found = []
    for call in calls:
        for description, mutant in mutants(call):
            before = len(stand_in.recorded())
            try:
                mutant()
            except (AttributeError, TypeError):
                if len(stand_in.recorded()) != before:
                    found.append(f"{description} was recorded")
            else:
                found.append(description)
    return found
