"""Fewer calls for the same expression: constants negated beforehand, and the minus of a sigmoid taken into what it reads.

1/(1 + exp(-x)) is four calls. Where x is a product, a quotient, a sum or a difference that nothing else reads, its minus costs
nothing or is the minus of an operand that several sigmoids share; all of these are exact, but for the sign of a zero, which
exp does not see. And 1/d · y is y/d, which rounds once.
"""

from __future__ import annotations

from collections import Counter

from onnxgpu.providers.cpu.elementwise_operators import Input, Node, Operand, apply


def simplified(result: Operand) -> Operand:
    """The expression with the rules applied."""
    return _without_minus(_without_inverse(result))


def in_order(result: Operand) -> list[Node]:
    """All nodes, each behind its operands, the result last."""
    ordered: dict[Node, None] = {}
    waiting: list[tuple[Operand, bool]] = [(result, False)]
    while waiting:
        node, ready = waiting.pop()
        if not isinstance(node, Node) or node in ordered:
            continue
        if ready:
            ordered[node] = None
        else:
            waiting.append((node, True))
            waiting.extend((operand, False) for operand in reversed(node.operands))
    return list(ordered)


def _without_inverse(result: Operand) -> Operand:
    """y · (1/d) as y/d, where nothing else reads 1/d."""
    readers = _readers(result)
    new: dict[Node, Operand] = {}
    for node in in_order(result):
        first, *rest = operands = tuple(_renewed(operand, new) for operand in node.operands)
        new[node] = Node(node.primitive, operands)
        if node.primitive.name == "Mul":
            (second,) = rest
            for inverse, old, other in ((first, node.operands[0], second), (second, node.operands[1], first)):
                if _is_inverse(inverse) and isinstance(old, Node) and readers[old] == 1:
                    new[node] = apply("Div", other, inverse.operands[1])  # type: ignore[union-attr]
                    break
    return _renewed(result, new)


def _is_inverse(value: Operand) -> bool:
    return isinstance(value, Node) and value.primitive.name == "Div" and value.operands[0] == 1.0


def _without_minus(result: Operand) -> Operand:
    """exp(-x) with the minus moved into x, wherever that saves a call."""
    readers = _readers(result)
    order = in_order(result)
    movable = {
        node for node in order if node.primitive.name == "Neg" and all(r.primitive.name == "Exp" for r in order if node in r.operands)
    }
    movable = {node for node in movable if isinstance(node.operands[0], float) or readers[node.operands[0]] == 1}
    wanted = Counter(operand.index for node in movable for operand in {o for o in _inside(node) if isinstance(o, Input)})
    shared = {index: apply("Neg", Input(index)) for index, times in wanted.items() if times > 1}
    new: dict[Node, Operand] = {}
    for node in order:
        operands = tuple(_renewed(operand, new) for operand in node.operands)
        negated = _negated(operands[0], shared) if node in movable else None
        new[node] = Node(node.primitive, operands) if negated is None else negated
    return _renewed(result, new)


def _inside(minus: Node) -> tuple[Operand, ...]:
    x = minus.operands[0]
    return x.operands if isinstance(x, Node) and x.primitive.name in ("Add", "Mul", "Div") else ()


def _negated(x: Operand, shared: dict[int, Node]) -> Operand | None:
    """-x without a call more than x, given the minus of some inputs; None if there is none."""
    if isinstance(x, float):
        return -x
    if not isinstance(x, Node) or len(x.operands) != 2:
        return None
    first, second = x.operands
    if x.primitive.name == "Sub":
        return apply("Sub", second, first)
    for operand, other in ((first, second), (second, first)):
        minus = -operand if isinstance(operand, float) else shared.get(operand.index) if isinstance(operand, Input) else None
        if minus is None:
            continue
        if x.primitive.name == "Add":
            return apply("Sub", minus, other)
        if x.primitive.name in ("Mul", "Div"):
            return Node(x.primitive, (minus, second) if operand is first else (first, minus))
    return None


def _readers(result: Operand) -> Counter[Operand]:
    """How often each node is read; the result once more."""
    counts: Counter[Operand] = Counter(operand for node in in_order(result) for operand in node.operands)
    counts[result] += 1
    return counts


def _renewed(operand: Operand, new: dict[Node, Operand]) -> Operand:
    return new[operand] if isinstance(operand, Node) else operand
