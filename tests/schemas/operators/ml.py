"""ai.onnx.ml, and the optimisers of ai.onnx.preview.training."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from onnxgpu.dtypes import code_of
from tests.cases import ml_trees
from tests.schemas.draw import Draw
from tests.schemas.examples import Example, Typed, generates, initializer

ML = "ai.onnx.ml"
TRAINING = "ai.onnx.preview.training"
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")
WORDS = ("a", "b", "é", "")


def reals(draw: Draw, count: int) -> list[float]:
    return [draw.real() for _ in range(count)]


def table(draw: Draw, parameter: str = "X") -> np.ndarray:
    """Rows of features: numbers or strings."""
    return draw.plain(draw.dtype(parameter), (draw.integer(1, 3), draw.integer(1, 4)))


def labels(draw: Draw, count: int, strings: str = "classlabels_strings", integers: str = "classlabels_ints") -> dict[str, Any]:
    """Labels; two whole ones are 0 and 1, which onnxruntime's trees give whatever they are."""
    return {strings: ["x", "y", "z", "é"][:count]} if draw.flag() else {integers: [0, 1] if count == 2 else [4, -1, 0, 7][:count]}


@generates("Binarizer", domain=ML)
def binarizer(draw: Draw) -> Example:
    return Example([table(draw)], draw.some({"threshold": lambda: draw.real()}))


@generates("Scaler", domain=ML)
def scaler(draw: Draw) -> Example:
    x = table(draw)
    count = draw.among([1, x.shape[1]])
    return Example([x], {"offset": reals(draw, count), "scale": reals(draw, count)})


@generates("Normalizer", domain=ML)
def normalizer(draw: Draw) -> Example:
    return Example([table(draw)], draw.some({"norm": lambda: draw.among(["MAX", "L1", "L2"])}))


@generates("Imputer", domain=ML)
def imputer(draw: Draw) -> Example:
    x = table(draw)
    count = draw.among([1, x.shape[1]])
    if x.dtype.kind == "f":
        x.flat[0] = np.nan
        return Example([x], {"imputed_value_floats": reals(draw, count), "replaced_value_float": draw.among([float("nan"), 1.0])})
    return Example([x], {"imputed_value_int64s": [9] * count, "replaced_value_int64": draw.integer(-1, 1)})


@generates("FeatureVectorizer", domain=ML)
def feature_vectorizer(draw: Draw) -> Example:
    dtype, rows = draw.dtype("X"), draw.integer(1, 2)
    sizes = [draw.integer(1, 3) for _ in range(draw.integer(1, 3))]
    return Example([draw.plain(dtype, (rows, size)) for size in sizes], {"inputdimensions": sizes})


