"""Decoders of text generation: what their graphs are given step by step, and the scores of next tokens they give.

A row is a beam of an element of the batch. Specs: the graphs that onnxruntime's BeamSearch and GreedySearch take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Body, Subgraph, Value
from onnxgpu.providers.array_ops.precision import widened

_GPT_INPUTS = 3


class Decoder(Protocol):
    """Gives the scores of next tokens (rows, vocabulary), float32."""

    def first(self) -> Array:
        """Scores behind the prompt."""

    def following(self, tokens: np.ndarray, sources: np.ndarray, sequences: np.ndarray) -> Array:
        """Scores behind `tokens` (rows,), which continue the sequences of the rows `sources` and end `sequences`."""


def last_scores(logits: Array, rows: int) -> Array:
    """Of logits (rows or batch, length, vocabulary) those of the last token, for each row: a batch's are repeated."""
    last = widened(logits)[:, -1]
    return last if last.shape[0] == rows else last.repeat(rows // last.shape[0], axis=0)


def prompt_mask(tokens: np.ndarray, pad_token: int, given: Array | None) -> np.ndarray:
    """0 for padding and 1 for the rest, as given or read off the prompt; int32."""
    return np.asarray(tokens != pad_token if given is None else np.array(given.tolist())).astype(np.int32)


class GptDecoder:
    """A decoder whose past is one tensor a layer, (2, rows, heads, length, D).

    Its graph takes input_ids, position_ids and attention_mask, all int32, and past_0, past_1, …; it gives logits, present_0, …

    Args:
        xp: array module.
        graph: the decoder's graph.
        first_graph: the graph for the prompt.
        declared: what is known of the decoder's inputs and outputs.
        tokens: (rows, length) int32, the prompts.
        mask: (rows, length) int32, what may be attended to.
        pad_token: positions are counted without it, whatever the mask says.
    """

    def __init__(
        self, xp: Any, graph: Body, first_graph: Body, declared: Subgraph, tokens: np.ndarray, mask: np.ndarray, pad_token: int
    ) -> None:
        self._xp, self._graph, self._first_graph = xp, graph, first_graph
        self._tokens, self._mask = tokens, mask
        self._counted = tokens != pad_token
        self._positions = self._counted.sum(axis=1, dtype=np.int32)
        self._past: list[Value] = [_empty_past(xp, info.shape, info.dtype, len(tokens)) for info in declared.inputs[_GPT_INPUTS:]]

    @staticmethod
    def refusal(declared: Subgraph) -> str | None:
        """Why a graph is none of these, or None."""
        if len(declared.inputs) != len(declared.outputs) + 2:
            return f"needs a decoder with two inputs more than outputs, this one has {len(declared.inputs)} and {len(declared.outputs)}"
        shape = declared.inputs[_GPT_INPUTS].shape if len(declared.inputs) > _GPT_INPUTS else None
        if shape is None or len(shape) != 5 or not isinstance(shape[2], int) or not isinstance(shape[4], int):
            return "needs a decoder whose past_0 declares its heads and their size, (2, batch, heads, length, size)"
        return None

    def first(self) -> Array:
        """See `Decoder`."""
        positions = np.where(self._counted, np.cumsum(self._counted, axis=1) - 1, 0)
        return self._run(self._first_graph, self._tokens, positions)

    def following(self, tokens: np.ndarray, sources: np.ndarray, sequences: np.ndarray) -> Array:
        """See `Decoder`."""
        rows = self._xp.asarray(sources)
        if not (sources == np.arange(len(sources))).all():
            self._past = [past[:, rows] for past in self._past]
        self._mask = np.concatenate((self._mask, np.ones((len(tokens), 1), np.int32)), axis=1)
        scores = self._run(self._graph, tokens[:, None], self._positions[:, None])
        self._positions = self._positions + np.int32(1)
        return scores

    def _run(self, graph: Body, tokens: np.ndarray, positions: np.ndarray) -> Array:
        inputs = (np.ascontiguousarray(x, np.int32) for x in (tokens, positions, self._mask))
        logits, *self._past = graph(*map(self._xp.asarray, inputs), *self._past)
        return last_scores(logits, len(tokens))


def _empty_past(xp: Any, shape: Sequence[Any] | None, dtype: np.dtype | None, rows: int) -> Array:
    sizes = shape or ()
    return xp.zeros((2, rows, sizes[2], 0, sizes[4]), dtype or np.dtype(np.float32))


class EncodedDecoder:
    """A decoder that attends to an encoder's output: T5's form, with keys and values of each layer (rows, heads, length, D).

    The encoder takes encoder_input_ids and encoder_attention_mask and gives keys and values of all layers to attend across to;
    in its older form it takes decoder_input_ids too, and gives logits, encoder_hidden_states and the decoder's first keys and
    values before them. The decoder takes input_ids, encoder_attention_mask, encoder_hidden_states (optional), its own past of all
    layers and the encoder's keys and values, and gives logits and its present.

    Whisper's graphs have no masks: then the encoder takes encoder_input_ids (features) and decoder_input_ids.
    """

    def __init__(
        self,
        xp: Any,
        encoder: Body,
        decoder: Body,
        declared: tuple[Subgraph, Subgraph],
        tokens: Array,
        mask: np.ndarray | None,
        starts: np.ndarray,
        beams: int,
    ) -> None:
        self._xp, self._encoder, self._decoder = xp, encoder, decoder
        self._encoder_declared, self._declared = declared
        self._tokens, self._mask, self._starts, self._beams = tokens, mask, starts, beams
        self._own_count = len(self._declared.outputs) - 1
        self._fixed_front: list[Array] = []
        self._own: list[Array] = []
        self._across: list[Array] = []

    @staticmethod
    def refusal(declared: Subgraph, masked: bool) -> str | None:
        """Why a decoder's graph is none of these, or None."""
        before = 1 + masked + _takes_hidden_states(declared)
        if len(declared.outputs) > 1 and len(declared.inputs) == before + 2 * (len(declared.outputs) - 1):
            return None
        return (
            f"needs a decoder with input_ids{', encoder_attention_mask' if masked else ''} and perhaps encoder_hidden_states before two "
            f"inputs for each present, this one has {len(declared.inputs)} inputs and {len(declared.outputs)} outputs"
        )

    def first(self) -> Array:
        """See `Decoder`."""
        xp = self._xp
        masks = [] if self._mask is None else [xp.asarray(self._mask)]
        with_starts = len(self._encoder_declared.inputs) > 1 + len(masks)
        outputs = list(self._encoder(self._tokens, *masks, *([xp.asarray(self._starts)] if with_starts else [])))
        self._fixed_front = [x.repeat(self._beams, axis=0) for x in masks]
        if _takes_hidden_states(self._declared):
            if not with_starts:
                raise InvalidArgument("BeamSearch: the decoder takes encoder_hidden_states, which this encoder does not give")
            self._fixed_front.append(outputs[1].repeat(self._beams, axis=0))
        rows = len(self._starts) * self._beams
        past = [x.repeat(self._beams, axis=0) for x in outputs[2 if with_starts else 0 :]]
        if with_starts:
            self._own, self._across = past[: self._own_count], past[self._own_count :]
            return last_scores(outputs[0], rows)
        self._across = past
        self._own = [xp.zeros((rows, x.shape[1], 0, x.shape[3]), x.dtype) for x in past[: self._own_count]]
        return self._run(self._starts.repeat(self._beams, axis=0))

    def following(self, tokens: np.ndarray, sources: np.ndarray, sequences: np.ndarray) -> Array:
        """See `Decoder`."""
        rows = self._xp.asarray(sources)
        self._own = [x[rows] for x in self._own]
        shape = self._declared.inputs[0].shape
        one_token = shape is not None and shape[1] == 1
        return self._run(tokens[:, None] if one_token else sequences)

    def _run(self, tokens: np.ndarray) -> Array:
        inputs = self._xp.asarray(np.ascontiguousarray(tokens, np.int32))
        logits, *self._own = self._decoder(inputs, *self._fixed_front, *self._own, *self._across)
        return last_scores(logits, len(tokens))


def _takes_hidden_states(decoder: Subgraph) -> bool:
    return any(value.name == "encoder_hidden_states" for value in decoder.inputs[1:3])
