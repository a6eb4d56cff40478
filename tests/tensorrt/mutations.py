"""Calls that were taken, changed so that they must be refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from onnxgpu.providers.tensorrt import stand_in
from onnxgpu.providers.tensorrt.stand_in.surface.api import Api, Signature

Mutant = tuple[str, Callable[[], Any]]


class Nothing:
    """Of no type of the API."""


def mutants(call: stand_in.Call, api: Api) -> Iterator[Mutant]:
    """A description and the changed call, for every change; `call` was recorded within `keeping_arguments`."""
    place = f"{call.type}.{call.member}"
    misspelt = f"{call.member}_"
    keywords = call.keywords or {}
    if call.member == "__init__":
        own = next(each for each in type(call.receiver).__mro__ if each.__qualname__ == call.type)
        yield from changed_arguments(place, own, call, api.classes[call.type].constructors)
    elif call.text.startswith(" = "):
        yield f"{place} misspelt", partial(setattr, call.receiver, misspelt, call.arguments[0])
        yield f"{place} = something else", partial(setattr, call.receiver, call.member, Nothing())
    elif not call.text:
        yield f"{place} misspelt", partial(getattr, call.receiver, misspelt)
    elif call.receiver is not None:
        yield f"{place} misspelt", lambda: getattr(call.receiver, misspelt)(*call.arguments, **keywords)
        function = getattr(call.receiver, call.member)
        overloads = next(owner.methods[call.member] for owner in owners(call.type, api) if call.member in owner.methods)
        yield from changed_arguments(place, function, call, overloads)


def owners(name: str, api: Api) -> Iterator[Any]:
    """A class and its bases."""
    yield api.classes[name]
    for base in api.classes[name].bases:
        yield from owners(base, api)


def changed_arguments(place: str, function: Any, call: stand_in.Call, overloads: Sequence[Signature]) -> Iterator[Mutant]:
    """Arguments too many, too few, of another type, of another name, or in another order."""
    given, keywords = call.arguments, call.keywords or {}
    most = max(len(each.parameters) for each in overloads)
    least = min(sum(parameter.default is None for parameter in each.parameters) for each in overloads)
    yield f"{place} with too many arguments", partial(function, *given, *[Nothing()] * (most + 1 - len(given)), **keywords)
    yield f"{place} with an unknown keyword", partial(function, *given, **keywords, nothing=1)
    if given and len(given) + len(keywords) == least:
        yield f"{place} without its last argument", partial(function, *given[:-1], **keywords)
    for index in range(len(given)):
        yield f"{place} with another argument {index}", partial(function, *given[:index], Nothing(), *given[index + 1 :], **keywords)
    for index, (first, second) in enumerate(pairwise(given)):
        if isinstance(first, str) != isinstance(second, str):
            exchanged = (*given[:index], second, first, *given[index + 2 :])
            yield f"{place} with arguments {index} and {index + 1} exchanged", partial(function, *exchanged, **keywords)
    for name, value in keywords.items():
        others = {key: each for key, each in keywords.items() if key != name}
        yield f"{place} with another {name}", partial(function, *given, **others, **{name: Nothing()})
        yield f"{place} with {name} misspelt", partial(function, *given, **others, **{f"{name}_": value})


def taken(calls: Iterable[stand_in.Call], api: Api) -> list[str]:
    """The changed calls that were not refused, or that reached the behaviour; empty is how it should be."""
    found = []
    for call in calls:
        for description, mutant in mutants(call, api):
            before = len(stand_in.recorded())
            try:
                mutant()
            except (AttributeError, TypeError):
                if len(stand_in.recorded()) != before:
                    found.append(f"{description} was recorded")
            else:
                found.append(description)
    return found
