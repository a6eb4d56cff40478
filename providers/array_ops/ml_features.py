"""Features prepared for a model: Scaler, Normalizer, Imputer, Binarizer, ArrayFeatureExtractor, FeatureVectorizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.ml_scores import DOMAIN, FLOAT, rows_of
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first


def _calculated_in(x: Array) -> np.dtype:
    return np.dtype(np.float64) if x.dtype == np.float64 else FLOAT


def _float_like_first(x: Array, **_: Any) -> Spec:
    return Spec(tuple(x.shape), FLOAT, may_reuse=(0,) if x.dtype == FLOAT else ())


@operator("Scaler", domain=DOMAIN, since=1, specs=_float_like_first)
def scaler(xp: Any, x: Array, *, scale: Sequence[float] = (), offset: Sequence[float] = (), out: Array = None) -> Array:
    """(x - offset) * scale along the last axis, float32; one `scale` and `offset` for all features or one for each.

    Raises:
        InvalidArgument: `scale` and `offset` have neither one element nor as many as there are features.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_Scaler.html
    """
    if x.ndim == 0 or len(scale) != len(offset) or len(scale) not in (1, x.shape[-1]):
        raise InvalidArgument(
            f"Scaler: expected scale and offset of 1 element or of one for each feature of {braced(x.shape)}, "
            f"got {len(scale)} and {len(offset)} (Either both scale and offset can be of feature size or 1)"
        )
    dtype = _calculated_in(x)
    result = (x.astype(dtype, copy=False) - xp.asarray(np.array(offset, dtype))) * xp.asarray(np.array(scale, dtype))
    return _given(result, out)


def _given(result: Array, out: Array) -> Array:
    if out is None:
        return result.astype(FLOAT, copy=False)
    out[...] = result
    return out


@operator("Normalizer", domain=DOMAIN, since=1, specs=_float_like_first)
def normalizer(xp: Any, x: Array, *, norm: str = "MAX", out: Array = None) -> Array:
    """Each row of [N,F] or [F] over its largest element (MAX) or its L1 or L2 norm, float32; rows of norm 0 stay.

    Raises:
        InvalidArgument: another `norm`, or an input of another rank.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_Normalizer.html
    """
    if norm not in ("MAX", "L1", "L2"):
        raise InvalidArgument(f"Normalizer: expected norm 'MAX', 'L1' or 'L2', got {norm!r}")
    rows = rows_of(x, "Normalizer").astype(_calculated_in(x), copy=False)
    if not rows.size:
        return _given(x.astype(FLOAT), out)
    if norm == "MAX":
        size = rows.max(axis=1, keepdims=True)
    elif norm == "L1":
        size = abs(rows).sum(axis=1, keepdims=True)
    else:
        size = xp.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return _given((rows / xp.where(size == 0, 1, size)).reshape(x.shape), out)


@operator("Imputer", domain=DOMAIN, since=1, specs=like_first)
def imputer(
    xp: Any,
    x: Array,
    *,
    imputed_value_floats: Sequence[float] = (),
    imputed_value_int64s: Sequence[int] = (),
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
    out: Array = None,
) -> Array:
    """`x` with the imputed value, of each feature or of all, in place of every element that equals the replaced one.

    The int64 attributes hold for integers, the float ones for floating point; NaN equals NaN.

    Raises:
        InvalidArgument: there are no imputed values of the input's kind.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_Imputer.html
    """
    imputed: Sequence[float] = imputed_value_floats if x.dtype.kind == "f" else imputed_value_int64s
    if not len(imputed):
        kind = "floats" if x.dtype.kind == "f" else "int64s"
        raise InvalidArgument(f"Imputer: an input of type {x.dtype} needs imputed_value_{kind} (Empty value of imputed values.)")
    replaced = replaced_value_float if x.dtype.kind == "f" else replaced_value_int64
    missing = x != x if replaced != replaced else x == replaced
    values = xp.asarray(np.array(imputed if x.ndim and len(imputed) == x.shape[-1] else imputed[:1], x.dtype))
    result = xp.where(missing, values, x)
    if out is None:
        return result
    out[...] = result
    return out


@operator("Binarizer", domain=DOMAIN, since=1, specs=like_first)
def binarizer(xp: Any, x: Array, *, threshold: float = 0.0, out: Array = None) -> Array:
    """1 where `x` is above `threshold`, else 0, in its own type. Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_Binarizer.html"""
    result = x > threshold
    if out is None:
        return result.astype(x.dtype)
    out[...] = result
    return out


@operator("ArrayFeatureExtractor", domain=DOMAIN, since=1, host=("y",))
def array_feature_extractor(xp: Any, x: Array, y: Array) -> Array:
    """The features at positions `y` (int64) of the last axis; a vector [F] gives [1,len(y)].

    Raises:
        InvalidArgument: no positions, or one outside of the axis.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_ArrayFeatureExtractor.html
    """
    positions = y.reshape(-1)
    if x.ndim == 0 or positions.size == 0:
        raise InvalidArgument(f"ArrayFeatureExtractor: expected an axis and positions on it, got {braced(x.shape)} and {braced(y.shape)}")
    if int(positions.min()) < 0 or int(positions.max()) >= x.shape[-1]:
        raise InvalidArgument(
            f"Invalid Y argument: index is out of range: ArrayFeatureExtractor takes 0 to {x.shape[-1] - 1}, "
            f"got {int(positions.min())} to {int(positions.max())}"
        )
    taken = x[..., xp.asarray(positions)]
    return taken.reshape(1, -1) if x.ndim == 1 else taken


@operator("FeatureVectorizer", domain=DOMAIN, since=1)
def feature_vectorizer(xp: Any, *inputs: Array, inputdimensions: Sequence[int] = ()) -> Array:
    """The inputs [N,F] or [F] side by side, float32, each cut or filled with zeros to its `inputdimensions`.

    Raises:
        InvalidArgument: `inputdimensions` has not one number for each input, or the inputs have not as many rows.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_FeatureVectorizer.html
    """
    if len(inputdimensions) != len(inputs):
        raise InvalidArgument(
            f"FeatureVectorizer: Number of inputs ({len(inputs)}) does not match number of inputdimensions values ({len(inputdimensions)})."
        )
    rows = [x.reshape(1, -1) if x.ndim < 2 else x.reshape(x.shape[0], -1) for x in inputs]
    if len({x.shape[0] for x in rows}) > 1:
        raise InvalidArgument(f"FeatureVectorizer: expected inputs of as many rows, got {', '.join(braced(x.shape) for x in inputs)}")
    result = xp.zeros((rows[0].shape[0], sum(inputdimensions)), FLOAT)
    start = 0
    for x, width in zip(rows, inputdimensions, strict=True):
        taken = min(width, x.shape[1])
        result[:, start : start + taken] = x[:, :taken]
        start += width
    return result
