"""How the gradient of an operator's output gives those of its inputs: reductions, normalised exponentials, convolution.

Rules as in `gradient_rules.py`, which holds the table of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.model_file.gradient_rules import RULES, rule
from onnxgpu.model_file.gradient_tape import Tape, attribute

if TYPE_CHECKING:
    import onnx

__all__ = ["RULES"]


def _reduced_axes(tape: Tape, node: onnx.NodeProto) -> list[int]:
    """The axes that a reduction sums over, from its attribute or its constant input."""
    rank = tape.rank(node.input[0], node)
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        axes = tape.integers(node.input[1], node)
    if not axes:
        return [] if attribute(node, "noop_with_empty_axes", 0) else list(range(rank))
    return sorted(axis % rank for axis in axes)


def _spread(tape: Tape, g: str, x: str, axes: list[int], keepdims: int) -> str:
    """A gradient without `axes` (or with size 1 there) at every element of `x`."""
    return tape("Expand", g if keepdims or not axes else tape.unsqueezed(g, axes), tape("Shape", x))


@rule("ReduceSum", "ReduceMean", "ReduceSumSquare")
def _reduction(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    x, y = node.input[0], node.output[0]
    spread = _spread(tape, g, x, _reduced_axes(tape, node), attribute(node, "keepdims", 1))
    if node.op_type == "ReduceSumSquare":
        spread = tape("Mul", spread, tape("Add", x, x))
    tape.give(x, _divided_by_count(tape, spread, x, y) if node.op_type == "ReduceMean" else spread)


def _divided_by_count(tape: Tape, gradient: str, x: str, y: str) -> str:
    """`gradient` over the number of elements of `x` that make up one of `y`."""
    return tape("Div", gradient, tape("Cast", tape("Div", tape("Size", x), tape("Size", y)), to=tape.code(x)))


@rule("GlobalAveragePool")
def _global_average(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    x, y = node.input[0], node.output[0]
    tape.give(x, _divided_by_count(tape, tape("Expand", g, tape("Shape", x)), x, y))


@rule("Softmax", "LogSoftmax")
def _softmax(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    if tape.opset < 13:
        raise tape.refused(node, "before opset 13 it is a softmax over several axes")
    y, axes = node.output[0], [attribute(node, "axis", -1)]
    if node.op_type == "Softmax":
        tape.give(node.input[0], tape("Mul", y, tape("Sub", g, tape.sum(tape("Mul", g, y), axes))))
    else:
        tape.give(node.input[0], tape("Sub", g, tape("Mul", tape("Exp", y), tape.sum(g, axes))))


@rule("Concat")
def _concat(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    axis, start = attribute(node, "axis"), 0
    for name in node.input:
        (size,) = tape.sizes(name, node, [axis])
        bounds = [tape.constant([value]) for value in (start, start + size, axis)]
        tape.give(name, tape("Slice", g, *bounds))
        start += size


@rule("Conv")
def _conv(tape: Tape, node: onnx.NodeProto, g: str) -> None:
    x, w = node.input[:2]
    rank = tape.rank(x, node) - 2
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b""):
        raise tape.refused(node, "it pads automatically; give its pads")
    strides, dilations = attribute(node, "strides", [1] * rank), attribute(node, "dilations", [1] * rank)
    pads, group = attribute(node, "pads", [0] * 2 * rank), attribute(node, "group", 1)
    spatial = range(2, 2 + rank)
    if tape.wants(x):
        sizes, kernel, places = tape.sizes(x, node, spatial), tape.sizes(w, node, spatial), tape.sizes(node.output[0], node, spatial)
        left = [
            size + pads[i] + pads[rank + i] - (places[i] - 1) * strides[i] - (kernel[i] - 1) * dilations[i] - 1
            for i, size in enumerate(sizes)
        ]
        geometry = {"strides": strides, "dilations": dilations, "pads": pads, "group": group, "output_padding": left}
        tape.give(x, tape("ConvTranspose", g, w, **geometry))
    if tape.wants(w):
        if group != 1:
            raise tape.refused(node, "its weights have groups")
        tape.give(w, _weights_gradient(tape, node, g, rank, {"strides": dilations, "dilations": strides, "pads": pads}))
    if len(node.input) > 2 and tape.wants(node.input[2]):
        tape.give(node.input[2], tape.sum(g, [0, *spatial], keepdims=0))


def _weights_gradient(tape: Tape, node: onnx.NodeProto, g: str, rank: int, geometry: dict[str, list[int]]) -> str:
    """The input under the gradient as a kernel, samples in the place of channels; what lies beyond the kernel's size is cut off."""
    kernel = tape.sizes(node.input[1], node, range(2, 2 + rank))
    exchanged = [1, 0, *range(2, 2 + rank)]
    product = tape("Conv", tape("Transpose", node.input[0], perm=exchanged), tape("Transpose", g, perm=exchanged), **geometry)
    cut = tape("Slice", product, tape.constant([0] * rank), tape.constant(kernel), tape.constant(list(range(2, 2 + rank))))
    return tape("Transpose", cut, perm=exchanged)
