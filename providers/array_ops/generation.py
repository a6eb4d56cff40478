"""BeamSearch, GreedySearch and Sampling: text generation around a decoder's graph.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Body, Operation, Subgraph, Value
from onnxgpu.providers.array_ops.beams import BeamSearchState
from onnxgpu.providers.array_ops.control_flow import ControlKernel
from onnxgpu.providers.array_ops.decoders import Decoder, EncodedDecoder, GptDecoder, prompt_mask
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.array_ops.nucleus import MinimalRandom, filtered_scores, sampled_tokens
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.timestamps import TimestampRules
from onnxgpu.providers.array_ops.token_scores import ScoreRules

_GPT, _ENCODED, _WHISPER = 0, 1, 2
_TIMESTAMPS = 1
_SPECIAL = ("beginning_timestamp", "no_timestamps", "start_of_lm", "decoder_start", "translate", "transcribe")
_BEAM_HOST = ("input_ids", "max_length", "min_length", "num_beams", "num_return_sequences", "decoder_input_ids", "logits_processor")
Choose = Callable[[Array], np.ndarray]


def _refused(operation: Operation) -> str | None:
    """Why the graphs are none that generation can run, or None."""
    decoder, encoder = operation.attributes.get("decoder"), operation.attributes.get("encoder")
    if not isinstance(decoder, Subgraph):
        return "needs a decoder"
    model_type = operation.attributes.get("model_type", _WHISPER if operation.operator == "WhisperBeamSearch" else _GPT)
    if model_type == _GPT:
        return GptDecoder.refusal(decoder)
    if model_type not in (_ENCODED, _WHISPER) or not operation.operator.endswith("BeamSearch"):
        return f"with model_type {model_type} is not implemented"
    starts = len(operation.inputs) > 10 and operation.inputs[10] is not None and model_type == _WHISPER
    if not isinstance(encoder, Subgraph) or (operation.attributes.get("decoder_start_token_id", -1) < 0 and not starts):
        return f"with model_type {model_type} needs an encoder and decoder_start_token_id"
    if operation.attributes.get("decoder_output_cross_qk"):
        return "with decoder_output_cross_qk is not implemented"
    return EncodedDecoder.refusal(decoder, masked=model_type == _ENCODED)


class _Generation(ControlKernel):
    """What the kernels share: inputs by name, rules for scores, and the decoder."""

    variadic = False

    def __init__(self, xp: Any, operation: Operation) -> None:
        super().__init__(xp, operation)
        self._name = operation.operator
        self._graphs = {name: value for name, value in operation.attributes.items() if isinstance(value, Subgraph)}
        self._eos_token, self._pad_token = (int(self._attributes[f"{kind}_token_id"]) for kind in ("eos", "pad"))

    def launch_with_bodies(self, inputs: Sequence[Value], bodies: Mapping[str, Body]) -> Sequence[Value]:
        """Run, with the graph attributes as callables keyed by name."""
        named = dict(zip(self.input_names, [*inputs, *[None] * (len(self.input_names) - len(inputs))], strict=True))
        return self._generated(named, bodies)[: len(self._declared)]

    @abstractmethod
    def _generated(self, inputs: Mapping[str, Value], bodies: Mapping[str, Body]) -> tuple[Value, ...]:
        """All outputs, from the inputs by name."""

    def _integer(self, inputs: Mapping[str, Value], name: str, default: int | None = None) -> int:
        if inputs[name] is None:
            if default is None:
                raise InvalidArgument(f"{self._name}: expected input {name!r}, which the node leaves out")
            return default
        return integer(inputs[name], self._name, name)

    def _number(self, inputs: Mapping[str, Value], name: str) -> float:
        return 1.0 if inputs[name] is None else float(inputs[name].reshape(-1)[0])

    def _rules(self, inputs: Mapping[str, Value], **more: Any) -> ScoreRules:
        penalty = self._number(inputs, "repetition_penalty")
        if penalty <= 0:
            raise InvalidArgument(f"{self._name}: expected repetition_penalty above 0, got {penalty}")
        return ScoreRules(
            repetition_penalty=penalty,
            no_repeat_ngram_size=int(self._attributes.get("no_repeat_ngram_size", 0)),
            vocabulary=inputs["vocab_mask"],
            first_vocabulary=inputs["prefix_vocab_mask"],
            min_length=self._integer(inputs, "min_length", 0),
            eos_token=self._eos_token,
            **more,
        )

    def _prompts(self, inputs: Mapping[str, Value], max_length: int) -> np.ndarray:
        prompts = np.asarray(inputs["input_ids"])
        if prompts.ndim != 2 or prompts.shape[1] >= max_length:
            raise InvalidArgument(
                f"{self._name}: expected input_ids (batch, length) shorter than max_length = {max_length}, got {list(prompts.shape)}"
            )
        return prompts.astype(np.int32)

    def _gpt(self, inputs: Mapping[str, Value], bodies: Mapping[str, Body], prompts: np.ndarray, beams: int) -> Decoder:
        mask = prompt_mask(prompts, self._pad_token, inputs["attention_mask"])
        tokens, mask = (np.repeat(x, beams, axis=0) for x in (prompts, mask))
        decoder = bodies["decoder"]
        return GptDecoder(self._xp, decoder, bodies.get("init_decoder", decoder), self._graphs["decoder"], tokens, mask, self._pad_token)


@operator("BeamSearch", domain="com.microsoft", host=_BEAM_HOST, when=_refused)
class BeamSearch(_Generation):
    """The best sequences of each prompt (batch, returned, max_length), their scores, and the scores of all tokens of each step."""

    input_names: tuple[str, ...] = (
        "input_ids",
        "max_length",
        "min_length",
        "num_beams",
        "num_return_sequences",
        "length_penalty",
        "repetition_penalty",
        "vocab_mask",
        "prefix_vocab_mask",
        "attention_mask",
        "decoder_input_ids",
        "logits_processor",
    )
    required_inputs = 2
    default_model_type = _GPT

    def __init__(self, xp: Any, operation: Operation) -> None:
        super().__init__(xp, operation)
        self._model_type = int(self._attributes.get("model_type", self.default_model_type))

    def _generated(self, inputs: Mapping[str, Value], bodies: Mapping[str, Body]) -> tuple[Value, ...]:
        xp, beams = self._xp, self._integer(inputs, "num_beams")
        max_length, returned = self._integer(inputs, "max_length"), self._integer(inputs, "num_return_sequences")
        if not 1 <= returned <= beams:
            raise InvalidArgument(f"{self._name}: expected num_return_sequences from 1 to num_beams = {beams}, got {returned}")
        starts, decoder = self._decoder(inputs, bodies, beams, max_length)
        if starts.shape[1] >= max_length:
            raise InvalidArgument(
                f"{self._name}: expected max_length above {starts.shape[1]}, the length of the beginning, got {max_length}"
            )
        rules, more_rules = self._rules(inputs, **self._more(inputs)), self._timestamps(inputs)
        state = BeamSearchState(
            starts,
            beams,
            eos_token=self._eos_token,
            pad_token=self._pad_token,
            length_penalty=self._number(inputs, "length_penalty"),
            early_stopping=bool(self._attributes.get("early_stopping", 0)),
        )
        steps = max_length - starts.shape[1]
        history: list[Array] = []
        logits = first = decoder.first()
        for step in range(steps):
            scores = rules.applied(xp, _log_softmax(xp, logits), state.sequences, step == 0)
            if more_rules is not None:
                scores = more_rules.applied(xp, scores, state.sequences)
            scores = state.with_totals(xp, scores)
            history.append(scores.reshape(len(starts), beams, -1))
            tokens, sources = state.advance(xp, scores)
            if state.done or step + 1 == steps:
                break
            logits = decoder.following(tokens, sources, state.sequences)
        sequences, best = state.results(returned, max_length)
        all_scores = self._history(history, steps) if self._wants(2) else None
        return xp.asarray(sequences), xp.asarray(best), all_scores, None, self._silence(first[::beams]) if self._wants(4) else None

    def _wants(self, output: int) -> bool:
        return len(self._declared) > output and self._declared[output] is not None

    def _silence(self, logits: Array) -> Array:
        """How likely the token for no speech is behind the beginning, (batch,)."""
        token = int(self._attributes.get("no_speech_token_id", -1))
        if not 0 <= token < logits.shape[1]:
            raise InvalidArgument(f"{self._name}: expected no_speech_token_id from 0 to {logits.shape[1] - 1}, got {token}")
        return self._xp.exp(_log_softmax(self._xp, logits)[:, token])

    def _more(self, inputs: Mapping[str, Value]) -> dict[str, Any]:
        """Further rules by name."""
        return {}

    def _timestamps(self, inputs: Mapping[str, Value]) -> TimestampRules | None:
        if self._model_type != _WHISPER or self._integer(inputs, "logits_processor", 0) != _TIMESTAMPS:
            return None
        ids = {name: int(self._attributes.get(f"{name}_token_id", -1)) for name in _SPECIAL}
        return TimestampRules(
            first_timestamp=ids["beginning_timestamp"],
            eos=self._eos_token,
            never=(ids["no_timestamps"], ids["start_of_lm"]),
            only_first=(ids["decoder_start"], ids["translate"], ids["transcribe"]),
        )

    def _history(self, history: Sequence[Array], steps: int) -> Array:
        """The scores of each step, (steps, batch, beams, vocabulary); zeros for steps that were not needed."""
        result = self._xp.zeros((steps, *history[0].shape), np.float32)
        result[: len(history)] = self._xp.stack(history)
        return result

    def _decoder(self, inputs: Mapping[str, Value], bodies: Mapping[str, Body], beams: int, max_length: int) -> tuple[np.ndarray, Decoder]:
        """What the sequences begin with, (batch, length), and the decoder."""
        if self._model_type == _GPT:
            prompts = self._prompts(inputs, max_length)
            return prompts, self._gpt(inputs, bodies, prompts, beams)
        tokens, mask = np.asarray(inputs["input_ids"]), None
        start = int(self._attributes.get("decoder_start_token_id", -1))
        starts = np.full((len(tokens), 1), start, np.int32)
        if self._model_type == _WHISPER:
            if inputs["decoder_input_ids"] is not None:
                starts = np.asarray(inputs["decoder_input_ids"]).astype(np.int32)
        else:
            given = inputs["attention_mask"]
            mask = _left_padding_mask(tokens, self._pad_token) if given is None else np.array(given.tolist(), np.int32)
        graphs = (self._graphs["encoder"], self._graphs["decoder"])
        return starts, EncodedDecoder(self._xp, bodies["encoder"], bodies["decoder"], graphs, self._xp.asarray(tokens), mask, starts, beams)


def _left_padding_mask(tokens: np.ndarray, pad_token: int) -> np.ndarray:
    """0 for padding before the first token of each row, 1 from there on; int32."""
    return (np.cumsum(tokens != pad_token, axis=1) > 0).astype(np.int32)


def _log_softmax(xp: Any, x: Array) -> Array:
    shifted = x - xp.max(x, axis=1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))


@operator("WhisperBeamSearch", domain="com.microsoft", host=_BEAM_HOST, when=_refused)
class WhisperBeamSearch(BeamSearch):
    """`BeamSearch` with Whisper's graphs, its rules for timestamps, and how likely it is that nothing is said (batch,)."""

    input_names = (*BeamSearch.input_names, "cross_qk_layer_head", "extra_decoding_ids", "temperature")
    default_model_type = _WHISPER

    def _more(self, inputs: Mapping[str, Value]) -> dict[str, Any]:
        return {"temperature": self._number(inputs, "temperature")}


