"""Random ONNX graphs: small, valid, with views, broadcasting, shapes that depend on shapes and on values, and bodies.

`random_graph(seed)` gives the same model for the same seed. Values are whole numbers wherever an operator could jump
(a comparison, a cast), so that two correct runtimes agree about them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.graph_body_recipes import BODY_RECIPES
from tests.graph_builder import Builder, Tensor, value_info
from tests.graph_recipes import RECIPES

OPSET = 18
WORDS = np.array(["", "a", "bc", "ä"], object)
DTYPES = {"float": np.float32, "int": np.int64, "bool": bool}


@dataclass(frozen=True)
class RandomGraph:
    """A model and what its inputs look like."""

    model: onnx.ModelProto
    inputs: tuple[Tensor, ...]

    def feeds(self, generator: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
        """New inputs; every symbolic dimension is `batch`. Some arrays are not in C order."""
        return {tensor.name: _array(tensor, generator, batch) for tensor in self.inputs}


def _array(tensor: Tensor, generator: np.random.Generator, batch: int) -> np.ndarray:
    shape = [batch if isinstance(size, str) else size for size in tensor.shape]
    backwards = generator.random() < 0.25
    low, high = (-3, 4) if tensor.bound >= 3 else (0, int(tensor.bound) + 1)
    values: Any = np.asarray(generator.integers(low, high, shape[::-1] if backwards else shape))
    array = np.array(WORDS[np.abs(values)], object) if tensor.kind == "string" else values.astype(DTYPES[tensor.kind])
    return array.T if backwards else array


def random_graph(seed: int) -> RandomGraph:
    """A graph of 3 to 25 operations; some of these are a few nodes long."""
    chance = random.Random(seed)
    builder = Builder(chance, (f"v{i}" for i in count()), RECIPES | BODY_RECIPES)
    inputs = [builder.declared("float", builder.some_shape()) for _ in range(chance.randint(1, 3))]
    inputs += [builder.declared("int", builder.some_shape())] if chance.random() < 0.5 else []
    inputs += [builder.declared("string", builder.some_shape())] if chance.random() < 0.15 else []
    count_input = builder.declared("int", (), bound=2)
    builder.values += inputs
    builder.grow(chance.randint(3, 25), count_input)
    made = [value for value in builder.values if value not in inputs]
    outputs = chance.sample(made, min(len(made), chance.randint(1, 4))) or [builder.emit("Relu", [inputs[0]], inputs[0])]
    if chance.random() < 0.3:
        outputs.append(builder.emit("Identity", [outputs[0]], outputs[0]))
    if chance.random() < 0.15:
        outputs.append(builder.emit("Identity", [inputs[0]], inputs[0]))
    if chance.random() < 0.1:
        outputs.append(inputs[-1])
    graph = helper.make_graph(
        builder.nodes,
        f"random{seed}",
        [value_info(tensor) for tensor in (*inputs, count_input)],
        [value_info(tensor) for tensor in outputs],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    return RandomGraph(model, (*inputs, count_input))
