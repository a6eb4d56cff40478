"""How the gradient of an operator's output gives those of its inputs: elementwise operators, shapes, matrix products.

A rule is `rule(tape, node, g)`: `g` is the name of the gradient of the node's first output, and `tape.give(name, gradient)`
adds to the gradient of an input. A call `tape("Mul", a, b)` writes a node of ai.onnx and gives the name of its output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from onnxgpu.model_file.gradient_tape import Tape, attribute

if TYPE_CHECKING:
    import onnx

Rule = Callable[[Tape, "onnx.NodeProto", str], None]
RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register the decorated function for these operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register


_Formula = Callable[[Tape, str, str, str], str]

_OF_ONE_INPUT: dict[str, _Formula] = {
    "Abs": lambda t, x, y, g: t("Mul", g, t("Sign", x)),
    "Cos": lambda t, x, y, g: t("Neg", t("Mul", g, t("Sin", x))),
    "Erf": lambda t, x, y, g: t("Mul", t("Mul", g, t.like(x, 2 / math.sqrt(math.pi))), t("Exp", t("Neg", t("Mul", x, x)))),
    "Exp": lambda t, x, y, g: t("Mul", g, y),
    "Expand": lambda t, x, y, g: g,
    "Flatten": lambda t, x, y, g: t.reshaped_like(g, x),
    "Identity": lambda t, x, y, g: g,
    "Log": lambda t, x, y, g: t("Div", g, x),
    "Neg": lambda t, x, y, g: t("Neg", g),
    "Reciprocal": lambda t, x, y, g: t("Neg", t("Mul", g, t("Mul", y, y))),
    "Relu": lambda t, x, y, g: t("Mul", g, t("Sign", y)),
    "Reshape": lambda t, x, y, g: t.reshaped_like(g, x),
    "Sigmoid": lambda t, x, y, g: t("Mul", g, t("Sub", y, t("Mul", y, y))),
    "Sin": lambda t, x, y, g: t("Mul", g, t("Cos", x)),
    "Softplus": lambda t, x, y, g: t("Mul", g, t("Sigmoid", x)),
    "Sqrt": lambda t, x, y, g: t("Div", g, t("Add", y, y)),
    "Squeeze": lambda t, x, y, g: t.reshaped_like(g, x),
    "Tanh": lambda t, x, y, g: t("Sub", g, t("Mul", g, t("Mul", y, y))),
    "Unsqueeze": lambda t, x, y, g: t.reshaped_like(g, x),
}


@rule(*_OF_ONE_INPUT)
def _one_input(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    x, y = node.input[0], node.output[0]
    tape.give_broadcast(x, _OF_ONE_INPUT[node.op_type](tape, x, y, g), y if node.op_type == "Expand" else x)


@rule(
    "Sign",
    "Shape",
    "Size",
    "Constant",
    "ConstantOfShape",
    "Ceil",
    "Equal",
    "Floor",
    "Greater",
    "Less",
    "NonZero",
    "Round",
    "Not",
    "And",
    "Or",
)
def _without_gradient(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    """Steps, comparisons, and what reads only shapes."""


@rule("Cast")
def _cast(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    if tape.wants(node.input[0]):
        tape.give(node.input[0], tape("Cast", g, to=tape.code(node.input[0])))


@rule("Add", "Sum")
def _add(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    for name in node.input:
        tape.give_broadcast(name, g, node.output[0])


@rule("Mean")
def _mean(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    part = tape("Div", g, tape.like(node.output[0], len(node.input)))
    for name in node.input:
        tape.give_broadcast(name, part, node.output[0])


@rule("Sub")
def _sub(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    a, b = node.input
    tape.give_broadcast(a, g, node.output[0])
    tape.give_broadcast(b, tape("Neg", g), node.output[0])


@rule("Mul")
def _mul(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    a, b = node.input
    tape.give_broadcast(a, tape("Mul", g, b), node.output[0])
    tape.give_broadcast(b, tape("Mul", g, a), node.output[0])


@rule("Div")
def _div(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    a, b = node.input
    part = tape("Div", g, b)
    tape.give_broadcast(a, part, node.output[0])
    tape.give_broadcast(b, tape("Neg", tape("Mul", part, node.output[0])), node.output[0])


@rule("Pow")
def _pow(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    a, b = node.input
    if tape.wants(a):
        slope = tape("Mul", tape("Cast", b, to=tape.code(a)), tape("Pow", a, tape("Sub", b, tape.like(b, 1))))
        tape.give_broadcast(a, tape("Mul", g, slope), node.output[0])
    if tape.wants(b):
        tape.give_broadcast(b, tape("Mul", g, tape("Mul", node.output[0], tape("Log", a))), node.output[0])


@rule("Max", "Min")
def _extremes(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    """To every input that has the extreme."""
    for name in node.input:
        chosen = tape("Cast", tape("Equal", name, node.output[0]), to=tape.code(node.output[0]))
        tape.give_broadcast(name, tape("Mul", g, chosen), node.output[0])


@rule("Clip")
def _clip(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    x, y = node.input[0], node.output[0]
    tape.give(x, tape("Mul", g, tape("Cast", tape("Equal", x, y), to=tape.code(y))))
    if any(tape.wants(name) for name in node.input[1:]):
        raise tape.refused(node, "its limits have no gradient")


@rule("Where")
def _where(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    condition, a, b = node.input
    zero = tape.like(node.output[0], 0)
    tape.give_broadcast(a, tape("Where", condition, g, zero), node.output[0])
    tape.give_broadcast(b, tape("Where", condition, zero, g), node.output[0])


@rule("Transpose")
def _transpose(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    perm = attribute(node, "perm")
    tape.give(node.input[0], tape("Transpose", g, **({"perm": [perm.index(i) for i in range(len(perm))]} if perm else {})))


@rule("MatMul")
def _matmul(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    a, b = node.input
    ranks = {name: tape.rank(name, node) for name in (a, b)}
    if min(ranks.values()) < 2:
        raise tape.refused(node, "it has a vector as an input; make it a matrix")

    def turned(name: str) -> str:
        rank = ranks[name]
        return tape("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])

    if tape.wants(a):
        tape.give(a, _batches_summed(tape, tape("MatMul", g, turned(b)), a, node, ranks))
    if tape.wants(b):
        tape.give(b, _batches_summed(tape, tape("MatMul", turned(a), g), b, node, ranks))


def _batches_summed(tape: Tape, gradient: str, name: str, node: onnx.NodeProto, ranks: dict[str, int]) -> str:
    """The gradient of one operand, summed over the batch dimensions along which it was broadcast."""
    narrowest, widest = min(ranks.values()), max(ranks.values())
    if narrowest == 2:
        return gradient if ranks[name] == widest else tape.sum(gradient, range(widest - 2), keepdims=0)
    batches = [(tape.shape(operand) or [])[:-2] for operand in node.input]
    if batches[0] == batches[1] and None not in batches[0]:
        return gradient
    raise tape.refused(node, "its batch dimensions may be broadcast; make them equal or use a matrix")


@rule("Gemm")
def _gemm(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    a, b = node.input[:2]
    turn_a, turn_b = attribute(node, "transA", 0), attribute(node, "transB", 0)
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)

    def product(left: str, right: str, turn_left: int, turn_right: int) -> str:
        return tape("Gemm", left, right, transA=turn_left, transB=turn_right, alpha=alpha)

    if tape.wants(a):
        tape.give(a, product(b, g, turn_b, 1) if turn_a else product(g, b, 0, 1 - turn_b))
    if tape.wants(b):
        tape.give(b, product(g, a, 1, turn_a) if turn_b else product(a, g, 1 - turn_a, 0))
    if len(node.input) > 2 and node.input[2] and tape.wants(node.input[2]):
        scaled = g if beta == 1.0 else tape("Mul", g, tape.like(node.output[0], beta))
        tape.give_broadcast(node.input[2], scaled, node.output[0])