class _OneSequence(_Generation):
    """Generation of one sequence for each prompt, token by token."""

    required_inputs = 2

    def _sequences(self, inputs: Mapping[str, Value], bodies: Mapping[str, Body], rules: ScoreRules, choose: Choose) -> Array:
        """The prompts with what follows, (batch, max_length); `choose` takes the scores to tokens."""
        max_length = self._integer(inputs, "max_length")
        prompts = self._prompts(inputs, max_length)
        decoder = self._gpt(inputs, bodies, prompts, 1)
        sequences, ended = prompts, np.zeros(len(prompts), bool)
        same = np.arange(len(prompts), dtype=np.int32)
        logits = decoder.first()
        for length in range(prompts.shape[1], max_length):
            tokens = choose(rules.applied(self._xp, logits, sequences, length == prompts.shape[1]))
            ended = ended | (tokens == self._eos_token)
            tokens = np.where(ended, self._pad_token, tokens).astype(np.int32)
            sequences = np.concatenate((sequences, tokens[:, None]), axis=1)
            if ended.all() or length + 1 == max_length:
                break
            logits = decoder.following(tokens, same, sequences)
        padding = ((0, 0), (0, max_length - sequences.shape[1]))
        return self._xp.asarray(np.pad(sequences, padding, constant_values=self._pad_token))


