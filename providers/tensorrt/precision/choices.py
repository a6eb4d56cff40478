"""What each node of a segment has to compute in: a small type, float32 with the reason, or either.

Own reasons come from the operator, its constants and the user's lists. Then what floats in a result decides over its readers:
*wide* values (powers, long sums) may overflow in a small type, *scales* (means, roots, reciprocals) lose what they are there for;
whoever reads one computes in float32 too, until a quotient, a bounded function, a product, or the data that a scale is applied to ends
it. So normalizations, softmaxes and activations that are written out as several nodes stay in float32 as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from onnxgpu.providers.tensorrt.precision.operators import (
    BOUNDED,
    COMPUTING,
    ELEMENTWISE,
    ISLANDS,
    MOVING,
    NORMS,
    NOTHING,
    SUMMING,
    Reducible,
    reducible,
)
from onnxgpu.providers.tensorrt.precision.reductions import length
from onnxgpu.providers.tensorrt.precision.view import attribute, bodies_of

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.precision.constants import Conversions
    from onnxgpu.providers.tensorrt.precision.settings import PrecisionSettings
    from onnxgpu.providers.tensorrt.precision.view import View


class Kind(Enum):
    """What a node computes in."""

    UNTOUCHED = "untouched"
    """It gives nothing of float32, and reads that in any type, if at all."""
    FULL = "float32"
    SMALL = "small"
    EITHER = "either"


class Loss(Enum):
    """What happens to a constant in the small type."""

    NONE = ""
    OVERFLOW = "overflows"
    """An element becomes infinite."""
    VANISHES = "vanishes"
    """Every element becomes 0."""


@dataclass(frozen=True)
class Choice:
    """One node's kind.

    Attributes:
        kind: see `Kind`.
        reason: why it is FULL.
        changes: what changes its type where the node computes in the small type.
        loss: FULL because of what happens to a constant, or to what may overflow in an operand.
        is_wanted: FULL only because the operator has no form in the small type, where that would have mattered.
    """

    kind: Kind
    reason: str = ""
    changes: Reducible = NOTHING
    loss: Loss = Loss.NONE
    is_wanted: bool = False


_GIVES_WIDE = frozenset(
    {"CumSum", "Exp", "GlobalLpPool", "LpPool", "Pow", "ReduceL1", "ReduceL2", "ReduceProd", "ReduceSum", "ReduceSumSquare"}
)
_GIVES_SCALES = frozenset({"AveragePool", "GlobalAveragePool", "Reciprocal", "ReduceMean", "Sqrt"})
_TURNING = frozenset({"Cos", "Sin", "Tan"})
_INTEGERS = frozenset({2, 3, 4, 5, 6, 7, 12, 13})
"""Of `TensorProto.DataType`."""
_ANGLE = f"its result is an angle: {ISLANDS['Sin']}"
_WHOLE = "its result becomes a whole number, and a small type does not know the larger ones"


def choices(view: View, constants: Conversions, settings: PrecisionSettings) -> list[Choice]:
    """One choice for each node, in the graph's order.

    Args:
        view: of the segment.
        constants: its constants in the small type.
        settings: the user's.
    """
    found = [_own(view, index, constants, settings) for index in range(len(view.nodes))]
    _spread(view, found, constants.small)
    _spread_back(view, found)
    return found


def takes_any_type(view: View, index: int) -> bool:
    """True if it is all the same to the node in which type it reads what is float32 now, and it gives nothing of float32."""
    node = view.nodes[index]
    if any(view.is_float32(name) for name in node.output) or any(bodies_of(node)):
        return False
    return node.op_type in ("Cast", "Shape", "Size") or not any(view.is_float32(name) for name in node.input)


def _own(view: View, index: int, constants: Conversions, settings: PrecisionSettings) -> Choice:
    node = view.nodes[index]
    if takes_any_type(view, index):
        return Choice(Kind.UNTOUCHED)
    if unknown := [name for name in (*node.input, *node.output) if name and name not in view.types]:
        return Choice(Kind.FULL, f"the element type of '{unknown[0]}' is not known")
    if reason := _asked_for(view, index, settings):
        return Choice(Kind.FULL, reason)
    rule = _rule(view, index, settings)
    if isinstance(rule, str):
        return Choice(Kind.FULL, rule)
    changes = reducible(view, index, constants.small)
    if isinstance(changes, str):
        return Choice(Kind.FULL, changes, is_wanted=rule is Kind.SMALL)
    return _with_lost_constant(view, index, constants, changes) or Choice(rule, changes=changes)


def _asked_for(view: View, index: int, settings: PrecisionSettings) -> str | None:
    node = view.nodes[index]
    if node.op_type in settings.float32_operators:
        return f"{node.op_type} is to stay in float32, by the user's list"
    return next((settings.float32_nodes[name] for name in (node.name, *node.output) if name and name in settings.float32_nodes), None)


def _rule(view: View, index: int, settings: PrecisionSettings) -> Kind | str:
    node = view.nodes[index]
    operator = node.op_type
    if operator in settings.reduced_operators or (operator in NORMS and not settings.norms_in_float32):
        return Kind.EITHER
    if operator in ISLANDS:
        return ISLANDS[operator]
    if operator in COMPUTING:
        return "reads what is dequantized: quantization stays as the model has it" if _reads_dequantized(view, index) else Kind.SMALL
    if operator == "Mul" and node.input[0] == node.input[1]:
        return ISLANDS["Pow"]
    if operator == "ReduceMean" and _is_subtracted_from_its_data(view, index):
        return "the mean that its data are centred by"
    if operator in SUMMING:
        count = length(view, index)
        if count is None:
            return f"{operator} over a number of elements that is not known"
        return Kind.EITHER if count <= settings.longest_reduction else f"{operator} over {count} elements"
    if operator in ELEMENTWISE or operator in MOVING:
        return Kind.EITHER
    return f"nothing is known of {operator} in small types"


def _with_lost_constant(view: View, index: int, constants: Conversions, changes: Reducible) -> Choice | None:
    """FULL, if a constant of the node would become infinite, or nothing at all."""
    node = view.nodes[index]
    for position in sorted(changes.inputs):
        name = node.input[position]
        if not view.is_constant(name):
            continue
        converted = constants.of(name)
        vanished = 0 < converted.flushed == converted.array.size
        loss = Loss.OVERFLOW if converted.overflowed else Loss.VANISHES if vanished else Loss.NONE
        if loss is not Loss.NONE:
            reason = f"constant '{name}' {loss.value} in {constants.small}: its largest element is {converted.largest:.3g}"
            return Choice(Kind.FULL, reason, loss=loss)
    return None


def _reads_dequantized(view: View, index: int) -> bool:
    """True if an operand comes from DequantizeLinear, perhaps through nodes that move elements."""
    waiting = list(view.nodes[index].input)
    while waiting:
        producer = view.producers.get(waiting.pop())
        if producer is None:
            continue
        node = view.nodes[producer]
        if node.op_type == "DequantizeLinear":
            return True
        if node.op_type in MOVING and node.op_type not in ("Shape", "Size"):
            waiting.append(node.input[0])
    return False


def _is_subtracted_from_its_data(view: View, index: int) -> bool:
    data = view.nodes[index].input[0]
    return any(view.nodes[reader].op_type == "Sub" and data in view.nodes[reader].input for reader, _, _ in view.followers(index))


def _spread(view: View, found: list[Choice], small: str) -> None:
    wide: set[str] = set()
    scales: set[str] = set()
    for index, node in enumerate(view.nodes):
        choice = found[index]
        outputs = [name for name in node.output if view.is_float32(name)]
        if choice.kind is Kind.FULL:
            if node.op_type in _GIVES_WIDE or choice.loss is Loss.OVERFLOW or _is_square(node.op_type, node.input):
                wide.update(outputs)
            elif node.op_type in _GIVES_SCALES or choice.loss is Loss.VANISHES:
                scales.update(outputs)
            continue
        read_wide = [name for name in node.input if name in wide]
        if choice.kind is Kind.SMALL and read_wide and small == "float16":
            found[index] = Choice(Kind.FULL, f"reads '{read_wide[0]}', which may overflow in float16", loss=Loss.OVERFLOW)
        elif choice.kind is Kind.EITHER:
            read_scales = [name for name in node.input if name in scales]
            if read_wide:
                found[index] = Choice(Kind.FULL, f"'{read_wide[0]}' may overflow in a small type")
                if node.op_type not in BOUNDED and not (node.op_type == "Div" and node.input[1] in wide):
                    wide.update(outputs)
            elif read_scales:
                found[index] = Choice(Kind.FULL, f"'{read_scales[0]}' is a scale, which a small type blurs")
                if node.op_type not in BOUNDED and not _data(view, node.input, read_scales):
                    scales.update(outputs)


def _is_square(operator: str, inputs: Sequence[str]) -> bool:
    return operator == "Mul" and inputs[0] == inputs[1]


def _data(view: View, inputs: Sequence[str], scales: Sequence[str]) -> list[str]:
    """The operands that a scale is applied to."""
    return [name for name in inputs if view.is_float32(name) and not view.is_constant(name) and name not in scales]


def _spread_back(view: View, found: list[Choice]) -> None:
    """Whoever gives nothing but angles and whole numbers, such as sizes, computes in float32."""
    digits = {index: _ANGLE for index, node in enumerate(view.nodes) if node.op_type in _TURNING}
    digits |= {index: _WHOLE for index in range(len(view.nodes)) if _makes_integers(view, index)}
    outside = view.outputs | view.captured
    for index in reversed(range(len(view.nodes))):
        choice, followers = found[index], {reader for reader, _, _ in view.followers(index)}
        may = choice.kind is Kind.EITHER or (choice.kind is Kind.SMALL and _is_outer_product(view, index))
        if may and followers and digits.keys() >= followers and not outside.intersection(view.nodes[index].output):
            digits[index] = digits[min(followers)]
            found[index] = Choice(Kind.FULL, digits[index])


def _makes_integers(view: View, index: int) -> bool:
    node = view.nodes[index]
    return node.op_type == "Cast" and view.is_float32(node.input[0]) and attribute(node, "to") in _INTEGERS


def _is_outer_product(view: View, index: int) -> bool:
    shape = view.shapes.get(view.nodes[index].input[0])
    return view.nodes[index].op_type == "MatMul" and bool(shape) and shape is not None and shape[-1] == 1
