"""Try arguments of every kind on the bindings and on the stand-in, and print where they disagree; `tensorrt_api.py --check` runs this.

Nothing that the stand-in takes may be refused by the bindings. What they take and the stand-in refuses is a mistake too, but for what it
refuses on purpose: None, sets, and a member of an enum as anything else, a number for one. Plugins and the collections that belong to
them are left out: they fail with TypeErrors of their own after their arguments were taken, and the provider makes none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorrt_bindings
from tensorrt_introspection import api, resolve
from tensorrt_probing import REFUSED, Pool, Unknown, taken

from tests.tensorrt.echoes import Echoes

VALUES: dict[str, Callable[[Any], Any]] = {
    "None": lambda _: None,
    "True": lambda _: True,
    "1": lambda _: 1,
    "-1": lambda _: -1,
    "2**15": lambda _: 2**15,
    "2**31": lambda _: 2**31,
    "2**32": lambda _: 2**32,
    "2**63": lambda _: 2**63,
    "2**64": lambda _: 2**64,
    "1.0": lambda _: 1.0,
    "'text'": lambda _: "text",
    "b'bytes'": lambda _: b"bytes",
    "bytearray": lambda _: bytearray(b"bytes"),
    "memoryview": lambda _: memoryview(b"bytes"),
    "(1, 2)": lambda _: (1, 2),
    "[1, 2]": lambda _: [1, 2],
    "[]": lambda _: [],
    "[-1]": lambda _: [-1],
    "[2**40]": lambda _: [2**40],
    "[1.5]": lambda _: [1.5],
    "['text']": lambda _: ["text"],
    "[None]": lambda _: [None],
    "[1] * 9": lambda _: [1] * 9,
    "range": lambda _: range(2),
    "an iterator": lambda _: iter([1, 2]),
    "{1: 2}": lambda _: {1: 2},
    "{1, 2}": lambda _: {1, 2},
    "int array": lambda _: np.array([1, 2]),
    "float array": lambda _: np.ones(2, np.float32),
    "np.int64": lambda _: np.int64(1),
    "np.float32": lambda _: np.float32(1),
    "np.float64": lambda _: np.float64(1),
    "np.bool_": lambda _: np.bool_(True),
    "slice": lambda _: slice(1),
    "an object": lambda _: object(),
    "a function": lambda _: len,
    "DataType.FLOAT": lambda module: module.DataType.FLOAT,
    "BuilderFlag.TF32": lambda module: module.BuilderFlag.TF32,
    "Dims": lambda module: module.Dims([1, 2]),
    "Dims3": lambda module: module.Dims3(1, 2, 3),
    "Weights": lambda module: module.Weights(np.ones(2, np.float32)),
    "Logger": lambda module: module.Logger(),
    "[Dims]": lambda module: [module.Dims([1, 2])],
    "[DataType.FLOAT]": lambda module: [module.DataType.FLOAT],
}
REFUSED_ON_PURPOSE = {"None", "[None]", "{1, 2}"}
ENUM_MEMBERS = {"DataType.FLOAT", "BuilderFlag.TF32", "[DataType.FLOAT]"}
LEFT_OUT = re.compile(r"I?Plugin|NodeIndices|SubGraphCollection|INetworkDefinition\.add_dist_collective")


@dataclass
class Trial:
    """One argument of one call, on the bindings and on the stand-in."""

    place: str
    kind: str
    value: str
    real: Callable[[], Any]
    ours: Callable[[], Any]


def accepted(call: Callable[[], Any]) -> bool:
    """Whether the stand-in takes the arguments, whatever becomes of them."""
    try:
        call()
    except TypeError as error:
        return REFUSED.search(str(error)) is None
    except Exception:
        return True
    return True


def on_purpose(trial: Trial) -> bool:
    """Whether the stand-in is meant to refuse this, although the bindings take it."""
    return trial.value in REFUSED_ON_PURPOSE or (trial.value in ENUM_MEMBERS and re.search("DataType|BuilderFlag", trial.kind) is None)


def trials(echoes: Echoes, pool: Pool, printed: dict[str, Any]) -> Iterator[Trial]:
    """Every value in place of every argument, and of every property that is assigned."""
    for name, each in echoes.api.classes.items():
        if each.members or LEFT_OUT.match(name):
            continue
        found = printed["classes"][name]
        for text, signature in zip(found.get("constructors", []), each.constructors, strict=True):
            functions = resolve(name), echoes.surface.classes[name]
            yield from of_call(name, functions, (pool, echoes), text, [parameter.type for parameter in signature.parameters])
        real = pool.get(name)
        if real is None:
            continue
        ours = echoes.object(name)
        for member, signatures in each.methods.items():
            special = member.startswith("__") and member not in ("__getitem__", "__setitem__")
            if special or LEFT_OUT.match(f"{name}.{member}"):
                continue
            for text, signature in zip(found["methods"][member], signatures, strict=True):
                functions = getattr(real, member), getattr(ours, member)
                kinds = [parameter.type for parameter in signature.parameters]
                yield from of_call(f"{name}.{member}", functions, (pool, echoes), text, kinds)
        for member, declared in each.properties.items():
            if declared.set:
                for value, make in VALUES.items():
                    given = make(tensorrt_bindings), make(echoes.tensorrt)
                    calls = partial(setattr, real, member, given[0]), partial(setattr, ours, member, given[1])
                    yield Trial(f"{name}.{member} =", declared.set, value, *calls)


def of_call(place: str, functions: tuple[Any, Any], sources: tuple[Pool, Echoes], text: str, kinds: list[str]) -> Iterator[Trial]:
    """Every value in place of every argument of one overload; none if the bindings have no objects for the others."""
    pool, echoes = sources
    try:
        real = pool.arguments(text)
    except Unknown:
        return
    ours = [echoes.sample(kind) for kind in kinds]
    for index in range(len(kinds)):
        for value, make in VALUES.items():
            calls = []
            for function, arguments, module in zip(functions, (real, ours), (tensorrt_bindings, echoes.tensorrt), strict=True):
                calls.append(partial(function, *arguments[:index], make(module), *arguments[index + 1 :]))
            yield Trial(f"{place} argument {index} of {text}", kinds[index], value, *calls)


def disagreements(version: str) -> tuple[int, list[str]]:
    """How many arguments were tried, and a line for each on which there is no agreement."""
    printed = api()
    echoes, pool = Echoes(version), Pool(printed["classes"])
    every, found = list(trials(echoes, pool, printed)), []
    for trial, real in zip(every, taken([each.real for each in every]), strict=True):
        ours = accepted(trial.ours)
        if ours and not real:
            found.append(f"{trial.place}: {trial.value} is taken here, and refused by the bindings")
        elif real and not ours and not on_purpose(trial):
            found.append(f"{trial.place}: {trial.value} is refused here, and taken by the bindings")
    return len(every), found


if __name__ == "__main__":
    tried, lines = disagreements(sys.argv[1])
    print("\n".join(lines) or f"the stand-in agrees with the bindings on {tried} arguments")
    sys.exit(1 if lines or not tried else 0)
