"""Normalisation, dropout, attention, losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases.tolerances import tolerance
from tests.schemas.draw import Draw
from tests.schemas.examples import Example, generates


def epsilon(draw: Draw) -> dict[str, Any]:
    return draw.some({"epsilon": lambda: draw.among([1e-3, 1e-2, 0.5])})


def single(dtype: np.dtype) -> dict[str, Any]:
    """Tolerances for a result that is computed in float32, whatever its type."""
    rtol, atol = tolerance(np.dtype(np.float32))
    return {"rtol": rtol, "atol": atol} if dtype == np.float64 else {}


@generates("BatchNormalization")
def batch_normalization(draw: Draw) -> Example:
    """Testing and training mode; before opset 14 only testing mode is run by anyone."""
    dtype = draw.dtype("X")
    scale, moments = (draw.dtype(draw.schema.inputs[i].name) for i in (1, 3))
    x = draw.plain(dtype, draw.shape((2, 4), (1, 3)))
    channels = (x.shape[1],)
    inputs = [x, draw.plain(scale, channels), draw.plain(scale, channels), draw.plain(moments, channels)]
    inputs.append(draw.plain(moments, channels, 0.25, 3))
    attributes = {**epsilon(draw), **draw.some({"momentum": lambda: draw.among([0.5, 0.75])})}
    if draw.version < 7:
        attributes["is_test"] = 1
        if draw.version < 6:
            attributes["consumed_inputs"] = [0, 0, 0, 1, 1]
    if draw.version >= 14 and draw.flag():
        return Example(inputs, {**attributes, "training_mode": 1}, 3)
    return Example(inputs, attributes)


@generates("InstanceNormalization")
def instance_normalization(draw: Draw) -> Example:
    dtype = draw.dtype("input")
    x = draw.plain(dtype, draw.shape((3, 4), (1, 4)))
    return Example([x, draw.plain(dtype, x.shape[1:2]), draw.plain(dtype, x.shape[1:2])], epsilon(draw))


@generates("GroupNormalization")
def group_normalization(draw: Draw) -> Example:
    """Compared in float32's tolerance at most, the precision that stash_type gives to the first stage."""
    dtype = draw.dtype("X")
    groups, each = draw.integer(1, 2), draw.integer(1, 2)
    x = draw.plain(dtype, (draw.integer(1, 2), groups * each, *draw.shape((1, 2), (1, 3))))
    width = (groups,) if draw.version < 21 else (groups * each,)
    return Example([x, draw.plain(dtype, width), draw.plain(dtype, width)], {"num_groups": groups, **epsilon(draw)}, **single(dtype))