@generates("OneHotEncoder", domain=ML)
def one_hot_encoder(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    zeros = draw.some({"zeros": lambda: 1})
    if dtype.kind == "O":
        return Example([draw.words(WORDS, draw.shape((1, 2), (1, 3)))], {"cats_strings": ["b", "a", ""], **zeros})
    return Example([draw.plain(dtype, draw.shape((1, 2), (1, 3)))], {"cats_int64s": [0, 3, -1], **zeros})


@generates("CategoryMapper", domain=ML)
def category_mapper(draw: Draw) -> Example:
    pairs: dict[str, Any] = {"cats_strings": ["a", "é", "b"], "cats_int64s": [1, 0, -2]}
    pairs |= draw.some({"default_string": lambda: "?", "default_int64": lambda: 99})
    return Example([draw.words(WORDS, draw.shape()) if draw.dtype("X").kind == "O" else draw.plain(np.int64, draw.shape())], pairs)


KEYS: dict[str, Any] = {"string": ["a", "é", "b"], "int64": [1, 0, -2], "float": [1.0, 0.5, -2.0]}
VALUES: dict[str, Any] = {"string": ["p", "q", "r"], "int64": [5, 6, 7], "float": [0.5, 1.5, -2.5]}
DEFAULTS: dict[str, Any] = {"string": "none", "int64": 99, "float": 0.25}


@generates("LabelEncoder", domain=ML)
def label_encoder(draw: Draw) -> Example:
    """Keys and values as lists or, from version 4 on, as tensors of any type."""
    source = draw.dtype("X")
    x = draw.words(WORDS, draw.shape()) if source.kind == "O" else draw.plain(source, draw.shape())
    if draw.version == 1:
        return Example([x], {"classes_strings": ["a", "b", "é"], **draw.some({"default_string": lambda: "?", "default_int64": lambda: 9})})
    target = draw.dtype("Y")
    names = {np.dtype(object): "string", np.dtype(np.int64): "int64", np.dtype(np.float32): "float"}
    if source in names and target in names and (draw.version < 4 or draw.flag()):
        key, value = names[source], names[target]
        default = draw.some({f"default_{value}": lambda: DEFAULTS[value]})
        return Example([x], {f"keys_{key}s": KEYS[key], f"values_{value}s": VALUES[value], **default})
    keys = np.array(KEYS["string"] if source.kind == "O" else KEYS["int64"]).astype(source)
    values = np.array(VALUES["string"] if target.kind == "O" else VALUES["int64"]).astype(target)
    tensors = {"keys_tensor": initializer("keys", keys), "values_tensor": initializer("values", values)}
    return Example([x], tensors | {"default_tensor": initializer("default", values[:1])})


@generates("CastMap", domain=ML)
def cast_map(draw: Draw) -> Example:
    strings = "string" in draw.type("X")
    kind = ["TO_FLOAT", "TO_INT64", "TO_STRING"]
    entries: dict[int, Any] = {k: ("1" if strings else draw.real()) for k in sorted(draw.order(4)[: draw.integer(1, 4)])}
    dense = {"map_form": "SPARSE", "max_map": 5} if draw.flag() else {}
    code = code_of(np.dtype(object if strings else np.float32))
    value = Typed(entries, helper.make_map_type_proto(7, helper.make_tensor_type_proto(code, None)))
    return Example([value], {"cast_to": draw.among(kind if strings else kind[:2] + kind[2:]), **dense})


@generates("DictVectorizer", domain=ML)
def dict_vectorizer(draw: Draw) -> Example:
    key, value = draw.type("X")[4:-1].split(",")
    names: list[Any] = ["a", "b", "é"] if key == "string" else [1, 2, 5]
    inner = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(string)": object}[value]
    entries = {n: ("w" if inner is object else draw.integer(-2, 2) if inner is np.int64 else draw.real()) for n in names if draw.flag()}
    kind = helper.make_map_type_proto(8 if key == "string" else 7, helper.make_tensor_type_proto(code_of(np.dtype(inner)), None))
    entries = entries or {names[0]: "w" if inner is object else 1 if inner is np.int64 else 1.0}
    return Example([Typed(entries, kind)], {"string_vocabulary" if key == "string" else "int64_vocabulary": names})


@generates("ZipMap", domain=ML)
def zip_map(draw: Draw) -> Example:
    x = draw.plain(np.float32, (draw.integer(1, 3), draw.integer(1, 4)))
    return Example([x], labels(draw, x.shape[1], integers="classlabels_int64s"))


@generates("LinearClassifier", domain=ML)
def linear_classifier(draw: Draw) -> Example:
    x = table(draw, "X")
    classes = draw.integer(2, 4)
    attributes = {"coefficients": reals(draw, classes * x.shape[1]), "intercepts": reals(draw, classes)}
    return Example([x], attributes | labels(draw, classes) | draw.some({"post_transform": lambda: draw.among(TRANSFORMS)}), 2)


@generates("LinearRegressor", domain=ML)
def linear_regressor(draw: Draw) -> Example:
    x = table(draw)
    targets = draw.integer(1, 2)
    attributes: dict[str, Any] = {"coefficients": reals(draw, targets * x.shape[1]), "targets": targets}
    attributes |= draw.some({"intercepts": lambda: reals(draw, targets), "post_transform": lambda: draw.among(TRANSFORMS[:1])})
    return Example([x], attributes)


KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")


def kernel(draw: Draw) -> dict[str, Any]:
    return {"kernel_type": draw.among(KERNELS), "kernel_params": [0.25, 0.5, 2.0]}


@generates("SVMClassifier", domain=ML)
def svm_classifier(draw: Draw) -> Example:
    x = table(draw)
    classes = draw.integer(2, 3)
    per_class = [draw.integer(1, 2) for _ in range(classes)]
    pairs = classes * (classes - 1) // 2
    attributes = {
        "vectors_per_class": per_class,
        "support_vectors": reals(draw, sum(per_class) * x.shape[1]),
        "coefficients": reals(draw, (classes - 1) * sum(per_class)),
        "rho": [0.3125, -0.1875, 0.0625][:pairs],
        **kernel(draw),
    }
    if draw.flag():
        attributes |= {"prob_a": [-0.5, -1.0, -0.75][:pairs], "prob_b": [0.25, 0.0, -0.25][:pairs]}
    return Example([x], attributes | labels(draw, classes), 2)


@generates("SVMRegressor", domain=ML)
def svm_regressor(draw: Draw) -> Example:
    x = table(draw)
    count = draw.integer(1, 3)
    attributes = {"n_supports": count, "support_vectors": reals(draw, count * x.shape[1]), "coefficients": reals(draw, count)}
    return Example([x], attributes | {"rho": [0.3125], **kernel(draw), **draw.some({"one_class": lambda: draw.integer(0, 1)})})


def features(draw: Draw) -> np.ndarray:
    """Rows of the features that the trees of `tests.cases.ml_trees` ask for."""
    return draw.plain(draw.dtype("X"), (draw.integer(0, 4), ml_trees.FEATURES))


def forest(draw: Draw, part: str, targets: list[list[int]]) -> dict[str, Any]:
    count = draw.integer(1, 6)
    attributes = ml_trees.listed(part, targets, ml_trees.MODES[: draw.integer(1, 6)], count, missing=draw.flag())
    return ml_trees.as_tensors(attributes) if draw.version >= 3 and draw.dtype("X") == np.float64 else attributes


@generates("TreeEnsembleRegressor", domain=ML)
def tree_regressor(draw: Draw) -> Example:
    targets = draw.integer(1, 2)
    attributes = forest(draw, "target", [list(range(targets))]) | {"n_targets": targets}
    attributes |= draw.some({"aggregate_function": lambda: draw.among(ml_trees.AGGREGATES)})
    if "nodes_values_as_tensor" not in attributes:
        attributes |= draw.some({"base_values": lambda: reals(draw, targets)})
    return Example([features(draw)], attributes)


@generates("TreeEnsembleClassifier", domain=ML)
def tree_classifier(draw: Draw) -> Example:
    classes = draw.integer(2, 4)
    attributes = forest(draw, "class", [list(range(classes))])
    attributes |= labels(draw, classes, integers="classlabels_int64s") | draw.some({"post_transform": lambda: draw.among(TRANSFORMS)})
    return Example([features(draw)], attributes, 2)


@generates("TreeEnsemble", domain=ML)
def tree_ensemble(draw: Draw) -> Example:
    x = features(draw)
    members = draw.flag()
    case = ml_trees.ensemble(np.floor(x) if members else x, members, targets=draw.integer(1, 3))
    return Example(case.inputs, {**case.attributes, **draw.some({"aggregate_function": lambda: draw.integer(0, 3)})})


def tensors(draw: Draw, kinds: int) -> tuple[list[np.ndarray], int]:
    """R, T, and for each optimised tensor as many arrays as `kinds`; the last ones are not negative."""
    dtype = draw.dtype("inputs")
    shapes = [draw.shape() for _ in range(draw.integer(1, 2))]
    arrays = [draw.plain(dtype, shape, 0 if kind >= 2 else -4) for kind in range(kinds) for shape in shapes]
    return [np.array(0.25, draw.dtype("R")), np.array(draw.integer(0, 3), draw.dtype("T")), *arrays], len(shapes)


@generates("Adagrad", domain=TRAINING)
def adagrad(draw: Draw) -> Example:
    inputs, count = tensors(draw, 3)
    return Example(inputs, draw.some({"decay_factor": lambda: 0.25, "norm_coefficient": lambda: 0.5, "epsilon": lambda: 0.5}), 2 * count)


@generates("Adam", domain=TRAINING)
def adam(draw: Draw) -> Example:
    inputs, count = tensors(draw, 4)
    names = {"alpha": 0.75, "beta": 0.5, "epsilon": 0.5, "norm_coefficient": 0.5, "norm_coefficient_post": 0.25}
    return Example(inputs, draw.some({name: lambda value=value: value for name, value in names.items()}), 3 * count)  # type: ignore[misc]


@generates("Momentum", domain=TRAINING)
def momentum(draw: Draw) -> Example:
    inputs, count = tensors(draw, 3)
    return Example(inputs, {"alpha": 0.5, "beta": 0.75, "mode": draw.among(["standard", "nesterov"]), "norm_coefficient": 0.25}, 2 * count)
