"""Free dimensions of the graph's inputs that the session options give a size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from onnxgpu.errors import InvalidArgument

if TYPE_CHECKING:
    import onnx_ir as ir


def override_dimensions(model: ir.Model, by_name: Mapping[str, int], by_denotation: Mapping[str, int]) -> dict[str, int]:
    """Give free dimensions of the inputs their sizes; returns symbol → size, with the symbols of dimensions found by denotation.

    Args:
        model: changed in place.
        by_name: symbol → size.
        by_denotation: denotation (`DATA_BATCH`) → size.

    Raises:
        InvalidArgument: name and denotation of a dimension, or two denotations of a symbol, ask for different sizes.
    """
    sizes = dict(by_name)
    if not by_name and not by_denotation:
        return sizes
    for value in model.graph.inputs:
        if value.shape is not None:
            for position, size in enumerate(value.shape):
                denotation = value.shape.get_denotation(position)
                symbol = None if isinstance(size, int) else size.value
                if denotation in by_denotation and symbol is not None:
                    wanted = by_denotation[denotation or ""]
                    if sizes.setdefault(symbol, wanted) != wanted:
                        where = f"dimension '{symbol}' of input '{value.name}'"
                        raise InvalidArgument(f"Conflicting free dimension overrides. {where}: {sizes[symbol]} and {wanted}")
    for value in model.graph.inputs:
        if value.shape is not None:
            value.shape = _overridden(value.shape, sizes, by_denotation)
    return sizes


def _overridden(shape: ir.Shape, sizes: Mapping[str, int], by_denotation: Mapping[str, int]) -> ir.Shape:
    import onnx_ir as ir

    dimensions: list[int | str | None] = []
    denotations = [shape.get_denotation(position) for position in range(len(shape))]
    for size, denotation in zip(shape, denotations, strict=True):
        if isinstance(size, int):
            dimensions.append(size)
        elif size.value is None:
            dimensions.append(by_denotation.get(denotation or ""))
        else:
            dimensions.append(sizes.get(size.value, size.value))
    return ir.Shape(dimensions, denotations)
