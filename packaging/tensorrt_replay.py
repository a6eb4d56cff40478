"""Make recorded calls on the bindings, and print those that they refuse; `tensorrt_calls.py` runs this and says what it is for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_bindings as tensorrt
from tensorrt_introspection import api, resolve
from tensorrt_probing import Pool, taken


def decoded(pool: Pool, written: dict[str, Any]) -> Any:
    """An argument for the bindings."""
    ((kind, value),) = written.items()
    makers: dict[str, Callable[[], Any]] = {
        "enum": lambda: resolve(value),
        "dims": lambda: tensorrt.Dims(value),
        "object": lambda: pool.sample(value),
        "derived": lambda: type("Derived", (resolve(value),), {})(),
        "bytes": lambda: b"bytes",
        "integer": lambda: getattr(np, value[0])(value[1]),
        "tuple": lambda: tuple(decoded(pool, each) for each in value),
        "list": lambda: [decoded(pool, each) for each in value],
        "plain": lambda: value,
    }
    return makers[kind]()


def made(pool: Pool, call: list[Any]) -> Callable[[], Any]:
    """A recorded call, to be made.

    Raises:
        AttributeError: the bindings have no such member.
    """
    owner, member, use, arguments, keywords = call
    given = [decoded(pool, each) for each in arguments]
    named = {name: decoded(pool, each) for name, each in keywords.items()}
    if not owner:
        return partial(getattr(tensorrt, member), *given, **named)
    if member == "__init__":
        return partial(resolve(owner), *given, **named)
    receiver = pool.sample(owner)
    found = getattr(type(receiver), member)
    if use == "call":
        return partial(found, receiver, *given, **named)
    if (found.fset if use == "set" else found.fget) is None:
        raise AttributeError(f"{owner}.{member} cannot be {'assigned' if use == 'set' else 'read'}")
    return partial(setattr, receiver, member, *given) if use == "set" else partial(getattr, receiver, member)


def refusals(calls: list[list[Any]]) -> Iterator[str]:
    """The calls that the bindings do not take."""
    pool, possible = Pool(api()["classes"]), []
    for call in calls:
        try:
            possible.append((call, made(pool, call)))
        except AttributeError as error:
            yield f"{call}: {error}"
    for (call, _), is_taken in zip(possible, taken([each for _, each in possible]), strict=True):
        if not is_taken:
            yield f"{call}: refused"


if __name__ == "__main__":
    recorded = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    lines = list(refusals(recorded))
    print("\n".join(lines) or f"the bindings take the provider's {len(recorded)} calls")
    sys.exit(1 if lines or not recorded else 0)
