"""Standard nodes whose outputs have the types of a custom node's, so that ONNX's inference goes on behind it.

Only types and shapes are those of the custom operator, not values. Source: onnxruntime's ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnxgpu.model_file import quantized_stand_ins

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_FLOAT, _UINT32 = 1, 12
_SAME_AS_FIRST = (
    "Affine",
    "BiasAdd",
    "BiasGelu",
    "BiasSoftmax",
    "FastGelu",
    "Gelu",
    "GroupNorm",
    "ImageScaler",
    "Inverse",
    "LayerNormalization",
    "MRotaryEmbedding",
    "MoE",
    "ParametricSoftplus",
    "QLinearLeakyRelu",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QMoE",
    "QuickGelu",
    "RotaryEmbedding",
    "SampleOp",
    "Scale",
    "ScaledTanh",
    "SimplifiedLayerNormalization",
)


@dataclass
class Draft:
    """A custom node with the names of its values, and the nodes that stand in for it.

    Attributes:
        free: (name, element type, shape) of invented inputs that only their shape matters of.
    """

    node: ir.Node
    inputs: Sequence[str]
    outputs: Sequence[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    free: list[tuple[str, int, tuple[int | None, ...]]] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a standard node and give the name of its output."""
        import onnx

        name = output or f"{self.outputs[0]}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def free_matrix(self, rows: int | None, columns: int | None) -> str:
        """An invented matrix of this shape."""
        name = f"{self.outputs[0]}_free"
        self.free.append((name, _FLOAT, (rows, columns)))
        return name

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_int()

    def rank(self, index: int) -> int | None:
        """How many dimensions an input has, if that is known."""
        shape = _shape(self.node, index)
        return None if shape is None else len(shape)

    def element_type(self, index: int) -> int:
        """The element type of an input, float if it is not known."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        return int(value.dtype) if value is not None and value.dtype is not None else _FLOAT


def stand_in(node: ir.Node, inputs: Sequence[str], outputs: Sequence[str]) -> Draft | None:
    """Standard nodes for a custom `node`, or None where there are none; outputs they do not give stay unknown."""
    rule = _RULES.get(node.op_type)
    if node.domain != "com.microsoft" and (node.domain or rule not in (_like_first, _whether)):
        return None
    if rule is None or not inputs or not outputs or not inputs[0] or not outputs[0]:
        return None
    draft = Draft(node, inputs, outputs)
    rule(draft)
    return draft if draft.nodes else None


def _shape(node: ir.Node, index: int) -> tuple[int | None, ...] | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else None for d in value.shape)


def _like_first(draft: Draft) -> None:
    draft.add("Identity", draft.inputs[:1], draft.outputs[0])


def _copies(*pairs: tuple[int, int]) -> Callable[[Draft], None]:
    """A rule for outputs that have the type of an input each: (input, output); pairs of which one is left out are passed over."""

    def rule(draft: Draft) -> None:
        for source, target in pairs:
            if source < len(draft.inputs) and target < len(draft.outputs) and draft.inputs[source] and draft.outputs[target]:
                draft.add("Identity", [draft.inputs[source]], draft.outputs[target])

    return rule


def _linear_attention(draft: Draft) -> None:
    value, heads = _shape(draft.node, 2), draft.integer("kv_num_heads", 1)
    width = None if value is None or value[-1] is None else value[-1] // heads * max(heads, draft.integer("q_num_heads"))
    draft.add("MatMul", [draft.inputs[0], draft.free_matrix(None, width)], draft.outputs[0])
    _copies((3, 1))(draft)


def _skip_normalization(draft: Draft) -> None:
    _like_first(draft)
    if len(draft.outputs) > 3 and draft.outputs[3]:
        draft.add("Identity", draft.inputs[:1], draft.outputs[3])


def _like_query(draft: Draft) -> None:
    if len(draft.inputs) > 1 and draft.inputs[1]:
        _like_first(draft)
    else:
        draft.add("MatMul", [draft.inputs[0], draft.free_matrix(None, None)], draft.outputs[0])


def _attention(draft: Draft) -> None:
    weight = _shape(draft.node, 1)
    sizes = draft.node.attributes.get("qkv_hidden_sizes")
    width = sizes.as_ints()[2] if sizes is not None else weight[1] // 3 if weight and weight[1] else None
    draft.add("MatMul", [draft.inputs[0], draft.free_matrix(None, width)], draft.outputs[0])


def _fused_matmul(draft: Draft) -> None:
    transposed = [draft.integer("transA"), draft.integer("transB")]
    if draft.integer("transBatchA") or draft.integer("transBatchB"):
        return
    if any(t and draft.rank(i) is None for i, t in enumerate(transposed)):
        left, right = ("...ji" if transposed[0] else "...ij"), ("...kj" if transposed[1] else "...jk")
        draft.add("Einsum", draft.inputs[:2], draft.outputs[0], equation=f"{left},{right}->...ik")
        return
    draft.add("MatMul", [_transposed(draft, i) if t else draft.inputs[i] for i, t in enumerate(transposed)], draft.outputs[0])


def _transposed(draft: Draft, index: int) -> str:
    rank = draft.rank(index) or 0
    if rank < 2:
        return draft.inputs[index]
    return draft.add("Transpose", [draft.inputs[index]], perm=[*range(rank - 2), rank - 1, rank - 2])


def _matmul_nbits(draft: Draft) -> None:
    draft.add("MatMul", [draft.inputs[0], draft.free_matrix(draft.integer("K"), draft.integer("N"))], draft.outputs[0])


def _matmul_to_float(draft: Draft) -> None:
    product = draft.add("MatMul", draft.inputs[:2])
    draft.add("Cast", [product], draft.outputs[0], to=draft.element_type(2))


def _matmul(draft: Draft) -> None:
    draft.add("MatMul", draft.inputs[:2], draft.outputs[0])


def _embedding(draft: Draft) -> None:
    if len(draft.inputs) > 2:
        draft.add("Gather", [draft.inputs[2], draft.inputs[0]], draft.outputs[0])


def _without_activation(draft: Draft) -> None:
    """FusedConv and FusedGemm: the standard operator, and an activation that changes no shape."""
    operator = draft.node.op_type.removeprefix("Fused")
    kept = {n: a.value for n, a in draft.node.attributes.items() if not n.startswith("activation")}
    draft.add(operator, draft.inputs[:3], draft.outputs[0], **kept)


def _product_of_two(draft: Draft) -> None:
    draft.add("Mul", draft.inputs[:2], draft.outputs[0])


def _quantized_pair(draft: Draft) -> None:
    draft.add("Add", [draft.inputs[0], draft.inputs[3]], draft.outputs[0])


def _quantize(draft: Draft) -> None:
    draft.add("Cast", draft.inputs[:1], draft.outputs[0], to=draft.element_type(2) if len(draft.inputs) > 2 else 2)


def _dequantize(draft: Draft) -> None:
    draft.add("Cast", draft.inputs[:1], draft.outputs[0], to=draft.element_type(1))


def _biased_dropout(draft: Draft) -> None:
    _like_first(draft)
    if len(draft.outputs) > 1 and draft.outputs[1]:
        draft.add("Equal", [draft.inputs[0], draft.inputs[0]], draft.outputs[1])


def _bitmask_dropout(draft: Draft) -> None:
    _like_first(draft)
    if len(draft.outputs) > 1 and draft.outputs[1]:
        name = f"{draft.outputs[1]}_free"
        draft.free.append((name, _UINT32, (None,)))
        draft.add("Identity", [name], draft.outputs[1])


def _half_of_last(draft: Draft) -> None:
    shape = _shape(draft.node, 0)
    half = None if not shape or shape[-1] is None else shape[-1] // 2
    draft.add("MatMul", [draft.inputs[0], draft.free_matrix(None, half)], draft.outputs[0])


def _transform(draft: Draft) -> None:
    shape = _shape(draft.node, 0)
    count = None if not shape or shape[-1] is None else shape[-1] // 2 + 1
    draft.add("Einsum", [draft.inputs[0], draft.free_matrix(count, 2)], draft.outputs[0], equation="...i,jk->...jk")


def _inverse_transform(draft: Draft) -> None:
    shape = _shape(draft.node, 0)
    count = None if not shape or len(shape) < 2 or shape[-2] is None else 2 * (shape[-2] - 1)
    draft.add("Einsum", [draft.inputs[0], draft.free_matrix(count, None)], draft.outputs[0], equation="...ij,kl->...k")


def _relative_bias(draft: Draft) -> None:
    name = f"{draft.outputs[0]}_free"
    draft.free.append((name, _FLOAT, (1, None, None)))
    draft.add("Einsum", [draft.inputs[0], name], draft.outputs[0], equation="bh,axy->ahxy")


def _gated_bias(draft: Draft) -> None:
    if draft.rank(0) == 3:
        draft.add("Einsum", [draft.inputs[0], draft.inputs[2]], draft.outputs[0], equation="bld,ahxy->bhxy")


def _whether(draft: Draft) -> None:
    draft.add("Equal", [draft.inputs[0], draft.inputs[0]], draft.outputs[0])


_RULES: dict[str, Callable[[Draft], None]] = {
    **dict.fromkeys((*_SAME_AS_FIRST, *quantized_stand_ins.LIKE_FIRST), _like_first),
    **quantized_stand_ins.RULES,
    "Attention": _attention,
    "BiasDropout": _biased_dropout,
    "BiasSplitGelu": _half_of_last,
    "BitmaskBiasDropout": _bitmask_dropout,
    "BitmaskDropout": _bitmask_dropout,
    "CausalConvWithState": _copies((0, 0), (3, 1)),
    "ComplexMul": _product_of_two,
    "ComplexMulConj": _product_of_two,
    "DecoderMaskedMultiHeadAttention": _like_query,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeMatMul": _matmul,
    "EmbedLayerNormalization": _embedding,
    "FusedConv": _without_activation,
    "FusedGemm": _without_activation,
    "FusedMatMul": _fused_matmul,
    "GatedDeltaNet": _copies((2, 0), (6, 1)),
    "GatedRelativePositionBias": _gated_bias,
    "GemmaRotaryEmbedding": _copies((1, 0), (3, 1)),
    "GroupQueryAttention": _like_query,
    "Irfft": _inverse_transform,
    "LinearAttention": _linear_attention,
    "LinearAttentionGate": _copies((0, 0), (3, 1)),
    "MatMulIntegerToFloat": _matmul_to_float,
    "MatMulNBits": _matmul_nbits,
    "MultiHeadAttention": _like_query,
    "NGramRepeatBlock": _copies((1, 0)),
    "QLinearAdd": _quantized_pair,
    "QLinearMul": _quantized_pair,
    "QuantizeLinear": _quantize,
    "RegexFullMatch": _whether,
    "RelativePositionBias": _relative_bias,
    "Rfft": _transform,
    "SkipLayerNormalization": _skip_normalization,
    "SkipSimplifiedLayerNormalization": _skip_normalization,
    "SparseAttention": _like_query,
    "TransposeMatMul": _fused_matmul,
    "VarlenCausalConvWithState": _copies((0, 0), (4, 1)),
}
