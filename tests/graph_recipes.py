"""The operations that random graphs are made of: a function each, that adds one or a few nodes to a builder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from tests.graph_builder import Builder, Dimension, Recipe, Shape, Tensor, broadcast

NUMBERS = ("float", "int")
RECIPES: dict[Recipe, int] = {}
"""Recipe → how often it is taken, compared with the others."""


def recipe(weight: int) -> Callable[[Recipe], Recipe]:
    """Register the decorated function."""

    def register(function: Recipe) -> Recipe:
        RECIPES[function] = weight
        return function

    return register


def is_float(value: Tensor) -> bool:
    return value.kind == "float"


def is_number(value: Tensor) -> bool:
    return value.kind in NUMBERS


def fixed_axes(shape: Shape) -> list[int]:
    """Axes whose size is known and not 0."""
    return [axis for axis, size in enumerate(shape) if isinstance(size, int) and size > 0]


@recipe(6)
def smooth(b: Builder) -> Tensor | None:
    x = b.pick(is_float)
    if x is None:
        return None
    operator = b.chance.choice(("Sigmoid", "Tanh", "Erf", "Softplus", "HardSwish", "LeakyRelu"))
    return b.emit(operator, [x], replace(x, bound=x.bound + 1, exact=False))


@recipe(6)
def whole(b: Builder) -> Tensor | None:
    x = b.pick(is_number)
    if x is None:
        return None
    return b.emit(
        b.chance.choice(("Relu", "Neg", "Abs", "Identity", "Neg", "Abs") if x.kind == "float" else ("Neg", "Abs", "Identity")), [x], x
    )


@recipe(14)
def binary(b: Builder) -> Tensor | None:
    x = b.pick(is_number)
    if x is None:
        return None
    y = b.pick(lambda v: v.kind == x.kind and broadcast(v.shape, x.shape) is not None)
    if b.chance.random() < 0.2 or y is None:
        y = b.constant(b.chance.randint(-2, 2), x.kind)
    shape = broadcast(x.shape, y.shape)
    operator = b.chance.choice(("Add", "Sub", "Mul", "Max", "Min", "Add", "Mul"))
    bound = {"Mul": x.bound * y.bound, "Max": max(x.bound, y.bound), "Min": max(x.bound, y.bound)}.get(operator, x.bound + y.bound)
    if shape is None or bound > 5000:
        return None
    pair = [x, y] if b.chance.random() < 0.5 else [y, x]
    return b.emit(operator, pair, Tensor("", x.kind, shape, bound, x.exact and y.exact))


@recipe(2)
def divided(b: Builder) -> Tensor | None:
    x = b.pick(is_float)
    return x and b.emit("Div", [x, b.constant(b.chance.choice((2.0, 0.5, 3.0)), "float")], replace(x, bound=x.bound * 2, exact=False))


@recipe(3)
def compared(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: is_number(v) and v.exact)
    y = x and b.pick(lambda v: v.kind == x.kind and v.exact and broadcast(v.shape, x.shape) is not None)
    if x is None or y is None:
        return None
    shape = broadcast(x.shape, y.shape)
    return None if shape is None else b.emit(b.chance.choice(("Greater", "Less", "Equal")), [x, y], Tensor("", "bool", shape, 1))


@recipe(3)
def chosen(b: Builder) -> Tensor | None:
    condition = b.pick(lambda v: v.kind == "bool")
    x = condition and b.pick(lambda v: broadcast(v.shape, condition.shape) is not None and v.kind != "bool")
    if condition is None or x is None:
        return None
    first = broadcast(condition.shape, x.shape) or ()
    y = b.pick(lambda v: v.kind == x.kind and broadcast(v.shape, first) is not None)
    shape = None if y is None else broadcast(first, y.shape)
    if y is None or shape is None:
        return None
    return b.emit("Where", [condition, x, y], Tensor("", x.kind, shape, max(x.bound, y.bound), x.exact and y.exact))


@recipe(3)
def cast(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: v.exact and v.kind != "string")
    kind = b.chance.choice(NUMBERS)
    return x and b.emit("Cast", [x], replace(x, kind=kind), to=1 if kind == "float" else 7)


@recipe(8)
def transposed(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: len(v.shape) > 1)
    if x is None:
        return None
    order = b.chance.sample(range(len(x.shape)), len(x.shape))
    return b.emit("Transpose", [x], replace(x, shape=tuple(x.shape[i] for i in order)), perm=order)


@recipe(8)
def reshaped(b: Builder) -> Tensor | None:
    """Two neighbouring dimensions joined, the first one kept by 0, by -1, or by arithmetic on the shape."""
    x = b.pick(lambda v: len(v.shape) > 1 and all(isinstance(d, int) for d in v.shape[1:]))
    if x is None:
        return None
    rest = [int(d) for d in x.shape[1:]]
    target = b.chance.choice(([prod(rest)], [*rest, 1], rest[::-1], [1, *rest]))
    if isinstance(x.shape[0], int):
        first = b.constant([-1 if prod(rest) and b.chance.random() < 0.5 else x.shape[0]])
    elif b.chance.random() < 0.5:
        first = b.constant([0])
    else:
        size = b.emit("Shape", [x], Tensor("", "int", (len(x.shape),)))
        first = b.emit("Gather", [size, b.constant([0])], Tensor("", "int", (1,)), axis=0)
    shape = b.emit("Concat", [first, b.constant(target)], Tensor("", "int", (1 + len(target),)), axis=0)
    return b.emit("Reshape", [x, shape], replace(x, shape=(x.shape[0], *target)), allowzero=int(0 in rest and isinstance(x.shape[0], int)))


@recipe(3)
def flat(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: v.kind != "string")
    if x is None:
        return None
    size: Dimension = prod(int(d) for d in x.shape) if all(isinstance(d, int) for d in x.shape) else b.symbol()
    return b.emit("Reshape", [x, b.constant([-1])], replace(x, shape=(size,)))


@recipe(4)
def squeezed(b: Builder) -> Tensor | None:
    x = b.pick()
    if x is None:
        return None
    ones = [axis for axis, size in enumerate(x.shape) if size == 1]
    if ones and b.chance.random() < 0.6:
        axis = b.chance.choice(ones)
        return b.emit("Squeeze", [x, b.constant([axis])], replace(x, shape=x.shape[:axis] + x.shape[axis + 1 :]))
    axis = b.chance.randint(0, len(x.shape))
    return (
        b.emit("Unsqueeze", [x, b.constant([axis])], replace(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))) if len(x.shape) < 4 else None
    )


@recipe(6)
def sliced(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: len(v.shape) > 0)
    if x is None:
        return None
    axis = b.chance.randrange(len(x.shape))
    start, end, step = b.chance.choice(((0, 2, 1), (1, 99, 1), (0, -1, 1), (-1, -99, -1), (0, 99, 2), (-2, 99, 1)))
    size = x.shape[axis]
    length: Dimension = len(range(*slice(start, None if end == -99 else end, step).indices(size))) if isinstance(size, int) else b.symbol()
    shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
    return b.emit("Slice", [x, *(b.constant([n]) for n in (start, end, axis, step))], replace(x, shape=shape))


@recipe(4)
def split(b: Builder) -> Sequence[Tensor] | None:
    x = b.pick(lambda v: bool(fixed_axes(v.shape)))
    if x is None:
        return None
    axis = b.chance.choice(fixed_axes(x.shape))
    size = int(x.shape[axis])
    first = b.chance.randint(0, size)
    parts = [replace(x, shape=(*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in (first, size - first)]
    found = b.emit_many("Split", [x, b.constant([first, size - first])], parts, axis=axis)
    return [part for part in found if part is not None]


@recipe(6)
def expanded(b: Builder) -> Tensor | None:
    """To a fixed shape, or to that of another value."""
    x = b.pick(lambda v: len(v.shape) < 4)
    if x is None:
        return None
    other = b.pick(lambda v: broadcast(v.shape, x.shape) is not None)
    if other is not None and b.chance.random() < 0.6:
        target = b.emit("Shape", [other], Tensor("", "int", (len(other.shape),)))
        return b.emit("Expand", [x, target], replace(x, shape=broadcast(other.shape, x.shape) or ()))
    sizes = tuple(
        size if isinstance(size, int) and size != 1 else 1 if isinstance(size, str) else b.chance.randint(1, 3) for size in x.shape
    )
    shape = broadcast((2, *sizes) if len(sizes) < 3 else sizes, x.shape)
    return None if shape is None else b.emit("Expand", [x, b.constant((2, *sizes) if len(sizes) < 3 else sizes)], replace(x, shape=shape))


@recipe(6)
def joined(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: len(v.shape) > 0)
    if x is None:
        return None
    axis = b.chance.randrange(len(x.shape))
    fits = [
        v
        for v in b.values
        if v.kind == x.kind and len(v.shape) == len(x.shape) and all(i == axis or v.shape[i] == x.shape[i] for i in range(len(x.shape)))
    ]
    parts = b.chance.choices(fits, k=b.chance.randint(1, 3))
    sizes = [part.shape[axis] for part in parts]
    total: Dimension = sum(int(s) for s in sizes) if all(isinstance(s, int) for s in sizes) else sizes[0] if len(sizes) == 1 else b.symbol()
    like = replace(
        x, shape=(*x.shape[:axis], total, *x.shape[axis + 1 :]), bound=max(p.bound for p in parts), exact=all(p.exact for p in parts)
    )
    return b.emit("Concat", parts, like, axis=axis)


@recipe(3)
def gathered(b: Builder) -> Tensor | None:
    """Not of strings: onnxruntime (1.32) copies only the first string of each slice."""
    x = b.pick(lambda v: v.kind != "string" and bool(fixed_axes(v.shape)))
    if x is None:
        return None
    axis = b.chance.choice(fixed_axes(x.shape))
    indices = [b.chance.randint(-int(x.shape[axis]), int(x.shape[axis]) - 1) for _ in range(b.chance.randint(0, 3))]
    if not indices:
        return b.emit("Gather", [x, b.constant(0)], replace(x, shape=x.shape[:axis] + x.shape[axis + 1 :]), axis=axis)
    return b.emit("Gather", [x, b.constant(indices)], replace(x, shape=(*x.shape[:axis], len(indices), *x.shape[axis + 1 :])), axis=axis)


@recipe(5)
def product(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: is_float(v) and len(v.shape) > 1 and isinstance(v.shape[-1], int) and v.shape[-1] > 0)
    if x is None:
        return None
    inner = int(x.shape[-1])
    y = b.pick(lambda v: is_float(v) and len(v.shape) in (2, len(x.shape)) and v.shape[-2] == inner and v.shape[:-2] in ((), x.shape[:-2]))
    if y is None or b.chance.random() < 0.5:
        y = b.weight(inner, b.chance.randint(1, 4))
    bound = x.bound * y.bound * inner
    if bound > 5000:
        return None
    result = b.emit("MatMul", [x, y], Tensor("", "float", (*x.shape[:-1], y.shape[-1]), bound, x.exact and y.exact))
    if isinstance(y.shape[-1], int) and b.chance.random() < 0.4:
        result = b.emit("Add", [result, b.weight(y.shape[-1])], replace(result, bound=bound + 2))
    return result


@recipe(2)
def convolution(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: is_float(v) and len(v.shape) == 4 and all(isinstance(d, int) and d > 0 for d in v.shape[1:]))
    if x is None or x.bound * 2 * int(x.shape[1]) * 9 > 5000:
        return None
    w = b.weight(b.chance.randint(1, 3), int(x.shape[1]), 3, 3)
    like = replace(x, shape=(x.shape[0], w.shape[0], *x.shape[2:]), bound=x.bound * 18 * int(x.shape[1]))
    return b.emit("Conv", [x, w], like, pads=[1, 1, 1, 1], kernel_shape=[3, 3])


@recipe(5)
def reduced(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: is_number(v) and bool(fixed_axes(v.shape)))
    if x is None:
        return None
    axis, keep = b.chance.choice(fixed_axes(x.shape)), b.chance.randint(0, 1)
    if 0 in x.shape:
        return None
    operator = b.chance.choice(("ReduceSum", "ReduceMax", "ReduceMean") if is_float(x) else ("ReduceSum", "ReduceMax"))
    bound = x.bound * int(x.shape[axis])
    if bound > 5000:
        return None
    shape = (*x.shape[:axis], *((1,) if keep else ()), *x.shape[axis + 1 :])
    return b.emit(
        operator, [x, b.constant([axis])], replace(x, shape=shape, bound=bound, exact=x.exact and operator != "ReduceMean"), keepdims=keep
    )


@recipe(2)
def normalized(b: Builder) -> Sequence[Tensor] | None:
    """Softmax, or layer normalisation with its statistics left out or not."""
    x = b.pick(lambda v: is_float(v) and len(v.shape) > 0 and isinstance(v.shape[-1], int) and v.shape[-1] > 1 and v.bound < 100)
    if x is None:
        return None
    like = replace(x, bound=10, exact=False)
    if b.chance.random() < 0.5:
        return [b.emit("Softmax", [x], like, axis=-1)]
    statistics = replace(like, shape=(*x.shape[:-1], 1))
    wanted = [like, *b.chance.choice(([], [statistics], [None, None], [None, statistics], [statistics, statistics]))]
    return [v for v in b.emit_many("LayerNormalization", [x, b.weight(int(x.shape[-1]))], wanted, epsilon=0.5) if v is not None]


@recipe(2)
def largest(b: Builder) -> Tensor | None:
    """TopK whose indices nobody reads."""
    x = b.pick(lambda v: is_number(v) and v.exact and len(v.shape) > 0 and isinstance(v.shape[-1], int) and v.shape[-1] > 1)
    if x is None:
        return None
    values = replace(x, shape=(*x.shape[:-1], 2))
    found: Tensor = b.emit_many("TopK", [x, b.constant([2])], [values, replace(values, kind="int")], axis=-1)[0]
    return found


@recipe(4)
def shape_value(b: Builder) -> Tensor | None:
    x = b.pick()
    return x and b.emit("Shape", [x], Tensor("", "int", (len(x.shape),), 100))


@recipe(4)
def not_zero(b: Builder) -> Tensor | None:
    """How many columns there are, only the values say."""
    x = b.pick(lambda v: v.exact and len(v.shape) > 0 and v.kind != "string")
    return x and b.emit("NonZero", [x], Tensor("", "int", (len(x.shape), b.symbol()), 100))


@recipe(2)
def filled(b: Builder) -> Tensor | None:
    x = b.pick()
    if x is None:
        return None
    shape = b.emit("Shape", [x], Tensor("", "int", (len(x.shape),)))
    return b.emit("ConstantOfShape", [shape], Tensor("", "float", x.shape, 0))


@recipe(2)
def dropped(b: Builder) -> Sequence[Tensor] | None:
    """Dropout outside training: a view, and perhaps a mask."""
    x = b.pick(is_float)
    if x is None:
        return None
    mask = b.chance.choice(([], [None], [Tensor("", "bool", x.shape, 1)]))
    return [v for v in b.emit_many("Dropout", [x], [x, *mask]) if v is not None]


@recipe(2)
def through_a_sequence(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: len(v.shape) > 0 and v.kind in NUMBERS)
    y = x and b.pick(lambda v: v.kind == x.kind and v.shape == x.shape)
    if x is None or y is None:
        return None
    sequence = b.emit("SequenceConstruct", [x, y], x)
    if b.chance.random() < 0.5:
        sequence = b.emit("SequenceInsert", [sequence, x, b.constant(0)], x)
    like = replace(x, bound=max(x.bound, y.bound), exact=x.exact and y.exact)
    if b.chance.random() < 0.6:
        return b.emit("SequenceAt", [sequence, b.constant(b.chance.choice((0, 1, -1)))], like)
    return b.emit("ConcatFromSequence", [sequence], replace(like, shape=(b.symbol(), *x.shape[1:])), axis=0)


@recipe(1)
def split_to_sequence(b: Builder) -> Tensor | None:
    x = b.pick(lambda v: len(v.shape) > 0 and isinstance(v.shape[0], int) and v.shape[0] > 1 and v.kind in NUMBERS)
    if x is None:
        return None
    sequence = b.emit("SplitToSequence", [x], x, axis=0, keepdims=1)
    return b.emit("SequenceAt", [sequence, b.constant(1)], replace(x, shape=(1, *x.shape[1:])))
