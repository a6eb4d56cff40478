"""Examples, and the register of what generates them: one function an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import helper

from onnxgpu.dtypes import code_of, is_extended
from tests.schemas.draw import Draw

NEWEST_MAIN_OPSET = 21
"""Opset of ai.onnx beside a node of another domain."""


@dataclass(frozen=True)
class Typed:
    """A value whose type is not that of an array: a sequence, an optional or a map."""

    value: Any
    type: onnx.TypeProto


@dataclass(frozen=True)
class Example:
    """One node and its inputs.

    Attributes:
        inputs: arrays, `Typed` values, None for an absent optional input.
        attributes: as `onnx.helper.make_node` takes them.
        outputs: how many outputs are asked for; or which, by True and False.
        constant: positions of inputs that are initializers.
        symbolic: the inputs' sizes are not declared.
        fixed: they have to be.
        invalid: why the specification forbids this node; it has to be refused.
        values: whether the elements are determined, and not only type and shape.
        rtol, atol: wider than the table's, for a reason that the generator gives.
    """

    inputs: Sequence[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int | Sequence[bool] = 1
    constant: frozenset[int] = frozenset()
    symbolic: bool = False
    fixed: bool = False
    invalid: str = ""
    values: bool = True
    rtol: float | None = None
    atol: float | None = None

    @property
    def output_names(self) -> list[str]:
        """Names of the node's outputs, empty for those left out."""
        asked = [True] * self.outputs if isinstance(self.outputs, int) else self.outputs
        return [f"y{i}" if wanted else "" for i, wanted in enumerate(asked)]

    def with_constants(self) -> Example:
        """Every array but the first as an initializer."""
        return replace(self, constant=frozenset(i for i, x in enumerate(self.inputs) if i and isinstance(x, np.ndarray)))


Generator = Callable[[Draw], Example]
G = TypeVar("G", bound=Generator)
GENERATORS: dict[tuple[str, str], Generator] = {}


def generates(*operators: str, domain: str = "") -> Callable[[G], G]:
    """Register the decorated function as the generator of these operators.

    Raises:
        ValueError: an operator has a generator already.
    """

    def register(generator: G) -> G:
        for operator in operators:
            if (domain, operator) in GENERATORS:
                raise ValueError(f"two generators for {domain}.{operator}")
            GENERATORS[domain, operator] = generator
        return generator

    return register


def model_of(schema: onnx.defs.OpSchema, example: Example, fed_types: Callable[[np.dtype], bool] = lambda dtype: True) -> onnx.ModelProto:
    """The example as a model: inputs x0, x1, …, outputs y0, y1, …

    Args:
        schema: of the node; the model's opset is the one in which it came.
        example: the node.
        fed_types: element types that can be fed; inputs of others become initializers.
    """
    names = ["" if x is None else f"x{i}" for i, x in enumerate(example.inputs)]
    node = helper.make_node(schema.name, names, example.output_names, name="node", domain=schema.domain, **example.attributes)
    inputs, initializers = [], []
    for i, (name, x) in enumerate(zip(names, example.inputs, strict=True)):
        if x is None:
            continue
        if isinstance(x, Typed):
            inputs.append(helper.make_value_info(name, x.type))
        elif i in example.constant or not fed_types(x.dtype):
            initializers.append(initializer(name, x))
        else:
            shape = [f"{name}_{axis}" for axis in range(x.ndim)] if example.symbolic and not example.fixed else x.shape
            inputs.append(helper.make_tensor_value_info(name, code_of(x.dtype), shape))
    outputs = [onnx.ValueInfoProto(name=name) for name in example.output_names if name]
    imports = [helper.make_opsetid(schema.domain, schema.since_version)]
    if schema.domain:
        imports.append(helper.make_opsetid("", NEWEST_MAIN_OPSET))
    return helper.make_model(helper.make_graph([node], "graph", inputs, outputs, initializers), opset_imports=imports, ir_version=13)


def initializer(name: str, array: np.ndarray) -> onnx.TensorProto:
    """The array as a named tensor, of any element type."""
    if array.dtype.kind == "O":
        return helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, [text.encode() for text in array.reshape(-1)])
    if is_extended(array.dtype):
        return onnx.numpy_helper.from_array(array, name)
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def feeds_of(example: Example) -> dict[str, Any]:
    """What to feed to `model_of(example)`."""
    given = {f"x{i}": x for i, x in enumerate(example.inputs) if x is not None and i not in example.constant}
    return {name: x.value if isinstance(x, Typed) else x for name, x in given.items()}
