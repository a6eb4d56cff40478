"""Stage 2, graph → graph: what a graph means is kept, and it is written with fewer and cheaper standard ONNX nodes.

    rewrite(model, level=…, evaluate=…) -> RewriteReport

Every rule is one file; `rules.py` lists them in the order in which they are tried. Rules keep the names of the graph's
inputs and outputs, treat an initializer that is also a graph input as unknown, and go through the bodies of If, Loop
and Scan too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.rewrite.report import Change, RewriteReport

if TYPE_CHECKING:
    import onnx_ir as ir

    Evaluate = Callable[[ir.Node, list[np.ndarray | None]], list[np.ndarray] | None]

__all__ = ["Change", "RewriteReport", "rewrite"]


def rewrite(
    model: ir.Model, *, level: int, evaluate: Evaluate, fold_limit_bytes: int = 1 << 20, disabled: Collection[str] = ()
) -> RewriteReport:
    """Simplify `model` in place.

    Args:
        model: the graph; shapes and types that it carries are trusted.
        level: onnxruntime's: 0 changes nothing, 1 folds constants and removes what has no effect, 2 and above also fold
            arithmetic and padding into weights.
        evaluate: `evaluate(node, inputs)` runs one node on the host; None: it cannot, or the node is random.
        disabled: rules to leave out, by the names in `rules.py` or by onnxruntime's; an unknown name does nothing.
        fold_limit_bytes: a folded result may take this many bytes, or as many as the constants it replaces.

    Returns:
        What was changed, by which rule.
    """
    from onnxgpu.rewrite.sweeps import run_rules

    return run_rules(model, level, evaluate, fold_limit_bytes, disabled)
