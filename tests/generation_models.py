"""Tiny random models of text generation: decoders as graphs, and the nodes around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

VOCABULARY, HIDDEN, HEADS, SIZE, PLACES = 13, 8, 2, 4, 32
_FLOAT, _INT32 = TensorProto.FLOAT, TensorProto.INT32


class _Graph:
    """Nodes and weights of one graph, whose values have a prefix of their own."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._random = np.random.default_rng(seed)

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self._random.standard_normal(shape).astype(np.float32) * np.float32(scale))

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(array), name))
        return name

    def graph(self, name: str, inputs: Mapping[str, tuple[int, list[Any]]], outputs: Mapping[str, tuple[int, list[Any]]]) -> GraphProto:
        def infos(values: Mapping[str, tuple[int, list[Any]]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in values.items()]

        return helper.make_graph(self.nodes, name, infos(inputs), infos(outputs), self.weights)

    def embedded(self, tokens: str, positions: str | None = None) -> str:
        hidden = self.add("Gather", [self.weight(VOCABULARY, HIDDEN), tokens])
        if positions is None:
            return hidden
        return self.add("Add", [hidden, self.add("Gather", [self.weight(PLACES, HIDDEN), positions])])

    def heads(self, hidden: str) -> str:
        """A projection in heads: (batch, heads, length, size)."""
        projected = self.add("MatMul", [hidden, self.weight(HIDDEN, HIDDEN, scale=0.6)])
        split = self.add("Reshape", [projected, self.constant(np.array([0, 0, HEADS, SIZE]))])
        return self.add("Transpose", [split], perm=[0, 2, 1, 3])

    def bias(self, mask: str) -> str:
        """-1e4 where the int32 mask (batch, keys) is 0: (batch, 1, 1, keys)."""
        missing = self.add("Sub", [self.constant(np.array(1, np.float32)), self.add("Cast", [mask], to=_FLOAT)])
        scaled = self.add("Mul", [missing, self.constant(np.array(-1e4, np.float32))])
        return self.add("Unsqueeze", [scaled, self.constant(np.array([1, 2]))])

    def attended(self, hidden: str, key: str, value: str, bias: str | None) -> str:
        """The hidden states plus what they attend to."""
        scores = self.add("MatMul", [self.heads(hidden), self.add("Transpose", [key], perm=[0, 1, 3, 2])])
        if bias is not None:
            scores = self.add("Add", [scores, bias])
        context = self.add("MatMul", [self.add("Softmax", [scores], axis=-1), value])
        joined = self.add("Reshape", [self.add("Transpose", [context], perm=[0, 2, 1, 3]), self.constant(np.array([0, 0, HIDDEN]))])
        return self.add("Tanh", [self.add("Add", [hidden, joined])])

    def logits(self, hidden: str) -> None:
        self.add("MatMul", [hidden, self.weight(HIDDEN, VOCABULARY, scale=2.0)], "logits")


def gpt_decoder(seed: int = 0, layers: int = 2) -> GraphProto:
    """A decoder with one past tensor a layer, (2, batch, heads, length, size)."""
    g = _Graph(seed)
    hidden, bias = g.embedded("input_ids", "position_ids"), g.bias("attention_mask")
    for layer in range(layers):
        pair = [g.add("Unsqueeze", [g.heads(hidden), g.constant(np.array([0]))]) for _ in range(2)]
        present = g.add("Concat", [f"past_{layer}", g.add("Concat", pair, axis=0)], f"present_{layer}", axis=3)
        key, value = (g.add("Gather", [present, g.constant(np.array(i))], axis=0) for i in range(2))
        hidden = g.attended(hidden, key, value, bias)
    g.logits(hidden)
    tokens = {name: (_INT32, ["batch", "length"]) for name in ("input_ids", "position_ids")}
    mask = {"attention_mask": (_INT32, ["batch", "total"])}
    past = {f"past_{i}": (_FLOAT, [2, "batch", HEADS, "past", SIZE]) for i in range(layers)}
    present_types = {f"present_{i}": (_FLOAT, [2, "batch", HEADS, "total", SIZE]) for i in range(layers)}
    return g.graph("decoder", {**tokens, **mask, **past}, {"logits": (_FLOAT, ["batch", "length", VOCABULARY]), **present_types})


_ACROSS = ["batch", HEADS, "encoded", SIZE]


def _named(kind: str, layers: int) -> list[str]:
    """Names of keys and values, layer by layer."""
    return [f"{part}_{kind}_{layer}" for layer in range(layers) for part in ("key", "value")]


def _decoded(g: _Graph, tokens: str, past: Mapping[str, str], across: Mapping[str, str], bias: str | None, layers: int) -> None:
    """The decoder's layers, with outputs present_key_self_0, … and logits."""
    hidden = g.embedded(tokens)
    for layer in range(layers):
        own = {}
        for part in ("key", "value"):
            name = f"{part}_self_{layer}"
            fresh = g.heads(hidden)
            inputs = [past[name], fresh] if past else [fresh]
            own[part] = g.add("Concat", inputs, f"present_{name}", axis=2)
        hidden = g.attended(hidden, own["key"], own["value"], None)
        hidden = g.attended(hidden, across[f"key_cross_{layer}"], across[f"value_cross_{layer}"], bias)
    g.logits(hidden)


def encoder(seed: int = 0, layers: int = 2, first_step: bool = True, features: int = 0) -> GraphProto:
    """An encoder that gives each layer's keys and values to attend across to.

    Args:
        first_step: whether it takes decoder_input_ids too, and gives the decoder's first step before them.
        features: size of its inputs where these are no tokens but features, without a mask.
    """
    g = _Graph(seed)
    if features:
        hidden = g.add("MatMul", [g.add("Transpose", ["encoder_input_ids"], perm=[0, 2, 1]), g.weight(features, HIDDEN)])
    else:
        hidden = g.embedded("encoder_input_ids")
    bias = None if features else g.bias("encoder_attention_mask")
    hidden = g.add("Identity", [g.attended(hidden, g.heads(hidden), g.heads(hidden), bias)], "encoder_hidden_states")
    across = {name: g.add("Identity", [g.heads(hidden)], f"present_{name}") for name in _named("cross", layers)}
    inputs: dict[str, tuple[int, list[Any]]] = {"encoder_input_ids": (_INT32, ["batch", "encoded"])}
    if features:
        inputs = {"encoder_input_ids": (_FLOAT, ["batch", features, "encoded"])}
    else:
        inputs["encoder_attention_mask"] = (_INT32, ["batch", "encoded"])
    outputs: dict[str, tuple[int, list[Any]]] = {}
    if first_step:
        inputs["decoder_input_ids"] = (_INT32, ["batch", "start"])
        _decoded(g, "decoder_input_ids", {}, across, bias, layers)
        outputs = {"logits": (_FLOAT, ["batch", "start", VOCABULARY]), "encoder_hidden_states": (_FLOAT, ["batch", "encoded", HIDDEN])}
        outputs |= {f"present_{name}": (_FLOAT, ["batch", HEADS, "start", SIZE]) for name in _named("self", layers)}
    outputs |= {f"present_{name}": (_FLOAT, _ACROSS) for name in across}
    return g.graph("encoder", inputs, outputs)


def encoded_decoder(seed: int = 0, layers: int = 2, hidden_states: bool = False, masked: bool = True, one_token: bool = True) -> GraphProto:
    """A decoder that goes on behind `encoder`; with `one_token` it is given only the last token of each sequence."""
    g = _Graph(seed + 100)
    across = {name: f"past_{name}" for name in _named("cross", layers)}
    past = {name: f"past_{name}" for name in _named("self", layers)}
    tokens = "input_ids"
    if not one_token:
        ends = [g.constant(np.array([n])) for n in (-1, 2**31)]
        tokens = g.add("Slice", ["input_ids", *ends, g.constant(np.array([1]))])
    _decoded(g, tokens, past, across, g.bias("encoder_attention_mask") if masked else None, layers)
    inputs: dict[str, tuple[int, list[Any]]] = {"input_ids": (_INT32, ["batch", 1 if one_token else "length"])}
    if masked:
        inputs["encoder_attention_mask"] = (_INT32, ["batch", "encoded"])
    if hidden_states:
        inputs["encoder_hidden_states"] = (_FLOAT, ["batch", "encoded", HIDDEN])
    inputs |= {name: (_FLOAT, ["batch", HEADS, "past", SIZE]) for name in past.values()}
    inputs |= dict.fromkeys(across.values(), (_FLOAT, _ACROSS))
    outputs: dict[str, tuple[int, list[Any]]] = {"logits": (_FLOAT, ["batch", 1, VOCABULARY])}
    outputs |= {f"present_{name}": (_FLOAT, ["batch", HEADS, "total", SIZE]) for name in past}
    return g.graph("decoder", inputs, outputs)


def generation_model(operator: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], **attributes: Any) -> ModelProto:
    """A model of one generation node. Inputs whose name begins with "-" are left out; their arrays are not read."""
    names = ["" if name.startswith("-") else name for name in inputs]
    node = helper.make_node(operator, names, outputs, domain="com.microsoft", **attributes)
    kinds = {"sequences": _INT32}
    graph = helper.make_graph(
        [node],
        "generation",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
            if not name.startswith("-")
        ],
        [helper.make_tensor_value_info(name, kinds.get(name, _FLOAT), None) for name in outputs if name],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)
