"""Operator cases, one list for correctness, for the support table and for timing.

A family of operators has one module here with a list `CASES`. Each case is one node with its inputs; the expected
outputs come from onnxruntime or `onnx.reference` (see `oracles.py`) unless the case gives its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One node, its inputs, and how close the outputs have to be.

    Attributes:
        operator: ONNX operator name.
        inputs: arrays in order; None for an absent optional input.
        attributes: as `onnx.helper.make_node` takes them.
        opset: opset version of `domain`.
        outputs: how many outputs the node has.
        expected: the outputs, where no oracle can run the case (say why in `note`).
        rtol, atol: tolerances; by default those of the output's dtype in `tolerances.py`.
        oracle: "onnxruntime", "reference" or "any" (the first that can run it).
    """

    operator: str
    inputs: Sequence[np.ndarray | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 21
    domain: str = ""
    outputs: int = 1
    expected: Sequence[Any] | None = None
    rtol: float | None = None
    atol: float | None = None
    oracle: str = "any"
    note: str = ""

    def __str__(self) -> str:
        kinds = ",".join("-" if x is None else f"{x.dtype}{list(x.shape)}".replace(" ", "") for x in self.inputs)
        attributes = ",".join(f"{k}={v}" for k, v in self.attributes.items() if not hasattr(v, "node"))
        return f"{self.operator}-{self.opset}({kinds};{attributes})"


def all_cases() -> list[Case]:
    """The cases of every family."""
    cases: list[Case] = []
    for module in iter_modules(__path__):
        cases += getattr(import_module(f"{__name__}.{module.name}"), "CASES", [])
    return cases
