"""Operators of ai.onnx.ml that prepare features and look elements up."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import numpy_helper

from tests.cases import Case
from tests.cases.random_arrays import normal

X = normal(3, 4)
COUNTS = np.arange(12, dtype=np.int64).reshape(3, 4) % 5
WORDS = np.array([["a", "b"], ["é", ""], ["b", "a"]], object)
NAN = np.array([[1, np.nan, 0, -2]], np.float32)


def case(operator: str, *inputs: np.ndarray, version: int = 1, **attributes: Any) -> Case:
    return Case(operator, inputs, attributes, version, domain="ai.onnx.ml")


def tensor(values: Any, dtype: Any) -> Any:
    return numpy_helper.from_array(np.array(values, dtype), "t")


SCALED: dict[str, Any] = {"offset": [0.5, -1.0, 2.0, 0.0], "scale": [2.0, 3.0, 0.25, 1.0]}
PAIRS: dict[str, Any] = {"cats_strings": ["a", "b", "é"], "cats_int64s": [7, -1, 4]}

CASES = [
    *(case("Scaler", x, **SCALED) for x in (X, X[0], X.astype(np.float64), COUNTS, COUNTS.astype(np.int32))),
    case("Scaler", X, offset=[1.0], scale=[0.5]),
    *(case("Normalizer", x, norm=n) for n in ("MAX", "L1", "L2") for x in (X, X[0], abs(X).astype(np.float64), COUNTS, np.zeros_like(X))),
    case("Imputer", X, imputed_value_floats=[9.0], replaced_value_float=float(X[1, 1])),
    case("Imputer", NAN, imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=float("nan")),
    case("Imputer", COUNTS, imputed_value_int64s=[9], replaced_value_int64=3),
    case("Imputer", COUNTS, imputed_value_int64s=[9, 8, 7, 6], replaced_value_int64=0),
    case("Binarizer", X, threshold=0.25),
    case("Binarizer", X[0]),
    *(case("ArrayFeatureExtractor", x, np.array([2, 0, 2])) for x in (X, X[0], COUNTS, normal(2, 3, 4))),
    case("ArrayFeatureExtractor", WORDS, np.array([[1]])),
    case("FeatureVectorizer", X, inputdimensions=[4]),
    case("FeatureVectorizer", X, X[:, :2], inputdimensions=[3, 4]),
    case("FeatureVectorizer", COUNTS[0], COUNTS[1], inputdimensions=[4, 2]),
    *(case("OneHotEncoder", x, cats_int64s=[0, 3, 7]) for x in (COUNTS, COUNTS[0], COUNTS.astype(np.float32), COUNTS + 0.75)),
    case("OneHotEncoder", WORDS, cats_strings=["b", "é"]),
    case("OneHotEncoder", WORDS, cats_strings=["a", "b", "é", ""], zeros=0),
    case("CategoryMapper", WORDS, **PAIRS),
    case("CategoryMapper", WORDS, **PAIRS, default_int64=99),
    case("CategoryMapper", COUNTS, **PAIRS, default_string="?"),
    case("LabelEncoder", WORDS, classes_strings=["b", "a"]),
    case("LabelEncoder", COUNTS, classes_strings=["zero", "one", "two"], default_string="many"),
    *(
        case("LabelEncoder", WORDS, version=v, keys_strings=["a", "b", "a"], **{f"values_{kind}s": values})
        for v in (2, 3)
        for kind, values in (("int64", [1, 2, 3]), ("float", [0.5, 1.5, 2.5]))
    ),
    Case(
        "LabelEncoder",
        (WORDS,),
        {"keys_strings": ["a", "b", "a"], "values_int64s": [1, 2, 3]},
        4,
        "ai.onnx.ml",
        oracle="reference",
        note="as of opset 4 the last of equal keys counts; for onnxruntime it is the first",
    ),
    case("LabelEncoder", WORDS, version=4, keys_strings=["a"], values_strings=["A"], default_string="-"),
    *(case("LabelEncoder", COUNTS, version=v, keys_int64s=[3, 0, 4], values_strings=["x", "y", "z"]) for v in (2, 4)),
    *(case("LabelEncoder", COUNTS, version=v, keys_int64s=[4, 1], values_floats=[0.5, 1.0], default_float=-1.0) for v in (2, 4)),
    *(case("LabelEncoder", NAN, version=4, keys_floats=[k, 1.0, 0.0], values_int64s=[5, 6, 7]) for k in (float("nan"), -2.0)),
    *(
        case("LabelEncoder", NAN.astype(np.float64), version=4, keys_tensor=tensor([1, 0, k], np.float64), values_tensor=values)
        for k in (-2, np.nan)
        for values in (tensor([1.5, 2, 3], np.float64), tensor(["p", "q", "r"], object))
    ),
    case(
        "LabelEncoder",
        WORDS,
        version=4,
        keys_tensor=tensor(["a", "é"], object),
        values_tensor=tensor([3, 4], np.int16),
        default_tensor=tensor([9], np.int16),
    ),
    case("ZipMap", abs(X), classlabels_int64s=[3, 1, -4, 2]),
    case("ZipMap", abs(X), classlabels_strings=["d", "a", "é", ""]),
    case("ZipMap", X[0], classlabels_int64s=[0, 1, 2, 3]),
]
