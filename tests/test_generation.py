"""BeamSearch, GreedySearch and Sampling around tiny random decoders, side by side with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxgpu
from onnxgpu.errors import InvalidArgument, NotImplemented
from tests.cases.random_arrays import normal
from tests.cases.tolerances import assert_same
from tests.generation_models import VOCABULARY, encoded_decoder, encoder, generation_model, gpt_decoder
from tests.side_by_side import ort, session

_PROMPTS = np.array([[3, 5, 1, 7], [0, 0, 2, 4]], "int32")
_GREEDY = ("input_ids", "max_length", "min_length", "repetition_penalty", "vocab_mask", "prefix_vocab_mask", "attention_mask")
_SAMPLING = (*_GREEDY, "presence_mask", "seed")
_BEAMS = (
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
    "cross_qk_layer_head",
    "extra_decoding_ids",
    "temperature",
)
_KINDS = dict.fromkeys(("repetition_penalty", "length_penalty", "temperature"), "float32")
_FEATURES = normal(2, 5, 6)


def _inputs(names: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The node's inputs up to the last that is given; names of those left out begin with "-"."""
    arrays = {name: np.atleast_1d(np.asarray(value, _KINDS.get(name, "int32"))) for name, value in given.items()}
    last = max(names.index(name) for name in arrays)
    return {name if name in arrays else f"-{name}": arrays.get(name, np.zeros(1, "int32")) for name in names[: last + 1]}


