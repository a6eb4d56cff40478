"""Let a convolution pad its own input."""

from __future__ import annotations

import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import attribute, constant_array, described, dimensions, given, integers


@node_rule("Conv")
def fold_pad_into_convolution(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A Pad with zeros, of spatial axes only, becomes part of the `pads` of the Conv that reads it."""
    padded = given(node, 0)
    pad = padded.producer() if padded is not None else None
    if padded is None or pad is None or pad.op_type != "Pad" or pad.domain or padded.graph is not node.graph:
        return None
    source, rank = given(pad, 0), _rank(node, padded)
    if source is None or rank is None or rank < 3 or not _pads_zeros(pad, rewriting.version(pad)):
        return None
    extra, own = _padding(pad, rank, rewriting.version(pad)), _own_padding(node, rank)
    if extra is None or own is None or any(extra[axis] or extra[rank + axis] for axis in (0, 1)) or any(size < 0 for size in extra):
        return None
    text = f"{described(pad)} into {described(node)}"
    spatial = [*extra[2:rank], *extra[rank + 2 :]]
    node.attributes["pads"] = ir.AttrInt64s("pads", [mine + more for mine, more in zip(own, spatial, strict=True)])
    node.attributes["auto_pad"] = ir.AttrString("auto_pad", "NOTSET")
    rewriting.mark(node, f"{described(pad)}, {described(node)}")
    rewriting.reconnect(node, 0, source)
    return text


def _rank(node: ir.Node, padded: ir.Value) -> int | None:
    weight = given(node, 1)
    shape = dimensions(weight) or dimensions(padded)
    return None if shape is None else len(shape)


def _pads_zeros(pad: ir.Node, version: int) -> bool:
    if attribute(pad, "mode", "constant") != "constant":
        return False
    if version < 11:
        return float(attribute(pad, "value", 0.0)) == 0.0
    value = given(pad, 2)
    fill = constant_array(value)
    return value is None or (fill is not None and fill.size == 1 and bool((fill == 0).all()))


def _padding(pad: ir.Node, rank: int, version: int) -> list[int] | None:
    """The 2 * rank sizes of `pad`, beginnings first."""
    pads = integers(given(pad, 1)) if version >= 11 else list(attribute(pad, "pads", ()))
    if pads is None:
        return None
    if given(pad, 3) is None:
        return pads if len(pads) == 2 * rank else None
    axes = integers(given(pad, 3))
    if axes is None or len(pads) != 2 * len(axes):
        return None
    full = [0] * (2 * rank)
    for position, axis in enumerate(axes):
        full[axis % rank] = pads[position]
        full[rank + axis % rank] = pads[len(axes) + position]
    return full


def _own_padding(node: ir.Node, rank: int) -> list[int] | None:
    """The padding that the Conv does itself; None where it follows from the size of its input."""
    automatic = attribute(node, "auto_pad", "NOTSET")
    if automatic not in ("NOTSET", "VALID"):
        return None
    own = list(attribute(node, "pads", ())) if automatic == "NOTSET" else []
    return own or [0] * (2 * (rank - 2))
