"""The operations of random graphs that have bodies: If and Loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tests.graph_builder import Builder, Recipe, Tensor
from tests.graph_recipes import NUMBERS


def branched(b: Builder) -> Sequence[Tensor] | None:
    """If: branches that capture, and give outputs of one kind and rank."""
    if b.depth > 1:
        return None
    condition = b.truth()
    if condition is None:
        return None
    branches = [b.body(), b.body()]
    pairs = [pair for _ in range(b.chance.randint(1, 2)) if (pair := _alike(*branches)) is not None]
    if not pairs or (len(pairs) == 2 and (pairs[0][0] is pairs[1][0] or pairs[0][1] is pairs[1][1])):
        return None
    results = [[_own(branch, pair[i]) for pair in pairs] for i, branch in enumerate(branches)]
    like = [
        replace(
            x,
            shape=tuple(m if m == n else b.symbol() for m, n in zip(x.shape, y.shape, strict=True)),
            bound=max(x.bound, y.bound),
            exact=x.exact and y.exact,
        )
        for x, y in zip(*results, strict=True)
    ]
    graphs = [branch.graph([], outputs) for branch, outputs in zip(branches, results, strict=True)]
    return b.emit_many("If", [condition], like, then_branch=graphs[0], else_branch=graphs[1])


def _alike(first: Builder, second: Builder) -> tuple[Tensor, Tensor] | None:
    """A value of each branch, of one kind and rank."""
    x = first.pick()
    y = x and second.pick(lambda v: v.kind == x.kind and len(v.shape) == len(x.shape))
    return None if x is None or y is None else (x, y)


def _own(body: Builder, value: Tensor) -> Tensor:
    """An output of the body: a value that one of its nodes gives."""
    made = {name for node in body.nodes for name in node.output}
    return value if value.name in made else body.emit("Identity", [value], value)


def looped(b: Builder) -> Sequence[Tensor] | None:
    """Loop: one carried value of constant or growing shape, perhaps a scanned one (of unknown shape if nothing was scanned)."""
    initial = b.pick(lambda v: v.kind in NUMBERS and v.bound <= 50)
    if b.depth > 1 or initial is None:
        return None
    grows = len(initial.shape) > 0 and b.chance.random() < 0.4
    iteration, going = b.declared("int", (), 5), b.declared("bool", ())
    carried = replace(initial, name=next(b.names), exact=False, bound=50)
    if grows:
        carried = replace(carried, shape=(b.symbol(), *initial.shape[1:]))
    body = b.body([iteration, carried])
    known = {d for v in b.values for d in v.shape} | set(range(100))
    if grows:
        part = body.pick(
            lambda v: (
                v.kind == carried.kind
                and v.name != carried.name
                and len(v.shape) > 0
                and v.shape[1:] == initial.shape[1:]
                and v.bound <= 50
            )
        )
        following = body.emit("Concat", [carried, part or initial], carried, axis=0)
    else:
        following = body.pick(lambda v: v.kind == carried.kind and v.shape == carried.shape) or carried
        following = body.emit("Clip", [following, body.constant(-50, carried.kind), body.constant(50, carried.kind)], carried)
    scanned = body.pick(lambda v: v.kind in NUMBERS and set(v.shape) <= known)
    scans = [_own(body, scanned)] if scanned is not None and b.chance.random() < 0.6 else []
    next_going = body.emit("Identity", [going], going)
    if b.chance.random() < 0.3:
        next_going = body.emit("Less", [iteration, body.constant(1)], going)
    graph = body.graph([iteration, going, carried], [next_going, following, *scans])
    trips = b.count_input if b.count_input is not None and b.chance.random() < 0.5 else b.constant(b.chance.randint(0, 3))
    start = b.constant(np.array(True), "bool") if b.chance.random() < 0.8 else b.truth()
    like = [replace(initial, shape=(b.symbol(), *initial.shape[1:]) if grows else initial.shape, bound=50, exact=False)]
    like += [replace(s, shape=(b.symbol(), *(d if isinstance(d, int) else b.symbol() for d in s.shape)), exact=False) for s in scans]
    return b.emit_many("Loop", [trips, start, initial], like, body=graph)


BODY_RECIPES: dict[Recipe, int] = {branched: 4, looped: 4}
"""As `graph_recipes.RECIPES`."""
