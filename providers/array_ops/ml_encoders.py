"""Encoders that look elements up in a list: LabelEncoder, CategoryMapper, OneHotEncoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import Fail, InvalidGraph
from onnxgpu.provider import Array, Operation, Value
from onnxgpu.providers.array_ops.ml_scores import DOMAIN, FLOAT
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.strings import string_array

_ATTRIBUTES = (("strings", "string"), ("int64s", "int64"), ("floats", "float"), ("tensor", "tensor"))
"""Ending of `keys_…` and `values_…`, and of the `default_…` that belongs to it."""

_DTYPES: Mapping[str, Any] = {"strings": object, "int64s": np.int64, "floats": np.float32}
_DEFAULTS: Mapping[str, Any] = {"strings": "_Unused", "int64s": -1, "floats": -0.0}


def array_of(items: Sequence[Any] | np.ndarray, dtype: Any) -> np.ndarray:
    """A one-dimensional array of attribute values; strings become an object array of `str`."""
    if isinstance(items, np.ndarray):
        return string_array([_text(item) for item in items.reshape(-1)], (-1,)) if items.dtype.kind in "OSU" else items.reshape(-1)
    return string_array(items, (-1,)) if dtype is object else np.array(items, dtype)


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


class Positions:
    """Where each element is in a list of keys; of equal keys the last counts, and NaN equals NaN.

    Args:
        xp: array module of the elements looked up; strings are looked up on the host.
        keys: object array of `str`, or numbers.
    """

    def __init__(self, xp: Any, keys: np.ndarray) -> None:
        self._xp = xp
        self._table: dict[str, int] | None = None
        self._count = len(keys)
        if keys.dtype == object:
            self._table = {key: position for position, key in enumerate(keys.tolist())}
        else:
            order = np.argsort(keys, kind="stable")
            self._order, self._keys = xp.asarray(order), xp.asarray(keys[order])

    def __call__(self, x: Array) -> Array:
        """int64 of the shape of `x`; -1 for an element that is no key."""
        if self._table is not None:
            find = self._table.get
            return np.fromiter((find(text, -1) for text in x.reshape(-1)), np.int64, x.size).reshape(x.shape)
        xp = self._xp
        if not self._count:
            return xp.full(x.shape, -1, np.int64)
        nearest = xp.maximum(xp.searchsorted(self._keys, x.reshape(-1), side="right") - 1, 0).reshape(x.shape)
        found = self._keys[nearest]
        same = (found == x) | ((found != found) & (x != x))
        return xp.where(same, self._order[nearest], -1)


class Lookup:
    """Keys to values, with a default for the rest."""

    def __init__(self, xp: Any, keys: np.ndarray, values: np.ndarray, default: Any) -> None:
        self._positions = Positions(xp, keys)
        ended = np.empty(len(values) + 1, values.dtype)
        ended[:-1], ended[-1] = values, default
        self._values = ended if values.dtype == object else xp.asarray(ended)

    def __call__(self, x: Array) -> Array:
        """The value for each element of `x`, in its shape."""
        return self._values[self._positions(x)]


class _Encoder:
    """A kernel whose output's element type the attributes decide."""

    input_names: tuple[str, ...] = ("x",)
    required_inputs = 1

    def outputs(self, inputs: Sequence[Value]) -> None:
        """See `onnxgpu.provider.Kernel`."""

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def lookup(self, x: Array) -> Lookup:
        """What to look `x` up in."""
        raise NotImplementedError

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        return (self.lookup(inputs[0])(inputs[0]),)


class _TwoWays(_Encoder):
    """Strings to integers or integers to strings, as the input is."""

    def __init__(self, xp: Any, strings: np.ndarray, integers: np.ndarray, attributes: Mapping[str, Any]) -> None:
        if len(strings) != len(integers):
            raise InvalidGraph(f"CategoryMapper: expected as many cats_strings as cats_int64s, got {len(strings)} and {len(integers)}")
        self._from_strings = Lookup(xp, strings, integers, attributes.get("default_int64", -1))
        self._from_integers = Lookup(xp, integers, strings, attributes.get("default_string", "_Unused"))

    def lookup(self, x: Array) -> Lookup:
        """See `_Encoder`."""
        return self._from_strings if x.dtype == object else self._from_integers