def _both(operator: str, inputs: dict[str, np.ndarray], outputs: list[str], attributes: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """What onnxruntime gives, and what onnxgpu gives."""
    model = generation_model(operator, inputs, outputs, **{"eos_token_id": 9, "pad_token_id": 0, **attributes})
    feeds = {name: array for name, array in inputs.items() if not name.startswith("-")}
    return session(ort, model).run(None, feeds), session(onnxgpu, model).run(None, feeds)


def _check_single(operator: str, given: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Sequences are equal up to where all have ended; onnxruntime leaves the rest as it was in memory."""
    names = _GREEDY if operator == "GreedySearch" else _SAMPLING
    inputs = _inputs(names, {"input_ids": _PROMPTS, "max_length": 12, **given})
    (expected,), (actual,) = _both(operator, inputs, ["sequences"], {"decoder": gpt_decoder(1), **attributes})
    pad, start = attributes.get("pad_token_id", 0), inputs["input_ids"].shape[1]
    going = np.flatnonzero((actual != pad).any(axis=0))
    written = max(start, going.max() + 1 if len(going) else 0)
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    assert actual[:, :written].tolist() == expected[:, :written].tolist()


def _mask(*missing: int) -> np.ndarray:
    mask = np.ones(VOCABULARY, "int32")
    mask[list(missing)] = 0
    return mask


_OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"eos_token_id": 10}),
    ({"min_length": 8}, {"eos_token_id": 10}),
    ({"repetition_penalty": 1.5}, {}),
    ({}, {"no_repeat_ngram_size": 2, "pad_token_id": 5}),
    ({"vocab_mask": _mask(6, 7, 8)}, {}),
    ({"prefix_vocab_mask": np.stack((_mask(*range(7)), _mask(*range(5, 13))))}, {}),
    ({"attention_mask": [[1, 1, 0, 1], [1, 0, 0, 1]]}, {"pad_token_id": 12}),
    ({}, {"init_decoder": gpt_decoder(2), "vocab_size": VOCABULARY}),
    ({"max_length": 5}, {}),
]


@pytest.mark.parametrize(("given", "attributes"), _OPTIONS, ids=str)
def test_greedy_search(given: dict[str, Any], attributes: dict[str, Any]) -> None:
    _check_single("GreedySearch", given, attributes)


@pytest.mark.parametrize("custom", [0, 1])
@pytest.mark.parametrize("kept", [0, 3])
@pytest.mark.parametrize("top_p", [0.3, 0.9])
def test_sampling(top_p: float, kept: int, custom: int) -> None:
    """With a seed the draws are onnxruntime's."""
    _check_single("Sampling", {"seed": 5}, {"top_p": top_p, "custom": custom, "min_tokens_to_keep": kept, "temperature": 1.3})


@pytest.mark.parametrize("seed", [0, 123456789])
def test_sampling_with_penalties(seed: int) -> None:
    presence = np.zeros((2, VOCABULARY), "int32")
    presence[0, 3:6] = 1
    given = {"seed": seed, "presence_mask": presence, "repetition_penalty": 1.2}
    _check_single("Sampling", given, {"top_p": 0.9, "presence_penalty": 0.5, "temperature": 0.7, "filter_value": -50.0})


def test_sampling_without_a_seed() -> None:
    inputs = _inputs(_SAMPLING, {"input_ids": _PROMPTS, "max_length": 30})
    attributes = {"decoder": gpt_decoder(1), "eos_token_id": -1, "pad_token_id": 0, "top_p": 1.0, "temperature": 50.0}
    model = generation_model("Sampling", inputs, ["sequences", "filtered_logits"], **attributes)
    feeds = {name: array for name, array in inputs.items() if not name.startswith("-")}
    own = session(onnxgpu, model)
    first, second = own.run(None, feeds), own.run(None, feeds)
    assert first[0].tolist() != second[0].tolist()
    assert first[1].shape == (2, VOCABULARY)


def _check_beams(
    given: Mapping[str, Any], attributes: Mapping[str, Any], outputs: tuple[str, ...] = ("sequences", "sequences_scores")
) -> None:
    defaults = {"input_ids": _PROMPTS, "max_length": 12, "min_length": 0, "num_beams": 3, "num_return_sequences": 2, "length_penalty": 1.0}
    expected, actual = _both("BeamSearch", _inputs(_BEAMS, {**defaults, "repetition_penalty": 1.0, **given}), list(outputs), attributes)
    assert_same(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("given", "attributes"), _OPTIONS, ids=str)
def test_beam_search(given: dict[str, Any], attributes: dict[str, Any]) -> None:
    """All outputs, the scores of each step too (those of elements that are finished are not specified)."""
    _check_beams(given, {"decoder": gpt_decoder(1), **attributes}, ("sequences", "sequences_scores", "scores"))


@pytest.mark.parametrize("early_stopping", [0, 1])
@pytest.mark.parametrize("eos_token", [-1, 8, 10])
@pytest.mark.parametrize(("beams", "returned", "length_penalty"), [(1, 1, 1.0), (3, 1, -0.5), (5, 5, 1.7)])
def test_ends_of_beams(beams: int, returned: int, length_penalty: float, eos_token: int, early_stopping: int) -> None:
    given = {"num_beams": beams, "num_return_sequences": returned, "length_penalty": length_penalty}
    _check_beams(given, {"decoder": gpt_decoder(1), "eos_token_id": eos_token, "early_stopping": early_stopping})


@pytest.mark.parametrize("seed", range(8))
def test_random_beam_search(seed: int) -> None:
    random = np.random.default_rng(seed)
    prompts = random.integers(0, VOCABULARY, (3, 5))
    given = {"input_ids": prompts, "num_beams": random.integers(1, 6), "num_return_sequences": 1, "length_penalty": random.uniform(0.2, 2)}
    tokens = {"eos_token_id": int(random.integers(VOCABULARY)), "pad_token_id": int(random.integers(VOCABULARY))}
    _check_beams({"max_length": 14, **given}, {"decoder": gpt_decoder(seed, 1), **tokens})


@pytest.mark.parametrize("outputs", [("sequences",), ("sequences", "", "scores")])
def test_outputs_left_out(outputs: tuple[str, ...]) -> None:
    _check_beams({}, {"decoder": gpt_decoder(1)}, outputs)


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("eos_token", [1, 7])
@pytest.mark.parametrize(
    ("first_step", "hidden_states", "one_token"),
    [(True, False, True), (True, True, True), (True, False, False), (False, False, True), (False, False, False)],
)
def test_encoder_and_decoder(first_step: bool, hidden_states: bool, one_token: bool, eos_token: int, beams: int) -> None:
    """T5's form, the encoder with the decoder's first step and without, the decoder with all tokens or the last."""
    graphs = {"encoder": encoder(first_step=first_step), "decoder": encoded_decoder(hidden_states=hidden_states, one_token=one_token)}
    given = {"num_beams": beams, "num_return_sequences": 1, "input_ids": [[0, 3, 0, 0], [5, 0, 1, 0]]}
    attributes = {**graphs, "model_type": 1, "decoder_start_token_id": 2, "eos_token_id": eos_token}
    _check_beams(given, attributes)
    _check_beams({**given, "attention_mask": [[1, 1, 0, 1], [0, 1, 1, 1]], "min_length": 5}, {**attributes, "no_repeat_ngram_size": 2})


def _check_whisper(given: Mapping[str, Any], attributes: Mapping[str, Any], operator: str = "WhisperBeamSearch") -> None:
    defaults = {"max_length": 14, "min_length": 0, "num_beams": 3, "num_return_sequences": 1, "length_penalty": 1.0}
    inputs = {"input_ids": _FEATURES, **_inputs(_BEAMS[1:], {**defaults, "repetition_penalty": 1.0, **given})}
    graphs = {"encoder": encoder(features=_FEATURES.shape[1]), "decoder": encoded_decoder(masked=False)}
    names = {"model_type": 2, "decoder_start_token_id": 2}
    expected, actual = _both(operator, inputs, ["sequences", "sequences_scores"], {**graphs, **names, **attributes})
    assert_same(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("operator", ["WhisperBeamSearch", "BeamSearch"])
def test_whisper(operator: str) -> None:
    _check_whisper({}, {}, operator)
    _check_whisper({"decoder_input_ids": [[2, 4, 5], [2, 5, 6]], "num_beams": 2}, {"eos_token_id": 4}, operator)


@pytest.mark.parametrize(
    "attributes",
    [{"decoder": encoded_decoder(masked=False, hidden_states=True)}, {"decoder": encoded_decoder(masked=False, one_token=False)}],
)
def test_forms_of_whispers_decoder(attributes: dict[str, Any]) -> None:
    _check_whisper({"decoder_input_ids": [[2, 4, 5], [2, 5, 6]], "temperature": 1.7}, attributes)


@pytest.mark.parametrize("early_stopping", [0, 1])
@pytest.mark.parametrize("beams", [2, 4])
@pytest.mark.parametrize("starts", [[[2, 5, 6], [2, 4, 7]], [[2], [2]], [[2, 8, 8], [2, 8, 3]]])
def test_timestamps(starts: list[list[int]], beams: int, early_stopping: int) -> None:
    tokens = {"eos": 3, "transcribe": 4, "translate": 5, "start_of_lm": 6, "no_timestamps": 7, "beginning_timestamp": 8}
    attributes = {f"{name}_token_id": token for name, token in tokens.items()}
    given = {"logits_processor": 1, "decoder_input_ids": starts, "num_beams": beams}
    _check_whisper(given, {**attributes, "early_stopping": early_stopping})


def test_probability_of_no_speech() -> None:
    """onnxruntime's CPU leaves it out; it is the softmax of the first step's scores."""
    graphs = {"encoder": encoder(features=_FEATURES.shape[1]), "decoder": encoded_decoder(masked=False)}
    inputs = {"input_ids": _FEATURES, **_inputs(_BEAMS[1:], {"max_length": 5, "num_beams": 2, "num_return_sequences": 1})}
    attributes = {**graphs, "eos_token_id": 9, "pad_token_id": 0, "decoder_start_token_id": 2, "no_speech_token_id": 7}
    outputs = ["sequences", "", "scores", "", "non_speech_probs"]
    model = generation_model("WhisperBeamSearch", inputs, outputs, **attributes)
    _, scores, silence = session(onnxgpu, model).run(None, {n: x for n, x in inputs.items() if not n.startswith("-")})
    np.testing.assert_allclose(silence, np.exp(scores[0, :, 0, 7]), rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_length": 4}, "shorter than max_length = 4"),
        ({"num_return_sequences": 4}, "from 1 to num_beams = 3, got 4"),
        ({"repetition_penalty": 0.0}, "repetition_penalty above 0"),
    ],
)
def test_bad_inputs(given: dict[str, Any], message: str) -> None:
    defaults = {"input_ids": _PROMPTS, "max_length": 12, "num_beams": 3, "num_return_sequences": 2}
    inputs = _inputs(_BEAMS, {**defaults, **given})
    model = generation_model("BeamSearch", inputs, ["sequences"], decoder=gpt_decoder(1), eos_token_id=9, pad_token_id=0)
    with pytest.raises(InvalidArgument, match=message):
        session(onnxgpu, model).run(None, {name: array for name, array in inputs.items() if not name.startswith("-")})


@pytest.mark.parametrize("model_type", [0, 1, 2])
def test_decoder_of_another_form(model_type: int) -> None:
    """Buffers that past and present share have more inputs."""
    decoder = encoded_decoder(masked=model_type < 2) if model_type else gpt_decoder()
    decoder.input.append(helper.make_tensor_value_info("past_sequence_length", TensorProto.INT32, [1]))
    graphs = {"decoder": decoder, **({"encoder": encoder(features=5 if model_type == 2 else 0)} if model_type else {})}
    tokens = {"eos_token_id": 9, "pad_token_id": 0, "decoder_start_token_id": 2}
    given = {"max_length": 12, "num_beams": 3, "num_return_sequences": 2}
    inputs = {"input_ids": _FEATURES if model_type == 2 else _PROMPTS, **_inputs(_BEAMS[1:], given)}
    model = generation_model("BeamSearch", inputs, ["sequences"], model_type=model_type, **graphs, **tokens)
    with pytest.raises(NotImplemented, match="needs a decoder with"):
        session(onnxgpu, model)
