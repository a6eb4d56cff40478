"""Builds ONNX graphs node by node, knowing of each value its kind, its shape and how large it may be."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dimension = int | str
Shape = tuple[Dimension, ...]
LARGEST = 1e4
"""Values that may be larger are not built upon: float32 would round them."""

CODES = {"float": TensorProto.FLOAT, "int": TensorProto.INT64, "bool": TensorProto.BOOL, "string": TensorProto.STRING}


@dataclass(frozen=True)
class Tensor:
    """A value of the graph; a dimension that is a name is known only when the graph runs.

    `bound` is the largest magnitude; `exact` says that all elements are whole numbers.
    """

    name: str
    kind: str
    shape: Shape
    bound: float = 3.0
    exact: bool = True


def value_info(tensor: Tensor, *, anonymous: bool = False) -> onnx.ValueInfoProto:
    """The value's declaration; `anonymous` leaves out the names of dimensions."""
    shape = [None if anonymous and isinstance(d, str) else d for d in tensor.shape]
    return helper.make_tensor_value_info(tensor.name, CODES[tensor.kind], shape)


def broadcast(first: Shape, second: Shape) -> Shape | None:
    """The common shape, if it is certain that there is one."""
    rank = max(len(first), len(second))
    result: list[Dimension] = []
    for a, b in zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True):
        if a != b and 1 not in (a, b):
            return None
        result.append(b if a == 1 else a)
    return tuple(result)


Recipe = Callable[["Builder"], "Tensor | Sequence[Tensor] | None"]
"""Adds an operation and gives its outputs; None where the graph has nothing that fits."""


class Builder:
    """Nodes of one graph, and the values that they may read: the graph's own and, in a body, those around it."""

    def __init__(
        self, chance: random.Random, names: Iterator[str], recipes: Mapping[Recipe, int], values: Sequence[Tensor] = (), depth: int = 0
    ) -> None:
        self.chance, self.names, self.recipes, self.depth = chance, names, recipes, depth
        self.values = list(values)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.count_input: Tensor | None = None

    def grow(self, operations: int, count_input: Tensor | None) -> None:
        """Add this many random operations."""
        self.count_input = count_input
        done = tries = 0
        while done < operations and tries < 20 * operations:
            tries += 1
            made = self.chance.choices(list(self.recipes), list(self.recipes.values()))[0](self)
            if made is not None:
                self.values += [value for value in ([made] if isinstance(made, Tensor) else made) if value.bound <= LARGEST]
                done += 1

    def declared(self, kind: str, shape: Shape, bound: float = 3.0) -> Tensor:
        """A value with a new name."""
        return Tensor(next(self.names), kind, shape, bound)

    def symbol(self) -> str:
        """A dimension nobody knows."""
        return f"D{next(self.names)}"

    def some_shape(self) -> Shape:
        """Up to three small dimensions, or four for a convolution; the first may be the batch."""
        if self.chance.random() < 0.15:
            return ("N", self.chance.choice((2, 3)), 4, 4)
        rank = self.chance.choice((0, 1, 2, 2, 3, 3))
        shape: list[Dimension] = [self.chance.choice((1, 2, 3, 4)) for _ in range(rank)]
        if rank and self.chance.random() < 0.5:
            shape[0] = "N"
        return tuple(shape)

    def pick(self, test: Callable[[Tensor], bool] = lambda _: True) -> Tensor | None:
        """A value that `test` admits; later ones are likelier."""
        fitting = [value for value in self.values if test(value)]
        return fitting[max(self.chance.randrange(len(fitting)), self.chance.randrange(len(fitting)))] if fitting else None

    def emit(self, operator: str, inputs: Sequence[Tensor | None], like: Tensor, **attributes: Any) -> Tensor:
        """A node with one output that is like `like`."""
        output: Tensor = self.emit_many(operator, inputs, [like], **attributes)[0]
        return output

    def emit_many(self, operator: str, inputs: Sequence[Tensor | None], like: Sequence[Tensor | None], **attributes: Any) -> list[Any]:
        """A node; None among `like` is an output left out."""
        outputs = [None if one is None else replace(one, name=next(self.names)) for one in like]
        names = ["" if one is None else one.name for one in inputs]
        self.nodes.append(
            helper.make_node(
                operator, names, ["" if one is None else one.name for one in outputs], name=f"n_{next(self.names)}", **attributes
            )
        )
        return outputs

    def constant(self, values: Any, kind: str = "int") -> Tensor:
        """An initializer, or a Constant node."""
        array = np.asarray(values, {"float": np.float32, "int": np.int64, "bool": bool}[kind])
        tensor = self.declared(kind, array.shape, float(np.abs(array.astype(float)).max(initial=0)))
        if self.depth == 0 and self.chance.random() < 0.7:
            self.initializers.append(numpy_helper.from_array(array, tensor.name))
        else:
            self.nodes.append(helper.make_node("Constant", [], [tensor.name], value=numpy_helper.from_array(array, tensor.name)))
        return replace(tensor, exact=bool(np.all(array == np.round(array.astype(float)))))

    def weight(self, *shape: int) -> Tensor:
        """A constant of small whole numbers, in float."""
        return self.constant(np.array([self.chance.randint(-2, 2) for _ in range(int(np.prod(shape)))]).reshape(shape), "float")

    def truth(self) -> Tensor | None:
        """A scalar condition that depends on data."""
        x = self.pick(lambda v: v.exact and v.kind in ("float", "int"))
        if x is None:
            return None
        total = self.emit("ReduceSum", [x], Tensor("", x.kind, ()), keepdims=0)
        return self.emit("Greater", [total, self.constant(self.chance.randint(-3, 3), x.kind)], Tensor("", "bool", ()))

    def body(self, formal: Sequence[Tensor] = ()) -> Builder:
        """A builder for a body that may read everything here."""
        inner = Builder(self.chance, self.names, self.recipes, [*self.values, *formal], self.depth + 1)
        inner.grow(self.chance.randint(0, 3), self.count_input)
        return inner

    def graph(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> onnx.GraphProto:
        """This body, finished."""
        first, second = ([value_info(tensor, anonymous=True) for tensor in tensors] for tensors in (inputs, outputs))
        return helper.make_graph(self.nodes, f"body_{next(self.names)}", first, second)
