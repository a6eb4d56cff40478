"""Models that other frameworks' exporters write give what the frameworks give; heavy ones, and those not installed, are left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu

pytestmark = pytest.mark.slow

CPU = ["CPUExecutionProvider"]
GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal((120, 5)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5, 0.0, 1.0]) + 0.1 * GENERATOR.standard_normal(120)).astype(np.float32)
CLASSES = np.digitize(Y, [-1.0, 1.0])
PROBED = X[:40] + np.float32(0.01)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the frameworks warn of is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run(model: onnx.ModelProto, x: np.ndarray, wanted: list[str] | None = None) -> list[Any]:
    session = onnxgpu.InferenceSession(model, providers=CPU)
    assert {assignment.provider.name for assignment in session.placement.assignments.values()} == {"CPUExecutionProvider"}
    return list(session.run(wanted, {session.get_inputs()[0].name: x}))


REGRESSORS = {
    "ARDRegression": "linear_model",
    "AdaBoostRegressor": "ensemble",
    "BaggingRegressor": "ensemble",
    "DecisionTreeRegressor": "tree",
    "ElasticNet": "linear_model",
    "ExtraTreesRegressor": "ensemble",
    "GaussianProcessRegressor": "gaussian_process",
    "GradientBoostingRegressor": "ensemble",
    "HuberRegressor": "linear_model",
    "KNeighborsRegressor": "neighbors",
    "LinearRegression": "linear_model",
    "LinearSVR": "svm",
    "MLPRegressor": "neural_network",
    "NuSVR": "svm",
    "PoissonRegressor": "linear_model",
    "RandomForestRegressor": "ensemble",
    "Ridge": "linear_model",
    "SGDRegressor": "linear_model",
    "SVR": "svm",
}
CLASSIFIERS = {
    "AdaBoostClassifier": "ensemble",
    "BaggingClassifier": "ensemble",
    "BernoulliNB": "naive_bayes",
    "DecisionTreeClassifier": "tree",
    "ExtraTreesClassifier": "ensemble",
    "GaussianNB": "naive_bayes",
    "GradientBoostingClassifier": "ensemble",
    "KNeighborsClassifier": "neighbors",
    "LinearDiscriminantAnalysis": "discriminant_analysis",
    "LogisticRegression": "linear_model",
    "MLPClassifier": "neural_network",
    "QuadraticDiscriminantAnalysis": "discriminant_analysis",
    "RandomForestClassifier": "ensemble",
    "SGDClassifier": "linear_model",
    "SVC": "svm",
}
TRANSFORMERS = {
    "Binarizer": "preprocessing",
    "IncrementalPCA": "decomposition",
    "KBinsDiscretizer": "preprocessing",
    "KMeans": "cluster",
    "MaxAbsScaler": "preprocessing",
    "MinMaxScaler": "preprocessing",
    "Normalizer": "preprocessing",
    "PCA": "decomposition",
    "PolynomialFeatures": "preprocessing",
    "PowerTransformer": "preprocessing",
    "QuantileTransformer": "preprocessing",
    "RobustScaler": "preprocessing",
    "SimpleImputer": "impute",
    "StandardScaler": "preprocessing",
    "TruncatedSVD": "decomposition",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "KBinsDiscretizer": {"encode": "onehot-dense", "quantile_method": "averaged_inverted_cdf"},
    "KMeans": {"n_clusters": 3, "n_init": 1},
    "QuantileTransformer": {"n_quantiles": 20},
    "SVC": {"probability": True},
}


def estimator(module: str, name: str) -> Any:
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed (extra `exporters`)")
    found = getattr(pytest.importorskip(f"sklearn.{module}"), name)(**SETTINGS.get(name, {}))
    known = found.get_params()
    small = {"n_estimators": 8, "max_iter": 200, "random_state": 0}
    if module != "discriminant_analysis":
        small["n_components"] = 3
    return found.set_params(**{key: value for key, value in small.items() if key in known})


def converted(model: Any, **options: Any) -> onnx.ModelProto:
    import skl2onnx

    found: onnx.ModelProto = skl2onnx.to_onnx(model, X[:1], options=options or None, target_opset={"": 18, "ai.onnx.ml": 3})
    return found


@pytest.mark.parametrize("name", REGRESSORS)
def test_scikit_learn_regressors(name: str) -> None:
    target = np.abs(Y) if name == "PoissonRegressor" else Y
    model = estimator(REGRESSORS[name], name).fit(X, target)
    (actual,) = run(converted(model), PROBED)[:1]
    np.testing.assert_allclose(actual.reshape(-1), model.predict(PROBED).reshape(-1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scikit_learn_classifiers(name: str) -> None:
    model = estimator(CLASSIFIERS[name], name).fit(X, CLASSES)
    labels, scores = run(converted(model, zipmap=False), PROBED)
    # skl2onnx takes QuadraticDiscriminantAnalysis's labels with ArrayFeatureExtractor, which gives one row, and leaves them so.
    assert labels.shape == ((1, 40) if name == "QuadraticDiscriminantAnalysis" else (40,))
    np.testing.assert_array_equal(labels.reshape(-1), model.predict(PROBED))
    if name != "SVC" or hasattr(model, "predict_proba"):
        expected = model.predict_proba(PROBED) if hasattr(model, "predict_proba") else model.decision_function(PROBED)
        np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_scikit_learn_transformers(name: str) -> None:
    model = estimator(TRANSFORMERS[name], name).fit(X)
    outputs = run(converted(model), PROBED)
    actual, expected = (outputs[1] if name == "KMeans" else outputs[0]), model.transform(PROBED)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_scikit_learn_default_classifier_gives_maps() -> None:
    model = estimator("linear_model", "LogisticRegression").fit(X, CLASSES)
    labels, maps = run(converted(model), PROBED)
    expected = model.predict_proba(PROBED)
    assert list(maps[0]) == [0, 1, 2]
    np.testing.assert_allclose([[row[k] for k in range(3)] for row in maps], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, model.predict(PROBED))


def test_scikit_learn_pipeline_of_text() -> None:
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed (extra `exporters`)")
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = ["good fine nice", "bad poor ugly", "nice and good", "poor and bad", "fine day", "ugly day"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0, 1, 0])
    exported = skl2onnx.convert_sklearn(model, initial_types=[("text", StringTensorType([None, 1]))], options={"zipmap": False})
    labels, scores = run(exported, np.array(texts, object).reshape(-1, 1))
    np.testing.assert_array_equal(labels, model.predict(texts))
    np.testing.assert_allclose(scores, model.predict_proba(texts), rtol=1e-4)


def boosted(library: str, kind: str) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    """A trained model of LightGBM or XGBoost, and what it predicts."""
    module = pytest.importorskip(library, reason=f"{library} is not installed (extra `exporters`)")
    prefix = {"lightgbm": "LGBM", "xgboost": "XGB"}[library]
    settings: dict[str, Any] = {"n_estimators": 12, "random_state": 0, **({"verbose": -1} if library == "lightgbm" else {})}
    model = getattr(module, f"{prefix}{kind}")(**settings).fit(X, Y if kind == "Regressor" else CLASSES)
    return model, model.predict if kind == "Regressor" else model.predict_proba


@pytest.mark.parametrize("kind", ["Regressor", "Classifier"])
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "with gaps"])
def test_boosted_trees(library: str, kind: str, missing: bool) -> None:
    tools = pytest.importorskip("onnxmltools", reason="onnxmltools is not installed (extra `exporters`)")
    from onnxmltools.convert.common.data_types import FloatTensorType

    model, predict = boosted(library, kind)
    convert = getattr(tools, f"convert_{library}")
    extra = {"zipmap": False} if (library, kind) == ("lightgbm", "Classifier") else {}
    exported = convert(model, initial_types=[("x", FloatTensorType([None, 5]))], target_opset=15, **extra)
    probed = PROBED.copy()
    if missing:
        probed[::3, 1] = np.nan
    outputs = run(exported, probed)
    np.testing.assert_allclose(outputs[-1].reshape(len(probed), -1), predict(probed).reshape(len(probed), -1), rtol=1e-4, atol=1e-5)


def as_tree_ensemble_5(model: onnx.ModelProto) -> onnx.ModelProto:
    """The TreeEnsembleRegressor of a model in the form that opset 5 of ai.onnx.ml has for it: branches and leaves apart."""
    (index,) = (i for i, node in enumerate(model.graph.node) if node.op_type == "TreeEnsembleRegressor")
    old = {a.name: onnx.helper.get_attribute_value(a) for a in model.graph.node[index].attribute}
    keys = list(zip(old["nodes_treeids"], old["nodes_nodeids"], strict=True))
    leaf = [mode == b"LEAF" for mode in old["nodes_modes"]]
    inner = {key: i for i, key in enumerate(k for k, is_leaf in zip(keys, leaf, strict=True) if not is_leaf)}
    ends = {key: i for i, key in enumerate(k for k, is_leaf in zip(keys, leaf, strict=True) if is_leaf)}
    weights = dict(zip(zip(old["target_treeids"], old["target_nodeids"], strict=True), old["target_weights"], strict=True))
    chosen = [i for i, is_leaf in enumerate(leaf) if not is_leaf]
    columns: dict[str, Any] = {"nodes_featureids": [old["nodes_featureids"][i] for i in chosen]}
    for side in ("true", "false"):
        children = [(keys[i][0], old[f"nodes_{side}nodeids"][i]) for i in chosen]
        columns[f"nodes_{side}nodeids"] = [ends.get(child, inner.get(child)) for child in children]
        columns[f"nodes_{side}leafs"] = [int(child in ends) for child in children]
    codes = {b"BRANCH_LEQ": 0, b"BRANCH_LT": 1, b"BRANCH_GTE": 2, b"BRANCH_GT": 3}
    tensors: dict[str, Any] = {
        "nodes_modes": np.array([codes[old["nodes_modes"][i]] for i in chosen], np.uint8),
        "nodes_splits": np.array([old["nodes_values"][i] for i in chosen], np.float32),
        "leaf_weights": np.array([weights[key] for key in ends], np.float32),
    }
    if "nodes_missing_value_tracks_true" in old:
        columns["nodes_missing_value_tracks_true"] = [old["nodes_missing_value_tracks_true"][i] for i in chosen]
    node = model.graph.node[index]
    made = onnx.helper.make_node(
        "TreeEnsemble",
        node.input,
        node.output,
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,
        post_transform=0,
        tree_roots=[inner[key] for key in dict.fromkeys((tree, 0) for tree, _ in keys)],
        leaf_targetids=[0] * len(ends),
        **columns,
        **{name: onnx.numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()},
    )
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.node[index].CopyFrom(made)
    for entry in changed.opset_import:
        entry.version = 5 if entry.domain == "ai.onnx.ml" else max(entry.version, 21)
    return changed


def test_boosted_trees_as_tree_ensemble_5() -> None:
    tools = pytest.importorskip("onnxmltools", reason="onnxmltools is not installed (extra `exporters`)")
    from onnxmltools.convert.common.data_types import FloatTensorType

    model, predict = boosted("lightgbm", "Regressor")
    exported = tools.convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, 5]))], target_opset=15)
    probed = PROBED.copy()
    probed[::3, 1] = np.nan
    (actual,) = run(as_tree_ensemble_5(exported), probed)
    np.testing.assert_allclose(actual.reshape(-1), predict(probed), rtol=1e-4, atol=1e-5)
