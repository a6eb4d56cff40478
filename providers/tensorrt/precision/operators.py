"""What each operator does with the type it computes in: one table, and what ONNX's schemas allow.

Operators of no group stay in float32. The groups follow what a small type lacks: float16 ends at 65504 and knows 11 bits,
bfloat16 knows 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from onnxgpu.providers.tensorrt.precision.view import View

COMPUTING = frozenset({"Attention", "Conv", "ConvTranspose", "DeformConv", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
"""They add products in float32 whatever they are given, and small types make them fast: they always get them."""

ELEMENTWISE = frozenset(
    {
        "Abs", "Add", "Ceil", "Celu", "Clip", "Div", "Elu", "Equal", "Erf", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid",
        "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Relu",
        "RotaryEmbedding", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Softplus", "Softsign", "Sub", "Sum", "Swish", "Tanh",
        "ThresholdedRelu", "Where",
    }
)  # fmt: skip
"""As good in one type as in the other: they get the type that needs the fewest casts."""

MOVING = frozenset(
    {
        "Cast", "CenterCropPad", "Col2Im", "Compress", "Concat", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand", "Flatten",
        "Gather", "GatherElements", "GatherND", "GlobalMaxPool", "Identity", "MaxPool", "NonZero", "Pad", "ReduceMax", "ReduceMin",
        "Reshape", "Resize", "ReverseSequence",
        "Scatter", "ScatterElements", "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth", "Split",
        "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Upsample",
    }
)  # fmt: skip
"""They take elements as they are, or weigh a few neighbours; they too get the type that needs the fewest casts."""

SUMMING = frozenset({"AveragePool", "GlobalAveragePool", "ReduceL1", "ReduceMean", "ReduceSum", "Softmax"})
"""Safe as long as they add few elements."""

NORMS = frozenset(
    {
        "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "LpNormalization",
        "MeanVarianceNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization",
    }
)  # fmt: skip
_SQUARES = "powers of large numbers overflow, those of small ones vanish"
_SMALL_ARGUMENTS = "arguments near 0 vanish in a small type"
_TIES = "numbers that a small type makes equal change places"
_ANGLES = "large angles lose their fraction in a small type"

ISLANDS: Mapping[str, str] = {
    **dict.fromkeys(NORMS, "normalization: squares of large numbers overflow, and small variances vanish"),
    **dict.fromkeys(("Pow", "ReduceSumSquare", "ReduceL2", "LpPool", "GlobalLpPool"), _SQUARES),
    **dict.fromkeys(("Exp", "ReduceLogSumExp", "ReduceProd"), "the result overflows soon"),
    **dict.fromkeys(("Log", "LogSoftmax", "ReduceLogSum", "Reciprocal", "Sqrt"), _SMALL_ARGUMENTS),
    **dict.fromkeys(("ArgMax", "ArgMin", "Hardmax", "NonMaxSuppression", "TopK", "Unique"), _TIES),
    **dict.fromkeys(("Cos", "Sin", "Tan"), _ANGLES),
    **dict.fromkeys(("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh"), "steep near the ends of its range"),
    **dict.fromkeys(("CumSum", "Range"), "sums over many elements lose their last terms"),
    **dict.fromkeys(("AffineGrid", "GridSample", "MaxRoiPool", "RoiAlign"), "coordinates need more digits than a small type has"),
    **dict.fromkeys(("Det", "Inverse", "Mod"), "differences of close numbers"),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"), "quantization stays as the model has it"),
    **dict.fromkeys(("If", "Loop", "Scan"), "bodies of control flow stay as they are"),
}
"""Operators that stay in float32 → why."""

BOUNDED = frozenset({"Erf", "HardSigmoid", "Sigmoid", "Sign", "Softmax", "Softsign", "Tanh"})
"""Their results are small whatever they are given."""

_TENSORRT_LACKS = {"bfloat16": frozenset({"DeformConv", "Mish", "NonZero"})}
"""Type → operators that TensorRT's parser takes in float16 alone (onnx-tensorrt, docs/operators.md)."""

_STAYS = frozenset({("LayerNormalization", "U"), ("Resize", "T2")})
"""Type variables that are left at float32: statistics, and regions in coordinates."""


@dataclass(frozen=True)
class Reducible:
    """Which values of a node change their type when it computes in a small one: positions among its inputs and outputs."""

    inputs: frozenset[int]
    outputs: frozenset[int]


NOTHING = Reducible(frozenset(), frozenset())


def reducible(view: View, index: int, small: str) -> Reducible | str:
    """What changes if the node computes in `small`, or why its operator has no such form at this opset version."""
    node = view.nodes[index]
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = view.versions.get(domain, 1)
    schema = _schema(node.op_type, version, domain)
    if schema is None:
        return f"ONNX does not define {domain or 'ai.onnx'}.{node.op_type}, so nothing is known of it in {small}"
    if node.op_type in _TENSORRT_LACKS.get(small, ()):
        return f"TensorRT's {node.op_type} has no {small}"
    inputs = _changing(node, schema, tuple(node.input), tuple(schema.inputs), view, small)
    outputs = _changing(node, schema, tuple(node.output), tuple(schema.outputs), view, small)
    results = [position for position, name in enumerate(node.output) if view.is_float32(name)]
    operands = [position for position, name in enumerate(node.input) if view.is_float32(name)]
    if (results and results[0] in outputs) or (not results and operands and operands[0] in inputs):
        return Reducible(inputs, outputs)
    return f"{node.op_type} of opset {version} has no {small}"


def _changing(
    node: onnx.NodeProto,
    schema: onnx.defs.OpSchema,
    names: tuple[str, ...],
    parameters: tuple[onnx.defs.OpSchema.FormalParameter, ...],
    view: View,
    small: str,
) -> frozenset[int]:
    allowed = {held.type_param_str: held.allowed_type_strs for held in schema.type_constraints}
    found: set[int] = set()
    for position, name in enumerate(names):
        variable = parameters[min(position, len(parameters) - 1)].type_str
        if view.is_float32(name) and (node.op_type, variable) not in _STAYS and f"tensor({small})" in allowed.get(variable, ()):
            found.add(position)
    return frozenset(found)


@cache
def _schema(operator: str, version: int, domain: str) -> onnx.defs.OpSchema | None:
    from onnx import defs

    try:
        return defs.get_schema(operator, version, domain)
    except defs.SchemaError:
        return None
