"""Which operators TensorRT's parser takes, and with which element types; what else it asks of a node is in `restrictions.py`.

`operators.json` is NVIDIA's table of the parser (onnx-tensorrt, docs/operators.md) with what later releases added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from onnxgpu.providers.tensorrt.stand_in.element_types import type_name
from onnxgpu.providers.tensorrt.stand_in.registry import version
from onnxgpu.providers.tensorrt.stand_in.typed_graph import Node

_DATA = {"Where": 1, "OneHot": 2, "If": None, "Loop": None, "Scan": None, "Constant": None, "ConstantOfShape": None, "RandomNormal": None,
         "RandomUniform": None}  # fmt: skip
"""The input whose element type the table speaks of, where it is not the first; None: none of them."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A row of the table: element types, and the first version with it."""

    types: frozenset[str]
    since: tuple[int, ...]


@cache
def _table() -> Mapping[str, Operator]:
    rows = json.loads((Path(__file__).parent / "operators.json").read_text())["operators"]
    return {
        name: Operator(frozenset(row["types"].split()), tuple(int(part) for part in row.get("since", "10.0").split(".")))
        for name, row in rows.items()
    }


def operators() -> frozenset[str]:
    """The operators of the installed version."""
    current = tuple(int(part) for part in version().split(".")[:2])
    return frozenset(name for name, row in _table().items() if row.since <= current)


def type_refusal(node: Node) -> str | None:
    """Why the parser does not take the element types of a node; None if it does, or they are not known."""
    index = _DATA.get(node.operator, 0)
    if index is None or not node.has(index):
        return None
    code = node.input_type(index)
    if not code:
        return None
    name = type_name(code)
    if name is None:
        return f"Unsupported ONNX data type: {_onnx_name(code)} ({code})"
    if name not in _table()[node.operator].types:
        return f"Found invalid input type of {name}"
    return None


def _onnx_name(code: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(code))