@operator("CategoryMapper", domain=DOMAIN, since=1, types=frozenset({"string", "int64"}))
class CategoryMapper(_TwoWays):
    """`cats_strings` to `cats_int64s` or back. Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_CategoryMapper.html"""

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        strings, integers = array_of(attributes.get("cats_strings", ()), object), array_of(attributes.get("cats_int64s", ()), np.int64)
        super().__init__(xp, strings, integers, attributes)


@operator("LabelEncoder", domain=DOMAIN, since=1, types=frozenset({"string", "int64"}))
class IndexEncoder(_TwoWays):
    """`classes_strings` to their positions or back. Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_LabelEncoder.html"""

    def __init__(self, xp: Any, operation: Operation) -> None:
        strings = array_of(operation.attributes.get("classes_strings", ()), object)
        super().__init__(xp, strings, np.arange(len(strings), dtype=np.int64), operation.attributes)


def _one_table(operation: Operation) -> str | None:
    for part in ("keys", "values"):
        given = [f"{part}_{ending}" for ending, _ in _ATTRIBUTES if f"{part}_{ending}" in operation.attributes]
        if len(given) != 1:
            return f"needs exactly one of the attributes {part}_…, the node has {', '.join(given) or 'none'}"
    return None


@operator("LabelEncoder", domain=DOMAIN, since=2, when=_one_table)
class LabelEncoder(_Encoder):
    """`keys_…` to `values_…`; a default for what is no key. Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_LabelEncoder.html"""

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        keys, _ = _table("keys", attributes)
        values, default = _table("values", attributes)
        if len(keys) != len(values):
            raise InvalidGraph(f"{operation}: expected as many keys as values, got {len(keys)} keys and {len(values)} values")
        if operation.version < 4:
            keys, values = keys[::-1], values[::-1]
        self._lookup = Lookup(xp, keys, values, default)

    def lookup(self, x: Array) -> Lookup:
        """See `_Encoder`."""
        return self._lookup


def _table(part: str, attributes: Mapping[str, Any]) -> tuple[np.ndarray, Any]:
    ending, kind = next(pair for pair in _ATTRIBUTES if f"{part}_{pair[0]}" in attributes)
    items = array_of(attributes[f"{part}_{ending}"], _DTYPES.get(ending))
    default = attributes.get("default_tensor")
    if default is not None:
        return items, array_of(default, None)[0]
    if kind == "tensor":
        ending = "strings" if items.dtype == object else "floats" if items.dtype.kind == "f" else "int64s"
        kind = dict(_ATTRIBUTES)[ending]
    return items, attributes.get(f"default_{kind}", _DEFAULTS[ending])


def _categories(operation: Operation) -> str | None:
    given = [name for name in ("cats_strings", "cats_int64s") if operation.attributes.get(name)]
    return None if len(given) == 1 else "needs exactly one of cats_strings and cats_int64s"


@operator("OneHotEncoder", domain=DOMAIN, since=1, when=_categories)
class OneHotEncoder(_Encoder):
    """One more dimension, of the categories: 1 for the element's own, 0 for the others; float32.

    Numbers are cut to int64 first. With `zeros` = 0 an element of no category is an error, else its row is all zeros.
    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_OneHotEncoder.html
    """

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        strings, integers = attributes.get("cats_strings", ()), attributes.get("cats_int64s", ())
        keys = array_of(strings, object) if len(strings) else array_of(integers, np.int64)
        self._xp, self._count, self._zeros = xp, len(keys), attributes.get("zeros", 1)
        self._positions = Positions(xp, keys)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        x = inputs[0]
        with np.errstate(invalid="ignore"):
            positions = self._positions(x if x.dtype == object else x.astype(np.int64))
        if not self._zeros and bool((positions < 0).any()):
            raise Fail("Unknown Category and zeros = 0: OneHotEncoder met an element of none of its categories; set zeros to 1")
        return ((positions[..., None] == self._xp.arange(self._count)).astype(FLOAT),)
