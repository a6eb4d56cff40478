"""onnxruntime's channels-last image operators; it runs most of them on GPUs alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.oracles import expected_outputs
from tests.cases.random_arrays import integers, normal, uniform

_NOTE = "onnxruntime has no kernel for the CPU"
_X = normal(2, 6, 5, 4)
_BYTES = integers(2, 7, 6, 3, low=0, high=255, dtype="uint8")
_MANNERS: list[dict[str, Any]] = [
    {},
    {"pads": [1, 1, 1, 1], "strides": [2, 2]},
    {"auto_pad": "SAME_UPPER", "dilations": [2, 1]},
]


def _last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def _convolutions() -> list[Case]:
    cases = []
    for manner in _MANNERS:
        for w in (normal(6, 4, 3, 3), normal(8, 2, 2, 3)):
            bias, attributes = normal(w.shape[0]), {"group": 4 // w.shape[1], **manner}
            (plain,) = expected_outputs(Case("Conv", [_first(_X), w, bias], attributes))
            inputs = [_X, w, bias]
            cases.append(Case("NhwcConv", inputs, attributes, opset=1, domain="com.microsoft", expected=[_last(plain)], note=_NOTE))
            z = normal(*_last(plain).shape, seed=1)
            fused = {**attributes, "activation": "LeakyRelu", "activation_params": [0.2]}
            total = _last(plain) + z
            expected = np.where(total < 0, total * np.float32(0.2), total)
            cases.append(Case("NhwcFusedConv", [*inputs, z], fused, opset=1, domain="com.microsoft", expected=[expected], note=_NOTE))
    return cases


def _pools() -> list[Case]:
    kernel = {"kernel_shape": [3, 2]}
    manners = [*_MANNERS[:2], {"auto_pad": "SAME_UPPER"}, {"dilations": [2, 1]}, {"ceil_mode": 1, "strides": [2, 2]}]
    return [
        Case("NhwcMaxPool", [x], {**kernel, **manner}, opset=1, domain="com.microsoft")
        for manner in manners
        for x in (_BYTES, (_BYTES.astype("i2") - 128).astype("i1"))
    ]


def _group_norms() -> list[Case]:
    gamma, beta = uniform(4), normal(4)
    shapes = {1: (_X, (2, 1, 1, 4)), 0: (_first(_X), (2, 4, 1, 1))}
    cases = []
    for last, (x, broad) in shapes.items():
        for activation in (0, 1):
            for skip in (None, normal(*x.shape, seed=1), normal(*broad), normal(2, 4)):
                total = x if skip is None else x + skip.reshape(broad if skip.ndim == 2 else skip.shape) + _channel(normal(4, seed=2), last)
                groups = (_first(total) if last else total).reshape(2, 2, -1).astype("f8")
                centred = groups - groups.mean(2, keepdims=True)
                normed = (centred / np.sqrt((centred * centred).mean(2, keepdims=True) + 1e-5)).reshape(2, 4, 6, 5)
                y = (_last(normed) if last else normed) * _channel(gamma, last) + _channel(beta, last)
                y = (y / (1 + np.exp(-y)) if activation else y).astype("f4")
                attributes = {"activation": activation, "groups": 2, "channels_last": last}
                name, inputs = ("GroupNorm", [x, gamma, beta])
                if skip is not None:
                    name, inputs = "SkipGroupNorm", [x, gamma, beta, skip, normal(4, seed=2)]
                expected = [y] if skip is None else [y, total]
                cases.append(
                    Case(name, inputs, attributes, opset=1, domain="com.microsoft", outputs=len(expected), expected=expected, note=_NOTE)
                )
    half = [x.astype("f2") for x in (_X, gamma, beta)]
    wide = [x.astype("f4") for x in half]
    (first,) = expected_outputs(Case("GroupNormalization", [_first(wide[0]), *wide[1:]], {"num_groups": 4}, oracle="reference"))
    settings = {"activation": 0, "groups": 4}
    cases.append(Case("GroupNorm", half, settings, opset=1, domain="com.microsoft", expected=[_last(first).astype("f2")], note=_NOTE))
    return cases


def _channel(vector: np.ndarray, last: int) -> np.ndarray:
    return vector if last else vector.reshape(1, -1, 1, 1)


CASES = [*_convolutions(), *_pools(), *_group_norms()]