@generates("LayerNormalization", "RMSNormalization")
def layer_normalization(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    x = draw.plain(dtype, draw.shape((1, 3), (1, 4)))
    axis = draw.axis(x.ndim)
    scale = draw.schema.inputs[1].name
    inputs = [x, draw.plain(draw.dtype(scale), x.shape[axis:])]
    outputs = 1
    if draw.schema.name == "LayerNormalization":
        inputs += [draw.plain(dtype, x.shape[axis:])] if draw.flag() else []
        outputs = draw.integer(1, 3)
    return Example(inputs, {"axis": axis, **epsilon(draw)}, outputs, **single(dtype))


@generates("MeanVarianceNormalization")
def mean_variance_normalization(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("X"), draw.shape((4, 4), (2, 3)))
    return Example([x], draw.some({"axes": lambda: draw.among([[0, 2, 3], [2, 3], [1], [0, 1, 2, 3]])}))


@generates("Dropout")
def dropout(draw: Draw) -> Example:
    """What happens in training is random, so only its shape is compared."""
    dtype = draw.dtype("data")
    x = draw.anything(dtype, draw.shape())
    outputs = draw.integer(1, 2)
    if draw.version < 12:
        test = {"is_test": 1} if draw.version < 7 else {}
        return Example([x], test | draw.some({"ratio": lambda: 0.25}), outputs)
    ratio = np.array(draw.among([0.0, 0.25, 0.75]), draw.dtype("ratio"))
    forms: list[list[np.ndarray | None]] = [[], [ratio], [ratio, np.array(False)], [ratio, np.array(True)], [None, np.array(True)]]
    form = draw.among(forms)
    return Example([x, *form], {}, outputs, values=len(form) < 2 or not form[1])


@generates("Attention")
def attention(draw: Draw) -> Example:
    """Heads in the shape (4D) or as attributes (3D), grouped queries, masks of every rank, and a past."""
    dtype, value_type = draw.dtype("Q"), draw.dtype("V")
    batch, kv, group = draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 2)
    length, total, size, width = draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 3)
    heads = kv * group
    flat = draw.flag()

    def tensor(kind: np.dtype, count: int, steps: int, each: int) -> np.ndarray:
        return draw.plain(kind, (batch, steps, count * each) if flat else (batch, count, steps, each), -1, 1)

    inputs: list[np.ndarray | None] = [tensor(dtype, heads, length, size), tensor(dtype, kv, total, size)]
    inputs.append(tensor(value_type, kv, total, width))
    past = draw.integer(1, 2) if draw.flag() else 0
    shape = (batch, heads, length, past + total)
    mask_shape = draw.among([None, shape[2:], (1, 1, *shape[2:]), shape, (heads, *shape[2:])])
    inputs.append(None if mask_shape is None else draw.plain(draw.dtype("attn_mask"), mask_shape, -2, 2))
    if past:
        inputs += [draw.plain(dtype, (batch, kv, past, size), -1, 1), draw.plain(value_type, (batch, kv, past, width), -1, 1)]
    while inputs[-1] is None:
        inputs.pop()
    attributes: dict[str, Any] = {"q_num_heads": heads, "kv_num_heads": kv} if flat else {}
    attributes |= draw.some({"scale": lambda: 0.5, "softcap": lambda: 2.0, "qk_matmul_output_mode": lambda: draw.integer(0, 3)})
    attributes |= draw.some({"is_causal": lambda: draw.integer(0, 1)}) if not past or mask_shape is None else {}
    return Example(inputs, attributes, draw.among([1, 3, 4]) if past else draw.among([[True], [True, False, False, True]]))


@generates("RotaryEmbedding")
def rotary_embedding(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    batch, heads, length, half = draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 3), draw.integer(1, 2)
    flat, partial, positions = draw.flag(), draw.flag(), draw.flag()
    rotated = half * 2
    size = rotated + (2 if partial else 0)
    x = draw.plain(dtype, (batch, length, heads * size) if flat else (batch, heads, length, size))
    caches = [draw.plain(dtype, (5, half) if positions else (batch, length, half), -1, 1) for _ in range(2)]
    attributes = draw.some({"interleaved": lambda: draw.integer(0, 1)})
    attributes |= {"num_heads": heads} if flat else {}
    attributes |= {"rotary_embedding_dim": rotated} if partial else {}
    return Example([x, *caches, *([draw.generator.integers(0, 5, (batch, length))] if positions else [])], attributes)


@generates("FlexAttention", domain="ai.onnx.preview")
def flex_attention(draw: Draw) -> Example:
    dtype = draw.dtype("Q")
    batch, heads, length, total, size = (draw.integer(1, 2) for _ in range(5))
    q, k, v = (draw.plain(dtype, (batch, heads, steps, size), -1, 1) for steps in (length, total, total))
    return Example([q, k, v], draw.some({"scale": lambda: 0.5}))


@generates("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(draw: Draw) -> Example:
    first, second = (parameter.name for parameter in list(draw.schema.inputs)[:2])
    dtype, classes = draw.dtype(first), draw.integer(2, 4)
    batch, rest = draw.integer(1, 3), draw.shape((0, 2), (1, 2))
    labels = draw.generator.integers(0, classes, (batch, *rest)).astype(draw.dtype(second))
    inputs = [draw.plain(dtype, (batch, classes, *rest)), labels]
    inputs += [draw.plain(dtype, (classes,), 0.25, 2)] if draw.flag() else []
    attributes = draw.some({"reduction": lambda: draw.among(["mean", "sum", "none"]), "ignore_index": lambda: draw.integer(-1, classes)})
    ignored = attributes.get("ignore_index")
    if ignored is not None and not (labels != ignored).any():
        del attributes["ignore_index"]
    outputs = draw.integer(1, 2) if draw.schema.name == "SoftmaxCrossEntropyLoss" else 1
    return Example(inputs, attributes, outputs)