@operator("GreedySearch", domain="com.microsoft", host=("input_ids", "max_length", "min_length"), when=_refused)
class GreedySearch(_OneSequence):
    """Each prompt with the most likely tokens behind it, (batch, max_length)."""

    input_names = (
        "input_ids",
        "max_length",
        "min_length",
        "repetition_penalty",
        "vocab_mask",
        "prefix_vocab_mask",
        "attention_mask",
    )

    def _generated(self, inputs: Mapping[str, Value], bodies: Mapping[str, Body]) -> tuple[Value, ...]:
        def choose(scores: Array) -> np.ndarray:
            return np.array(self._xp.argmax(scores, axis=1).tolist(), np.int32)

        return (self._sequences(inputs, bodies, self._rules(inputs), choose),)


@operator(
    "Sampling",
    domain="com.microsoft",
    host=("input_ids", "max_length", "min_length", "seed"),
    when=_refused,
    deterministic=False,
)
class Sampling(_OneSequence):
    """Each prompt with drawn tokens behind it, (batch, max_length), and the last scores from which was drawn.

    The most likely tokens up to `top_p` together can be drawn. With a seed the draws are those of onnxruntime.
    """

    input_names = (*GreedySearch.input_names, "presence_mask", "seed")

    def _generated(self, inputs: Mapping[str, Value], bodies: Mapping[str, Body]) -> tuple[Value, ...]:
        given = self._attributes
        rules = self._rules(
            inputs,
            temperature=float(given.get("temperature", 1.0)),
            presence=inputs["presence_mask"],
            presence_penalty=float(given.get("presence_penalty", 0.0)),
        )
        random = MinimalRandom(None if inputs["seed"] is None else self._integer(inputs, "seed"))
        last: list[Array] = []

        def choose(scores: Array) -> np.ndarray:
            last[:] = [
                filtered_scores(
                    self._xp,
                    scores,
                    top_p=float(given.get("top_p", 0.0)),
                    filter_value=float(given.get("filter_value", -1e20)),
                    kept=int(given.get("min_tokens_to_keep", 0)),
                    custom=bool(given.get("custom", 0)),
                )
            ]
            return sampled_tokens(self._xp, last[0], random)

        sequences = self._sequences(inputs, bodies, rules, choose)
        return sequences, last[0]
