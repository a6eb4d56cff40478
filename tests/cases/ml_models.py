"""Linear models and support vector machines of ai.onnx.ml."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.ml_case import ModelCase
from tests.cases.random_arrays import normal

X = normal(5, 3)
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
KERNELS = {"LINEAR": (0.0, 0.0, 0.0), "POLY": (0.5, 1.5, 3.0), "RBF": (0.7, 0.0, 0.0), "SIGMOID": (0.25, -0.5, 0.0)}


def case(operator: str, x: np.ndarray, outputs: int, **attributes: Any) -> Case:
    return ModelCase(operator, (x,), attributes, 1, outputs=outputs)


def floats(*shape: int, scale: float = 1.0) -> list[float]:
    return (scale * normal(*shape)).reshape(-1).tolist()


def linear(targets: int, transform: str = "NONE", x: np.ndarray = X, **labels: Any) -> Case:
    """A classifier; the scores of PROBIT are probabilities."""
    scale, offset = (0.05, 0.5) if transform == "PROBIT" else (1.0, 0.25)
    weights = {"coefficients": floats(targets, 3, scale=scale), "intercepts": [offset] * targets}
    return replace(
        case("LinearClassifier", x, 2, post_transform=transform, **weights, **labels), atol=1e-4 if transform == "PROBIT" else None
    )


def machine(per_class: list[int], kernel: str = "RBF", transform: str = "NONE", x: np.ndarray = X, **more: Any) -> Case:
    classes, vectors = len(per_class), sum(per_class)
    attributes = {
        "coefficients": floats(classes - 1, vectors),
        "support_vectors": floats(vectors, 3),
        "rho": floats(classes * (classes - 1) // 2, scale=0.1),
        "kernel_params": list(KERNELS[kernel]),
    }
    labels = more or {"classlabels_ints": list(range(10, 10 + classes))}
    return case("SVMClassifier", x, 2, vectors_per_class=per_class, kernel_type=kernel, post_transform=transform, **attributes, **labels)


def probabilities(classes: int) -> dict[str, Any]:
    pairs = classes * (classes - 1) // 2
    return {"prob_a": floats(pairs), "prob_b": floats(pairs), "classlabels_strings": [f"class {i}" for i in range(classes)]}


def regressor(supports: int, kernel: str, one_class: int) -> Case:
    count = {"coefficients": floats(supports or 3), "support_vectors": floats(supports, 3) if supports else [0.0]}
    more = {"n_supports": supports, "rho": [0.3], "kernel_type": kernel, "kernel_params": list(KERNELS[kernel]), "one_class": one_class}
    return case("SVMRegressor", X, 1, **count, **more)


CASES = [
    *(linear(3, transform, classlabels_ints=[4, 5, 6]) for transform in TRANSFORMS),
    *(linear(1, transform, classlabels_strings=["no", "yes"]) for transform in TRANSFORMS[:4]),
    *(linear(3, x=x, classlabels_strings=["a", "b", "c"]) for x in (X.astype(np.float64), (X * 3).astype(np.int64), X[0])),
    linear(2, classlabels_ints=[-1, 1], multi_class=1),
    *(
        case("LinearRegressor", X, 1, targets=2, post_transform=transform, coefficients=floats(2, 3), intercepts=[0.5, -0.5])
        for transform in TRANSFORMS[:4]
    ),
    case("LinearRegressor", X, 1, targets=1, coefficients=floats(3), post_transform="LOGISTIC"),
    case("LinearRegressor", X[0], 1, targets=2, coefficients=floats(2, 3)),
    *(machine([2, 3, 2], kernel) for kernel in KERNELS),
    *(machine([2, 3], "LINEAR", transform) for transform in TRANSFORMS[:4]),
    *(machine([2, 1, 2, 3], "RBF", transform) for transform in TRANSFORMS[:4]),
    *(machine([2, 1, 2, 3][:classes], **probabilities(classes)) for classes in (2, 3, 4)),
    machine([2, 1, 2], transform="SOFTMAX", **probabilities(3)),
    machine([2, 3, 2], x=X.astype(np.float64)),
    *(
        case(
            "SVMClassifier",
            X,
            2,
            coefficients=floats(classes, 3),
            rho=[0.1],
            classlabels_ints=list(range(classes)),
            kernel_params=[0.0, 0.0, 0.0],
        )
        for classes in (2, 3)
    ),
    *(
        case("SVMClassifier", X, 2, coefficients=[0.1] * 6, rho=[rho], classlabels_ints=[3, 4], kernel_params=[0.0, 0.0, 0.0])
        for rho in (0.4, -0.4)
    ),
    *(regressor(supports, kernel, one_class) for supports in (4, 0) for kernel in KERNELS for one_class in (0, 1)),
]
