"""Whole sessions of ai.onnx.ml with maps: fed as dicts, returned as lists of dicts, types told from their declaration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu.errors import InvalidArgument
from tests.cases.tolerances import assert_same

FLOAT, DOUBLE, INT64, STRING = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT64, onnx.TensorProto.STRING
HEADER = '<ir_version: 10, opset_import: ["" : 20, "ai.onnx.ml" : 3]>\n'


def on_map(node: str, key: int, value: int) -> onnx.ModelProto:
    """`y` of `node`, whose input `m` is a map."""
    model = onnx.parser.parse_model(f"{HEADER} g (float m) => (y) {{ v = ai.onnx.ml.{node} (m) y = Identity(v) }}")
    kind = model.graph.input[0].type
    kind.Clear()
    kind.map_type.key_type = key
    kind.map_type.value_type.tensor_type.elem_type = value
    return model


def outputs(module: Any, model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Sequence[Any]:
    session = module.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [*session.run(None, feeds)]


VECTORS: list[tuple[int, int, dict[Any, Any], Any]] = [
    (STRING, FLOAT, {"b": 2.5, "z": 1.0}, np.array([[2.5, 0, 0]], np.float32)),
    (STRING, FLOAT, {"a": 3}, np.array([[0, 3, 0]], np.float32)),
    (STRING, FLOAT, {}, np.zeros((1, 3), np.float32)),
    (STRING, DOUBLE, {"a": 1 / 3}, np.array([[0, 1 / 3, 0]])),
    (STRING, INT64, {"a": 2**53 + 1, "b": -1}, np.array([[-1, 2**53 + 1, 0]])),
    (INT64, FLOAT, {7: 1.5}, np.array([[0, 0, 1.5]], np.float32)),
    (INT64, STRING, {7: "x", 9: "y"}, np.array([["y", "", "x"]], object)),
]
"""Maps that onnxruntime's Python API does not take are among them: empty ones, and values other than float32."""


@pytest.mark.parametrize(("key", "value", "fed", "expected"), VECTORS)
def test_dict_vectorizer(key: int, value: int, fed: dict[Any, Any], expected: np.ndarray) -> None:
    words = 'string_vocabulary = ["b", "a", "c"]' if key == STRING else "int64_vocabulary = [9, 8, 7]"
    assert_same(outputs(onnxgpu, on_map(f"DictVectorizer <{words}>", key, value), {"m": fed}), [expected], 0, 0)


@pytest.mark.parametrize("form", ['map_form = "DENSE"', 'map_form = "SPARSE", max_map = 5'])
@pytest.mark.parametrize("cast_to", ["TO_FLOAT", "TO_STRING", "TO_INT64"])
def test_cast_map_as_onnxruntime(form: str, cast_to: str) -> None:
    model, feeds = on_map(f'CastMap <cast_to = "{cast_to}", {form}>', INT64, FLOAT), {"m": {3: 2.75, 0: -1.5, 2: 1e-9}}
    assert_same(outputs(onnxgpu, model, feeds), outputs(pytest.importorskip("onnxruntime"), model, feeds))


def test_cast_map_of_strings() -> None:
    fed = {"m": {3: "12", 1: "-4"}}
    dense = outputs(onnxgpu, on_map('CastMap <cast_to = "TO_INT64">', INT64, STRING), fed)
    assert_same(dense, [np.array([[-4, 12]])])
    sparse = outputs(onnxgpu, on_map('CastMap <cast_to = "TO_STRING", map_form = "SPARSE", max_map = 4>', INT64, STRING), fed)
    assert_same(sparse, [np.array([["0.f", "-4", "0.f", "12"]], object)])


def test_a_value_that_is_no_number() -> None:
    with pytest.raises(InvalidArgument, match=r"CastMap TO_FLOAT: .*'many'"):
        outputs(onnxgpu, on_map('CastMap <cast_to = "TO_FLOAT">', INT64, STRING), {"m": {0: "many"}})


CLASSIFIER = """g (float[N,2] x) => (label, maps) {
    label, scores = ai.onnx.ml.LinearClassifier <coefficients = [1.0, -1.0, 0.5, 0.25, -2.0, 1.0], intercepts = [0.0, 0.5, -0.5],
        classlabels_strings = ["low", "high", "middle"], post_transform = "SOFTMAX"> (x)
    maps = ai.onnx.ml.ZipMap <classlabels_strings = ["low", "high", "middle"]> (scores)
}"""


def test_zip_map_gives_plain_dicts() -> None:
    x = np.random.default_rng(3).standard_normal((4, 2)).astype(np.float32)
    session = onnxgpu.InferenceSession(onnx.parser.parse_model(HEADER + CLASSIFIER).SerializeToString())
    for _ in range(3):
        label, maps = session.run(None, {"x": x})
    assert [max(scores, key=scores.__getitem__) for scores in maps] == label.tolist()
    assert [list(scores) for scores in maps] == [["high", "low", "middle"]] * 4
    assert {type(score) for scores in maps for score in scores.values()} == {float}
