"""Operators on maps, which are Python dicts in host memory: ZipMap, CastMap, DictVectorizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.ml_scores import DOMAIN
from onnxgpu.providers.array_ops.registry import operator

_CASTS: Mapping[str, tuple[Any, Any]] = {"TO_FLOAT": (np.float32, 0.0), "TO_STRING": (object, "0.f"), "TO_INT64": (np.int64, 0)}
"""`cast_to` → element type, and what stands for a key that is not in the map."""


def _one_kind_of_labels(operation: Operation) -> str | None:
    given = [name for name in ("classlabels_strings", "classlabels_int64s") if operation.attributes.get(name)]
    return None if len(given) == 1 else "needs exactly one of classlabels_strings and classlabels_int64s"


@operator("ZipMap", domain=DOMAIN, since=1, types=frozenset({"float"}), when=_one_kind_of_labels, host=("x",))
def zip_map(
    xp: Any, x: Array, *, classlabels_strings: Sequence[str] = (), classlabels_int64s: Sequence[int] = ()
) -> list[dict[str | int, float]]:
    """A dict of label to value for each row of scores [N,K] or [K], keys in ascending order.

    Raises:
        InvalidArgument: a row has not one value for each label.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_ZipMap.html
    """
    labels: Sequence[Any] = classlabels_strings or classlabels_int64s
    if x.ndim not in (1, 2) or x.shape[-1] != len(labels):
        raise InvalidArgument(f"ZipMap: expected scores of shape [N,{len(labels)}], one for each label, got {braced(x.shape)}")
    order = sorted(range(len(labels)), key=lambda position: labels[position])
    keys = [labels[position] for position in order]
    rows = (x.reshape(1, -1) if x.ndim == 1 else x)[:, order].tolist()
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _cast(value: Any, cast_to: str) -> Any:
    if cast_to == "TO_STRING":
        return value if isinstance(value, str) else f"{np.float32(value):f}"
    if cast_to == "TO_INT64":
        return int(value)
    return float(value)


@operator("CastMap", domain=DOMAIN, since=1)
def cast_map(xp: Any, x: Mapping[int, Any], *, cast_to: str = "TO_FLOAT", map_form: str = "DENSE", max_map: int = 1) -> Array:
    """The values of a map in order of its keys, cast, as a tensor.

    `cast_to` is TO_FLOAT, TO_STRING or TO_INT64. `map_form` DENSE gives [1,len(x)]; SPARSE gives [1,max_map] with each
    value at its key's position.

    Raises:
        InvalidArgument: a negative key (SPARSE), a value that is no number, or another `cast_to` or `map_form`.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_CastMap.html
    """
    if cast_to not in _CASTS or map_form not in ("DENSE", "SPARSE"):
        raise InvalidArgument(f"CastMap: expected one of {', '.join(_CASTS)} and DENSE or SPARSE, got {cast_to!r} and {map_form!r}")
    dtype, missing = _CASTS[cast_to]
    try:
        values = {key: _cast(x[key], cast_to) for key in sorted(x)}
    except ValueError as problem:
        raise InvalidArgument(f"CastMap {cast_to}: {problem}") from None
    if map_form == "DENSE":
        return _row(list(values.values()), dtype)
    if values and min(values) < 0:
        raise InvalidArgument(f"CastMap: expected keys of at least 0 for a sparse map, got {min(values)}")
    return _row([values.get(key, missing) for key in range(max_map)], dtype)


def _row(values: Sequence[Any], dtype: Any) -> np.ndarray:
    row = np.empty((1, len(values)), dtype)
    row[0, :] = values
    return row


def _value_dtype(x: Mapping[Any, Any]) -> np.dtype:
    """The element type of a map whose declared type is not known; Python floats count as float32."""
    values = list(x.values())
    if any(isinstance(value, str) for value in values):
        return np.dtype(object)
    if any(isinstance(value, np.float64) for value in values):
        return np.dtype(np.float64)
    integers = bool(values) and all(isinstance(value, (int, np.integer)) for value in values)
    return np.dtype(np.int64 if integers else np.float32)


@operator("DictVectorizer", domain=DOMAIN, since=1)
def dict_vectorizer(
    xp: Any,
    x: Mapping[Any, Any],
    *,
    string_vocabulary: Sequence[str] = (),
    int64_vocabulary: Sequence[int] = (),
    dtype_hint: np.dtype | None = None,
) -> Array:
    """The map's value for each word of the vocabulary, [1,V]; zero or the empty string for a key it does not have.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_DictVectorizer.html
    """
    dtype = _value_dtype(x) if dtype_hint is None else dtype_hint
    missing: Any = "" if dtype.kind == "O" else 0
    vocabulary: Sequence[Any] = string_vocabulary or int64_vocabulary
    return _row([x.get(word, missing) for word in vocabulary], dtype)
