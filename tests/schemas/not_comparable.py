"""Schemas that nothing else can run, each with its reason; and those that an oracle runs under an older version."""

from __future__ import annotations

import onnx

SAME_MEANING = {("GlobalLpPool", 22): 2, ("MaxRoiPool", 22): 1, ("Multinomial", 22): 7}
"""Versions that only add element types; onnxruntime has a kernel for the older one."""

_OLD = (
    *(("BatchNormalization", 1), ("Cast", 1), ("Clip", 1), ("Dropout", 1), ("Dropout", 6), ("Gemm", 1), ("GlobalLpPool", 1)),
    *(("RNN", 1), ("Split", 1), ("Tile", 1), ("Upsample", 1)),
)
_REASONS: dict[tuple[str, int], str] = {
    **dict.fromkeys(_OLD, "onnxruntime begins with a later version, and so does onnx.reference"),
    ("Gradient", 1): "neither onnxruntime nor onnx.reference implements it",
    ("ImageDecoder", 20): "onnxgpu runs it through onnx.reference, which would be compared with itself",
}


def reason(schema: onnx.defs.OpSchema) -> str | None:
    """Why nothing can be compared for `schema`, or None."""
    if schema.deprecated:
        return "the schema only says that the operator is gone"
    return _REASONS.get((schema.name, schema.since_version))
