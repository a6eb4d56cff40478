"""What programs reach as `onnxruntime_pybind11_state.schemadef`: the schemas of operators, those of the package onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

__all__ = ["get_all_operator_schema"]


def get_all_operator_schema() -> list[onnx.defs.OpSchema]:
    """The schemas of ONNX's operators, of every version."""
    import onnx

    return list(onnx.defs.get_all_schemas_with_history())


def __getattr__(name: str) -> Any:
    if name != "OpSchema":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import onnx

    return onnx.defs.OpSchema
