"""Elementwise operators on floats, alone and as fused chains, and shifts of integers, by generated kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.specs import broadcast_shapes
from onnxgpu.providers.cuda.generated import FORMS, MOST_AXES, MOST_OPERANDS, evaluate
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, INTEGER_NAMES
from onnxgpu.providers.cuda.registry import operator

Steps = Callable[[Operation], Sequence[str]]


class ElementwiseKernel:
    """Evaluates one expression; inputs broadcast and have one element type."""

    variadic = True
    required_inputs = 1
    input_names: tuple[str, ...] = ()
    steps: Steps

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._expression = tuple(type(self).steps(operation))

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """The broadcast shape."""
        shape = broadcast_shapes(*(tuple(x.shape) for x in inputs))
        reusable = tuple(i for i, x in enumerate(inputs) if tuple(x.shape) == shape)
        return (Spec(shape, inputs[0].dtype, may_reuse=reusable),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        evaluate(self._expression, inputs, outputs[0])
        return outputs


def _refusal(operation: Operation) -> str | None:
    values = [value for value in operation.inputs if value is not None]
    if len(values) != len(operation.inputs):
        return "leaves out an operand"
    if len(values) > MOST_OPERANDS:
        return f"takes at most {MOST_OPERANDS} operands"
    if len({value.dtype for value in values}) > 1:
        return "takes operands of one element type"
    if any(value.shape is None or len(value.shape) > MOST_AXES for value in values):
        return f"needs to know that its operands have at most {MOST_AXES} dimensions"
    if "axis" in operation.attributes or "broadcast" in operation.attributes:
        return "broadcasts as of opset 7"
    return None


def _fused_refusal(operation: Operation) -> str | None:
    unknown = {step.split()[0] for step in operation.attributes.get("expression", ())} - FORMS.keys()
    return f"has no {', '.join(sorted(unknown))} among its steps" if unknown else _refusal(operation)


def shift_refusal(operation: Operation) -> str | None:
    """Why the kernel does not take a BitShift; CuPy, which shifts by negative and large counts as C does, is no way out."""
    direction = operation.attributes.get("direction")
    return _refusal(operation) if direction in ("LEFT", "RIGHT") else f"shifts LEFT or RIGHT, not {direction!r}"


def _register(
    name: str,
    since: int,
    steps: Steps,
    *,
    domain: str = "",
    inputs: Sequence[str] = ("x",),
    types: frozenset[str] = FLOAT_NAMES,
    when: Any = _refusal,
) -> None:
    text = f"{name} by a generated kernel. Spec: https://onnx.ai/onnx/operators/onnx__{name}.html"
    names = tuple(inputs)
    body = {"steps": staticmethod(steps), "__doc__": text, "input_names": names, "required_inputs": len(names), "variadic": not names}
    operator(name, domain=domain, since=since, types=types, when=when)(type(name, (ElementwiseKernel,), body))


def _fixed(*steps: str) -> Steps:
    return lambda operation: steps


def _with(name: str, **defaults: float) -> Steps:
    """A step whose further operands are attributes."""
    return lambda operation: (" ".join((f"{name} 0", *(f"={float(operation.attributes.get(a, d))!r}" for a, d in defaults.items()))),)


def _chain(name: str) -> Steps:
    """A variadic operator as a chain of binary ones."""

    def steps(operation: Operation) -> Sequence[str]:
        count = len(operation.inputs)
        first = [f"{name} 0 1"] if count > 1 else ["Mul 0 =1.0"]
        return [*first, *(f"{name} %{n - 2} {n}" for n in range(2, count))]

    return steps


def _gelu(operation: Operation) -> Sequence[str]:
    return ("GeluTanh 0" if operation.attributes.get("approximate") == "tanh" else "Gelu 0",)


_register(
    "FusedElementwise", 1, lambda operation: tuple(operation.attributes["expression"]), domain="onnxgpu", inputs=(), when=_fused_refusal
)

for _name in ("Add", "Sub", "Mul", "Div"):
    _register(_name, 7, _fixed(f"{_name} 0 1"), inputs=("a", "b"))
_register("Mod", 10, lambda operation: ("Fmod 0 1" if operation.attributes.get("fmod") else "Mod 0 1",), inputs=("a", "b"))
for _name in (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "HardSwish", "Log", "Mish",
    "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh",
):  # fmt: skip
    _register(_name, 6, _fixed(f"{_name} 0"))
for _name in ("Max", "Min"):
    _register(_name, 8, _chain(_name), inputs=())
_register("Sum", 8, _chain("Add"), inputs=())
_register("LeakyRelu", 6, _with("LeakyRelu", alpha=0.01))
_register("ThresholdedRelu", 10, _with("ThresholdedRelu", alpha=1.0))
_register("Elu", 6, _with("Elu", alpha=1.0))
_register("Celu", 12, _with("Celu", alpha=1.0))
_register("Selu", 6, _with("Selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875))
_register("HardSigmoid", 6, _with("HardSigmoid", alpha=0.2, beta=0.5))
_register("Shrink", 9, _with("Shrink", bias=0.0, lambd=0.5))
_register("Swish", 24, _with("QuickGelu", alpha=1.0))
_register("Gelu", 20, _gelu)
_register("Gelu", 1, _fixed("Gelu 0"), domain="com.microsoft")
_register(
    "BitShift",
    11,
    lambda operation: (f"Shift{operation.attributes['direction'].title()} 0 1",),
    inputs=("x", "y"),
    types=INTEGER_NAMES,
    when=shift_refusal,
)
_register("QuickGelu", 1, _with("QuickGelu", alpha=1.702), domain="com.microsoft")
