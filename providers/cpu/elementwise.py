"""FusedElementwise (internal): a chain of elementwise operators in one pass over memory, and large single operators.

Intermediate results of a chain stay in cache, and large arrays are shared by the cores. Paired runs of Add, Sigmoid, Mul
as one chain against one after the other: the same up to some 200,000 elements, where everything is in cache anyway;
0.94 of the time at one million, 0.74 at four million.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Call, Operation, Spec, Value
from onnxgpu.providers.array_ops.specs import broadcast_shapes
from onnxgpu.providers.cpu.elementwise_operators import elementwise_operators
from onnxgpu.providers.cpu.expression import Expression
from onnxgpu.providers.cpu.registry import operator

__all__ = ["FloatExpression", "FusedElementwise", "elementwise_operators"]

FLOATS = frozenset({"float", "double"})
_SINGLE_ONLY = frozenset({"Erf", "Gelu"})


class FloatExpression:
    """Base of the kernels that evaluate one expression; inputs broadcast and have one dtype, float32 or float64."""

    variadic = True
    required_inputs = 0
    input_names: tuple[str, ...] = ()
    steps: Sequence[str] = ()

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._expression = Expression(self.steps or list(operation.attributes["expression"]))

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """The broadcast shape."""
        shape = broadcast_shapes(*(tuple(x.shape) for x in inputs))
        reusable = tuple(i for i, x in enumerate(inputs) if tuple(x.shape) == shape)
        return (Spec(shape, inputs[0].dtype, may_reuse=reusable),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """Blocks live in the threads' own scratch memory."""
        return 0

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return self._expression.calls(inputs, outputs[0])

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        self._expression.evaluate(inputs, outputs[0])
        return outputs


def _same_floats(operation: Operation) -> str | None:
    dtypes = {value.dtype for value in operation.inputs if value is not None and value.dtype is not None}
    if len(dtypes) > 1:
        return f"takes inputs of one element type, the node has {', '.join(sorted(map(str, dtypes)))}"
    unknown = {step.split()[0] for step in operation.attributes.get("expression", ())} - elementwise_operators()
    if unknown:
        return f"has no {', '.join(sorted(unknown))} among its steps"
    if np.dtype(np.float64) in dtypes and _SINGLE_ONLY & {step.split()[0] for step in operation.attributes.get("expression", ())}:
        return f"has {' and '.join(sorted(_SINGLE_ONLY))} in float32 alone"
    return None


@operator("FusedElementwise", domain="onnxgpu", types=FLOATS, when=_same_floats)
class FusedElementwise(FloatExpression):
    """Attribute `expression` (strings): see `onnxgpu.providers.cpu.expression`."""


class _Unary(FloatExpression):
    variadic = False
    required_inputs = 1
    input_names = ("x",)


class _Binary(FloatExpression):
    variadic = False
    required_inputs = 2
    input_names = ("a", "b")


def _register(name: str, since: int, base: type[FloatExpression], *steps: str) -> None:
    text = f"{name} over blocks and cores. Spec: https://onnx.ai/onnx/operators/onnx__{name}.html"
    kernel = type(name, (base,), {"steps": steps, "__doc__": text})
    operator(name, since=since, types=FLOATS, when=_same_floats)(kernel)


for _name in ("Add", "Sub", "Mul", "Div"):
    _register(_name, 7, _Binary, f"{_name} 0 1")
for _name in ("Relu", "Sigmoid", "Tanh", "Sqrt", "Exp"):
    _register(_name, 6, _Unary, f"{_name} 0")
_register("HardSwish", 14, _Unary, "HardSwish 0")


def _float_only(operation: Operation) -> str | None:
    form = operation.attributes.get("approximate", "none")
    return None if form in ("none", "tanh") else f"does not know approximate={form!r}"


@operator("Gelu", since=20, types=frozenset({"float"}), when=_float_only)
class Gelu(_Unary):
    """Gelu, exact or by tanh. Spec: https://onnx.ai/onnx/operators/onnx__Gelu.html"""

    def __init__(self, xp: Any, operation: Operation) -> None:
        name = "GeluTanh" if operation.attributes.get("approximate") == "tanh" else "Gelu"
        self._expression = Expression([f"{name} 0"])


@operator("Erf", since=9, types=frozenset({"float"}))
class Erf(_Unary):
    """The error function. Spec: https://onnx.ai/onnx/operators/onnx__Erf.html"""

    steps = ("Erf 0",)


@operator("Gelu", domain="com.microsoft", types=frozenset({"float"}))
class MicrosoftGelu(_Unary):
    """Exact Gelu. Spec: onnxruntime's ContribOperators.md, com.microsoft.Gelu."""

    steps = ("Gelu 0",)


@operator("QuickGelu", domain="com.microsoft", types=FLOATS)
class QuickGelu(_Unary):
    """x·sigmoid(alpha·x). Spec: onnxruntime's ContribOperators.md, com.microsoft.QuickGelu."""

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._expression = Expression([f"QuickGelu 0 ={float(operation.attributes.get('alpha', 1.702))!r}"])
