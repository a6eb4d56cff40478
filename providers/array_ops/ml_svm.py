"""SVMClassifier and SVMRegressor: kernels between rows and support vectors, votes between pairs of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument, InvalidGraph
from onnxgpu.provider import Array, Operation, Value
from onnxgpu.providers.array_ops.ml_scores import DOMAIN, FLOAT, chosen_labels, class_labels, logistic, rows_of, transformed, two_scores
from onnxgpu.providers.array_ops.registry import operator

_MOST_SWEEPS = 100
_NEAREST_TO_CERTAIN = np.float32(1e-7)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel function with its parameters: LINEAR, POLY, RBF or SIGMOID."""

    kind: str
    gamma: float
    coef0: float
    degree: float

    @staticmethod
    def of(attributes: Mapping[str, Any], linear: bool) -> Kernel:
        """The kernel that a node asks for.

        Raises:
            InvalidGraph: `kernel_type` or the number of `kernel_params` is not ONNX's.
        """
        kind, parameters = attributes.get("kernel_type", "LINEAR"), tuple(attributes.get("kernel_params", ()))
        if kind not in ("LINEAR", "POLY", "RBF", "SIGMOID") or len(parameters) not in (0, 3):
            raise InvalidGraph(f"expected kernel_type LINEAR, POLY, RBF or SIGMOID and 3 kernel_params, got {kind!r} and {parameters}")
        gamma, coef0, degree = parameters or (0.0, 0.0, 0.0)
        return Kernel("LINEAR" if linear else kind, gamma, coef0, degree)

    def __call__(self, xp: Any, x: Array, vectors: Array) -> Array:
        """Rows [N,F] and vectors [V,F] to [N,V]."""
        if self.kind == "RBF":
            return xp.exp(np.float32(-self.gamma) * _square_distances(xp, x, vectors))
        product = xp.matmul(x, vectors.T)
        if self.kind == "LINEAR":
            return product
        product = np.float32(self.gamma) * product + np.float32(self.coef0)
        return product ** np.float32(self.degree) if self.kind == "POLY" else xp.tanh(product)


def _square_distances(xp: Any, x: Array, vectors: Array) -> Array:
    """Between rows [N,F] and vectors [V,F], float32 [N,V]; by way of float64, in which the product form loses nothing that counts."""
    x, vectors = x.astype(np.float64), vectors.astype(np.float64)
    square = (x * x).sum(axis=1)[:, None] + (vectors * vectors).sum(axis=1) - 2 * xp.matmul(x, vectors.T)
    return xp.maximum(square, 0).astype(FLOAT)


class _Machine:
    """Support vectors [V,F], or without any a linear model whose coefficients stand for them."""

    input_names: tuple[str, ...] = ("x",)
    required_inputs = 1

    def __init__(self, xp: Any, operation: Operation, vector_count: int, rows_of_coefficients: int) -> None:
        attributes = operation.attributes
        self._xp, self._name = xp, operation.operator
        self._linear = vector_count == 0
        self._coefficients = np.array(attributes.get("coefficients", ()), FLOAT)
        self._rho = np.array(attributes.get("rho", ()), FLOAT)
        self._kernel = Kernel.of(attributes, self._linear)
        self._transform = attributes.get("post_transform", "NONE")
        vectors = self._coefficients if self._linear else np.array(attributes.get("support_vectors", ()), FLOAT)
        count = rows_of_coefficients if self._linear else vector_count
        if not len(self._coefficients) or not len(self._rho) or not count or len(vectors) % count:
            raise InvalidGraph(
                f"{operation}: expected rho, coefficients and a whole number of features for each of {count} vectors, "
                f"got {len(self._rho)}, {len(self._coefficients)} and {len(vectors)} numbers"
            )
        self._vectors = xp.asarray(vectors.reshape(count, -1))

    def outputs(self, inputs: Sequence[Value]) -> None:
        """See `onnxgpu.provider.Kernel`."""

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def kernel_values(self, x: Array) -> Array:
        """[N,V] in float32 for an input [N,F] or [F] of any number type."""
        rows = rows_of(x, self._name).astype(FLOAT, copy=False)
        if rows.shape[1] != self._vectors.shape[1]:
            raise InvalidArgument(f"{self._name}: expected {self._vectors.shape[1]} features, got {rows.shape[1]}")
        return self._kernel(self._xp, rows, self._vectors)


@operator("SVMRegressor", domain=DOMAIN, since=1)
class SVMRegressor(_Machine):
    """Kernel values · coefficients + rho, float32 [N,1]; `one_class` gives 1 or -1 instead. `post_transform` changes nothing.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_SVMRegressor.html
    """

    def __init__(self, xp: Any, operation: Operation) -> None:
        super().__init__(xp, operation, operation.attributes.get("n_supports", 0), 1)
        self._one_class = bool(operation.attributes.get("one_class", 0))

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        values = self.kernel_values(inputs[0])
        if not self._linear:
            values = self._xp.matmul(values, self._xp.asarray(self._coefficients[: values.shape[1], None]))
        values = values + self._rho[0]
        return (self._xp.where(values > 0, np.float32(1), np.float32(-1)) if self._one_class else values,)


