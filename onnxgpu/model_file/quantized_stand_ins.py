"""Stand-ins (see stand_ins.py) for onnxruntime's operators on quantised, channels-last and branched tensors, and for its hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxgpu.model_file.stand_ins import Draft

_FLOAT, _INT32, _UINT16, _UINT32 = 1, 6, 4, 12

LIKE_FIRST = ("BranchwiseRMSNorm", "GatedAdd", "GatedRMSNorm", "HyperConnectionPostMix", "ScaledSiLU")


def _size(draft: Draft, index: int, axis: int) -> int | None:
    value = draft.node.inputs[index] if index < len(draft.node.inputs) else None
    size = value.shape[axis] if value is not None and value.shape is not None and len(value.shape) else None
    return size if isinstance(size, int) else None


def _each_like_first(draft: Draft) -> None:
    for output in draft.outputs:
        if output:
            draft.add("Identity", draft.inputs[:1], output)


def _as_float(draft: Draft, index: int) -> str:
    return draft.add("Cast", [draft.inputs[index]], to=_FLOAT)


def _product(draft: Draft, columns: int | None, element_type: int) -> None:
    """The first input times a matrix of so many columns."""
    product = draft.add("MatMul", [_as_float(draft, 0), draft.free_matrix(None, columns)])
    draft.add("Cast", [product], draft.outputs[0], to=element_type)


def _packed_projection(draft: Draft) -> None:
    """QAttention: the weights are three projections of the output's width."""
    width = _size(draft, 1, -1)
    _product(draft, None if width is None else width // 3, draft.element_type(2))


def _weights_in_normal_floats(draft: Draft) -> None:
    """MatMulBnb4: (N, K) weights, transposed unless transB is 0."""
    _product(draft, draft.integer("N" if draft.integer("transB", 1) else "K"), draft.element_type(0))


def _weights_of_given_shape(draft: Draft) -> None:
    """MatMulFpQ4: the third input is (K, N)."""
    value = draft.node.inputs[2] if len(draft.node.inputs) > 2 else None
    shape = None if value is None or value.const_value is None else value.const_value.numpy().reshape(-1)
    _product(draft, None if shape is None or shape.size != 2 else int(shape[1]), draft.element_type(0))


def _wide_integers(draft: Draft) -> None:
    unsigned = draft.element_type(0) == draft.element_type(1) == _UINT16
    product = draft.add("MatMul", [_as_float(draft, 0), _as_float(draft, 1)])
    draft.add("Cast", [product], draft.outputs[0], to=_UINT32 if unsigned else _INT32)


def _hash(draft: Draft) -> None:
    draft.add("Cast", draft.inputs[:1], draft.outputs[0], to=_UINT32 if draft.integer("positive", 1) else _INT32)


def _token_hashes(draft: Draft) -> None:
    depth = draft.integer("max_ngram_size") - 1
    equation = "bs,xk->bsk" if draft.node.op_type == "NGramHashMapping" else "t,xk->tk"
    hashes = draft.free_matrix(None, depth * draft.integer("n_head_per_ngram"))
    draft.add("Einsum", [draft.inputs[0], hashes], draft.outputs[0], equation=equation)


def _reduced_branches(draft: Draft) -> None:
    branches = draft.integer("num_branches")
    if not branches:
        draft.add("Einsum", draft.inputs[:1], draft.outputs[0], equation="...ch->...h")
        return
    width = _size(draft, 0, -1)
    draft.add("MatMul", [draft.inputs[0], draft.free_matrix(None, None if width is None else width // branches)], draft.outputs[0])


def _quantized_choice(draft: Draft) -> None:
    if len(draft.inputs) > 4:
        draft.add("Where", [draft.inputs[0], draft.inputs[1], draft.inputs[4]], draft.outputs[0])


def _quantized_rows(draft: Draft) -> None:
    """QEmbedLayerNormalization: rows of the table of words."""
    if len(draft.inputs) > 2:
        draft.add("Gather", [_as_float(draft, 2), draft.inputs[0]], draft.outputs[0])


def _quantized_gather(draft: Draft) -> None:
    """GatherBlockQuantized: elements below 8 bits lie side by side in uint8 data."""
    gathered = draft.add("Gather", [_as_float(draft, 0), draft.inputs[1]], axis=draft.integer("gather_axis"))
    packed = 8 // draft.integer("bits", 4) if draft.element_type(0) == 2 else 1
    if packed > 1:
        width = _size(draft, 0, -1)
        gathered = draft.add("MatMul", [gathered, draft.free_matrix(None, None if width is None else width * packed)])
    draft.add("Cast", [gathered], draft.outputs[0], to=draft.element_type(2))


def _over_channels_last(draft: Draft, operator: str, inputs: Sequence[str], element_type: int, last: bool) -> None:
    rank = draft.rank(0)
    if rank is None:
        return
    ignored = ("activation", "activation_params", "channels_last")
    kept = {n: a.value for n, a in draft.node.attributes.items() if n not in ignored}
    first = _as_float(draft, 0)
    first = draft.add("Transpose", [first], perm=[0, rank - 1, *range(1, rank - 1)]) if last else first
    result = draft.add(operator, [first, *inputs], **kept)
    result = draft.add("Transpose", [result], perm=[0, *range(2, rank), 1]) if last else result
    draft.add("Cast", [result], draft.outputs[0], to=element_type)


def _convolution(draft: Draft) -> None:
    _over_channels_last(draft, "Conv", draft.inputs[1:2], draft.element_type(0), True)


def _quantized_convolution(draft: Draft) -> None:
    if len(draft.inputs) > 7:
        _over_channels_last(draft, "Conv", [_as_float(draft, 3)], draft.element_type(7), bool(draft.integer("channels_last")))


def _pool(draft: Draft) -> None:
    _over_channels_last(draft, "MaxPool", [], draft.element_type(0), True)


def _quantized_pool(draft: Draft) -> None:
    _over_channels_last(draft, "AveragePool", [], draft.element_type(0), bool(draft.integer("channels_last")))


RULES: dict[str, Callable[[Draft], None]] = {
    "EngramGate": _each_like_first,
    "GatherBlockQuantized": _quantized_gather,
    "HyperConnectionPreMix": _reduced_branches,
    "MatMulBnb4": _weights_in_normal_floats,
    "MatMulFpQ4": _weights_of_given_shape,
    "MatMulInteger16": _wide_integers,
    "MurmurHash3": _hash,
    "NGramHashMapping": _token_hashes,
    "NhwcConv": _convolution,
    "NhwcFusedConv": _convolution,
    "NhwcMaxPool": _pool,
    "QAttention": _packed_projection,
    "QEmbedLayerNormalization": _quantized_rows,
    "QLinearAveragePool": _quantized_pool,
    "QLinearConv": _quantized_convolution,
    "QLinearWhere": _quantized_choice,
    "SkipGroupNorm": _each_like_first,
    "VarlenNGramHashMapping": _token_hashes,
}
