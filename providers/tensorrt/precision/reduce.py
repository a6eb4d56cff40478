"""A segment in a small type: masks, choices, boundaries, casts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.tensorrt.precision.boundaries import small_nodes
from onnxgpu.providers.tensorrt.precision.bounds import without_idle_bounds
from onnxgpu.providers.tensorrt.precision.casts import Casts
from onnxgpu.providers.tensorrt.precision.choices import Choice, Kind, Loss, choices
from onnxgpu.providers.tensorrt.precision.constants import Conversions
from onnxgpu.providers.tensorrt.precision.masks import with_finite_masks
from onnxgpu.providers.tensorrt.precision.report import ChangedWeight, NodePrecision, PrecisionReport
from onnxgpu.providers.tensorrt.precision.settings import PrecisionSettings
from onnxgpu.providers.tensorrt.precision.view import View, label_of, view_of

_BETWEEN = "between nodes in float32, where a small type would need more casts"


def reduced(model: CutModel, settings: PrecisionSettings) -> tuple[CutModel, PrecisionReport]:
    """The same model, computing in a small type where that is safe.

    Inputs and outputs keep their names and types. Nodes of matrix products and convolutions take and give the small type; sums over
    many elements, norms, powers and the like stay in float32; everything else computes in whichever type needs the fewest casts.

    Args:
        model: of a segment; not changed.
        settings: no small type at all gives the model itself.

    Returns:
        The model, with its large weights beside it, and what was done.
    """
    if not settings.types:
        return model, PrecisionReport()
    first, *others = settings.types
    result, report, overflowing = _pass(model, first, settings, None)
    for small in others if overflowing else ():
        result, second, _ = _pass(result, small, settings, overflowing)
        report = _joined(report, second)
    return result, report


def _pass(
    model: CutModel, small: str, settings: PrecisionSettings, only: frozenset[str] | None
) -> tuple[CutModel, PrecisionReport, frozenset[str]]:
    """The model with one small type, the report, and the computing nodes whose constants the type's range does not suffice for.

    Args:
        model: to start from.
        small: the type.
        settings: the user's.
        only: the computing nodes that may get the type; None: all.
    """
    view = view_of(without_idle_bounds(model))
    clamped, masks = with_finite_masks(view, small)
    view = view_of(clamped) if masks else view
    constants = Conversions(view, small)
    found = choices(view, constants, settings)
    if only is not None:
        found = [_limited(choice, label_of(node) in only) for choice, node in zip(found, view.nodes, strict=True)]
    chosen = small_nodes(view, found)
    casts = Casts(view, constants, found, chosen)
    result = casts.model()
    nodes = tuple(_described(view, index, found[index], index in chosen, small) for index in range(len(view.nodes)))
    weights = tuple(
        ChangedWeight(name, small, (of := constants.of(name)).array.size, of.flushed, of.largest) for name in dict.fromkeys(casts.used)
    )
    overflowing = frozenset(label_of(node) for node, choice in zip(view.nodes, found, strict=True) if choice.loss is Loss.OVERFLOW)
    missing = Counter(choice.reason for choice in found if choice.is_wanted)
    return result, PrecisionReport(nodes, weights, masks, casts.count, dict(missing)), overflowing


def _limited(choice: Choice, may: bool) -> Choice:
    """The choice in a second pass: what was not wanted there stays as it is."""
    return choice if may or choice.kind is not Kind.SMALL else Choice(Kind.FULL, "computes in float32 after the first small type")


def _described(view: View, index: int, choice: Choice, is_small: bool, small: str) -> NodePrecision:
    node = view.nodes[index]
    computes_in = "unchanged" if choice.kind is Kind.UNTOUCHED else small if is_small else "float32"
    reason = (choice.reason or _BETWEEN) if computes_in == "float32" else ""
    return NodePrecision(label_of(node), node.op_type, computes_in, reason)


def _joined(first: PrecisionReport, second: PrecisionReport) -> PrecisionReport:
    """What two passes did; the nodes are those of the first."""
    later = {node.name: node for node in second.nodes if node.computes_in not in ("float32", "unchanged")}
    nodes = tuple(later.get(node.name, node) if node.computes_in == "float32" else node for node in first.nodes)
    return replace(
        first,
        nodes=nodes,
        weights=first.weights + second.weights,
        masks=first.masks + second.masks,
        casts=first.casts + second.casts,
        missing={**second.missing, **first.missing},
    )