@operator("SVMClassifier", domain=DOMAIN, since=1)
class SVMClassifier(_Machine):
    """Labels [N] and float32 scores: [N,K] for a linear model or with probabilities, else one for each pair of classes.

    Two classes without probabilities have two columns. Probabilities follow T.-F. Wu, C.-J. Lin and R. C. Weng,
    "Probability estimates for multi-class classification by pairwise coupling" (2004), as libsvm does.
    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_SVMClassifier.html
    """

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        self._labels = class_labels(attributes.get("classlabels_strings", ()), attributes.get("classlabels_ints", ()))
        self._per_class = tuple(attributes.get("vectors_per_class", ()))
        super().__init__(xp, operation, sum(self._per_class), len(self._labels))
        self._prob_a = np.array(attributes.get("prob_a", ()), FLOAT)
        self._prob_b = np.array(attributes.get("prob_b", ()), FLOAT)
        self._positive = bool((self._coefficients >= 0).all())
        if not self._linear:
            self._check(operation)

    def _check(self, operation: Operation) -> None:
        classes = len(self._labels)
        pairs = classes * (classes - 1) // 2
        wrong = len(self._per_class) != classes or len(self._coefficients) < (classes - 1) * sum(self._per_class) or len(self._rho) < pairs
        if wrong or len(self._prob_a) != len(self._prob_b) or 0 < len(self._prob_a) < pairs:
            raise InvalidGraph(
                f"{operation}: expected vectors_per_class for {classes} classes, {classes - 1} x {sum(self._per_class)} coefficients, "
                f"{pairs} rho and none or {pairs} prob_a and prob_b; got {len(self._per_class)}, {len(self._coefficients)}, "
                f"{len(self._rho)}, {len(self._prob_a)} and {len(self._prob_b)}"
            )

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        values = self.kernel_values(inputs[0])
        if self._linear:
            return self._by_highest_score(values + self._rho[0])
        xp, classes = self._xp, len(self._labels)
        votes = xp.zeros((values.shape[0], classes), np.int64)
        scores = xp.empty((values.shape[0], classes * (classes - 1) // 2), FLOAT)
        for column, (first, second, score) in enumerate(self._decisions(values.astype(np.float64))):
            scores[:, column] = score
            votes[:, first] += score > 0
            votes[:, second] += score <= 0
        labels = chosen_labels(xp, self._labels, votes.argmax(axis=1))
        if len(self._prob_a):
            return labels, transformed(xp, self._probabilities(scores), self._transform)
        if classes == 2:
            return labels, two_scores(xp, scores, self._transform, complement=self._transform != "NONE")
        return labels, transformed(xp, scores, self._transform)

    def _by_highest_score(self, scores: Array) -> Sequence[Value]:
        index = scores.argmax(axis=1)
        if len(self._labels) == 2 and not len(self._prob_a):
            most = scores.max(axis=1)
            index = self._xp.where(most >= 0.5 if self._positive else most > 0, 1, index)
        return chosen_labels(self._xp, self._labels, index), transformed(self._xp, scores, self._transform)

    def _decisions(self, values: Array) -> Iterator[tuple[int, int, Array]]:
        """For each pair of classes a score [N], above 0 for the first of them; float64."""
        starts = [0, *np.cumsum(self._per_class).tolist()]
        xp = self._xp
        coefficients = xp.asarray(self._coefficients[: (len(self._labels) - 1) * starts[-1]].reshape(-1, starts[-1]), np.float64)
        for pair, (first, second) in enumerate(combinations(range(len(self._labels)), 2)):
            of_first, of_second = slice(starts[first], starts[first + 1]), slice(starts[second], starts[second + 1])
            score = xp.matmul(values[:, of_first], coefficients[second - 1, of_first])
            score = score + xp.matmul(values[:, of_second], coefficients[first, of_second])
            yield first, second, score + float(self._rho[pair])

    def _probabilities(self, scores: Array) -> Array:
        """Scores of the pairs [N,P] to probabilities of the classes [N,K]."""
        xp, classes = self._xp, len(self._labels)
        pairs = scores.shape[1]
        wins = 1 - logistic(xp, scores * xp.asarray(self._prob_a[:pairs]) + xp.asarray(self._prob_b[:pairs]))
        wins = xp.clip(wins, _NEAREST_TO_CERTAIN, 1 - _NEAREST_TO_CERTAIN)
        between = xp.zeros((scores.shape[0], classes, classes), FLOAT)
        for column, (first, second) in enumerate(combinations(range(classes), 2)):
            between[:, first, second] = wins[:, column]
            between[:, second, first] = 1 - wins[:, column]
        return _coupled(xp, between)


def _coupled(xp: Any, between: Array) -> Array:
    """Probabilities [N,K] that agree best with `between[:, i, j]`, the probability of i where it is i or j."""
    count, classes = between.shape[:2]
    turned = between.swapaxes(1, 2)
    form = -turned * between
    own = xp.arange(classes)
    form[:, own, own] = (turned * turned).sum(axis=2)
    result = xp.full((count, classes), 1 / classes, FLOAT)
    rows = xp.arange(count)
    for _ in range(_MOST_SWEEPS):
        slope = xp.matmul(form, result[rows][..., None])[..., 0]
        mean = (result[rows] * slope).sum(axis=1)
        going = abs(slope - mean[:, None]).max(axis=1, initial=0) >= 0.005 / classes
        rows, form, slope, mean = rows[going], form[going], slope[going], mean[going]
        if not rows.size:
            break
        result[rows] = _swept(form, result[rows], slope, mean)
    return result


def _swept(form: Array, share: Array, slope: Array, mean: Array) -> Array:
    """One sweep of the coordinates, each set to its best value given the others; `slope` is `form` · `share`."""
    for own in range(share.shape[1]):
        step = (mean - slope[:, own]) / form[:, own, own]
        mean = (mean + step * (step * form[:, own, own] + 2 * slope[:, own])) / (1 + step) ** 2
        slope = (slope + step[:, None] * form[:, own]) / (1 + step)[:, None]
        share[:, own] += step
        share = share / (1 + step)[:, None]
    return share
