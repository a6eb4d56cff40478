"""NumPy's protocols, by which a stand-in gets to know every ufunc and function that is called with it.

Each is done on samples, which tells shape and dtype of the result, and written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from onnxgpu.provider import Spec
from onnxgpu.tracing.functions import (
    EXTREMES,
    KNOWN_FUNCTIONS,
    METHODS,
    PERMUTATIONS,
    REDUCTIONS,
    RUNNING,
    WITH_KEYWORD,
    assigned,
)
from onnxgpu.tracing.tape import Name, Recorded, Tape, Untraceable

_NONE: Mapping[str, Any] = MappingProxyType({})


class Protocols(NDArrayOperatorsMixin):
    """See the module's docstring.

    Args:
        tape: takes the calls.
        name: what the array is called there.
        sample: any array of its shape and dtype; a view of the sample of which it is a view.
        writable: a call may write into it, and what it writes is seen by all that share the memory.
        is_whole: it is all of the memory `name`, in C order.
        is_own: it may lie in other memory than the inputs.
    """

    def __init__(self, tape: Tape, name: Name, sample: np.ndarray, *, writable: bool, is_whole: bool = False, is_own: bool = False) -> None:
        self.tape, self.name, self.sample = tape, name, sample
        self.writable, self.is_whole, self.is_own = writable, is_whole, is_own

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array has it."""
        return self.sample.shape

    @property
    def dtype(self) -> np.dtype:
        """As an array has it."""
        return self.sample.dtype

    @property
    def ndim(self) -> int:
        """As an array has it."""
        return self.sample.ndim

    @property
    def size(self) -> int:
        """As an array has it."""
        return self.sample.size

    @property
    def nbytes(self) -> int:
        """As an array has it."""
        return self.sample.nbytes

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] | None = None, **keywords: Any) -> Self:
        if ufunc.nout != 1 or method not in ("__call__", "reduce", "accumulate") or (method == "__call__" and keywords):
            raise Untraceable(f"no stand-in for {ufunc.__name__}.{method} with {sorted(keywords)}")
        if method != "__call__":
            return self._over_axes(ufunc, method, inputs[0], out and out[0], *inputs[1:], **keywords)
        sample = _array(ufunc(*map(sample_of, inputs)))
        operands = [
            self._expanded(self._operand(value, inputs, ufunc, sample.dtype), value, sample.shape, ufunc.signature is None)
            for value in inputs
        ]
        target = self._target(None if out is None else out[0], sample)
        return self._written(WITH_KEYWORD.get(ufunc, ufunc), (*operands, target.name), target)

    def _operand(self, value: Any, operands: Sequence[Any], ufunc: np.ufunc, expected: np.dtype) -> Any:
        """The name of a stand-in; a number as a 0-d array, which NumPy takes sooner, if the result has the same type."""
        if is_stand_in(value):
            return value.name
        if not isinstance(value, (bool, int, float, np.generic)):
            return value
        others = [other.dtype for other in operands if is_stand_in(other)]
        number = np.asarray(value) if isinstance(value, np.generic) else np.asarray(value, np.result_type(*others, value))
        tried = ufunc(*(number if operand is value else sample_of(operand) for operand in operands))
        return number if tried.dtype == expected else value

    def _expanded(self, operand: Any, value: Any, shape: tuple[int, ...], is_elementwise: bool) -> Any:
        """The operand in the result's shape and order: copying it there and NumPy's call for such arrays take half the time."""
        given = getattr(value, "shape", ())
        if not given or not is_elementwise or (given == shape and sample_of(value).flags.c_contiguous):
            return operand
        if not is_stand_in(value):
            return np.broadcast_to(operand, shape).copy()
        whole = self._target(None, np.empty(shape, value.dtype))
        return self._written(assigned, (whole.name, Ellipsis, operand), whole).name

    def _over_axes(self, ufunc: np.ufunc, method: str, x: Any, out: Any, axis: Any = 0, dtype: Any = None, **keywords: Any) -> Self:
        """A ufunc along axes: `reduce` or `accumulate`."""
        keepdims = bool(keywords.pop("keepdims", False))
        if keywords or not is_stand_in(x):
            raise Untraceable(f"no stand-in for {ufunc.__name__}.{method} with {sorted(keywords)}")
        given = {"keepdims": keepdims} if method == "reduce" else {}
        sample = _array(getattr(ufunc, method)(x.sample, axis=axis, dtype=dtype, **given))
        target = self._target(out, sample)
        if method == "reduce" and axis == tuple(range(x.ndim)):
            axis = None
        elif type(axis) is tuple and len(axis) == 1:
            (axis,) = axis
        arguments = (x.name, axis, dtype, target.name, *given.values())
        return self._written(getattr(ufunc, method), arguments, target)

    def _written(self, function: Callable[..., Any], arguments: tuple[Any, ...], target: Self, keywords: Mapping[str, Any] = _NONE) -> Self:
        """`target`, into which the call writes."""
        self.tape.record(Recorded(function, arguments, keywords, written=target.name if target.is_whole else None))
        return target

    def _target(self, out: Any, sample: np.ndarray) -> Self:
        """What the result is written to: `out`, or new memory."""
        if out is None:
            if not sample.flags.c_contiguous:
                raise Untraceable("a result in another order than C, in which sums may differ in their last bits")
            name = self.tape.scratch(Spec(sample.shape, sample.dtype))
            return type(self)(self.tape, name, np.zeros(sample.shape, sample.dtype), writable=True, is_whole=True, is_own=True)
        if not isinstance(out, Protocols) or not out.writable:
            raise Untraceable("the function writes into an array that is not its own")
        return cast(Self, out)

    def __array_function__(self, function: Callable[..., Any], types: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if function in REDUCTIONS or function in RUNNING:
            method = "reduce" if function in REDUCTIONS else "accumulate"
            return self._reduced(REDUCTIONS.get(function) or RUNNING[function], method, *arguments, **keywords)
        if function in PERMUTATIONS:
            x, *rest = arguments
            order = function(np.empty(tuple(range(2, 2 + x.ndim))), *rest, **keywords).shape
            return x.transpose([size - 2 for size in order])
        if function in (np.expand_dims, np.squeeze):
            x, *rest = arguments
            return x.reshape(function(x.sample, *rest, **keywords).shape)
        if function is np.reshape:
            return arguments[0].reshape(*arguments[1:], **keywords)
        if function is np.mean:
            return self._mean(*arguments, **keywords)
        if function is np.clip:
            return _clipped(*arguments, **keywords)
        if function is np.where and len(arguments) == 3:
            return self._chosen(*arguments)
        if function in EXTREMES:
            return self._extreme(EXTREMES[function], *arguments, **keywords)
        if function is np.dot:
            return self._product(*arguments, **keywords)
        if function is np.copyto:
            return _copied_to(*arguments, **keywords)
        if function is np.broadcast_to and not keywords:
            return self._broadcast(*arguments)
        if function is np.may_share_memory:
            return False
        if function is np.empty_like:
            like, shape = arguments[0], keywords.get("shape", arguments[0].shape)
            return self._target(None, np.empty(shape, like.dtype))
        if function not in KNOWN_FUNCTIONS:
            raise Untraceable(f"no stand-in for numpy.{function.__name__}")
        return self._called(function, arguments, keywords)

    def _reduced(
        self, ufunc: np.ufunc, method: str, x: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Self:
        if method == "accumulate":
            return self._over_axes(ufunc, method, x, out, axis, dtype)
        if ufunc in (np.add, np.multiply) and dtype is None and x.dtype.kind in "biu":
            dtype = np.result_type(x.dtype, np.uint64 if x.dtype.kind == "u" else np.int64)
        return self._over_axes(ufunc, method, x, out, axis, dtype, keepdims=keepdims)

    def _mean(self, x: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Self:
        if dtype is not None or not is_stand_in(x) or x.dtype not in (np.float32, np.float64):
            raise Untraceable("a mean of another type than float32 or float64")
        total = self._over_axes(np.add, "reduce", x, out, axis, keepdims=keepdims)
        result: Self = np.divide(total, x.size // max(total.size, 1), out=total)  # type: ignore[call-overload]
        return result

    def _chosen(self, condition: Any, x: Any, y: Any) -> Self:
        """`where`, which takes three times as long as filling the result with `y` and copying `x` over it."""
        if condition.dtype != bool:
            raise Untraceable("a condition that is not of type bool")
        sample = _array(np.where(*sample_of((condition, x, y))))
        target = self._target(None, sample)
        self._written(assigned, (target.name, Ellipsis, named(y)), target)
        _copied_to(target, x, where=condition)
        return target

    def _extreme(self, method: Callable[..., Any], x: Any, axis: int | None = None, out: Any = None, **keywords: Any) -> Self:
        """`argmax` or `argmin`."""
        if keywords:
            raise Untraceable(f"no stand-in for {method.__name__} with {sorted(keywords)}")
        target = self._target(out, _array(method(x.sample, axis)))
        return self._written(method, (x.name, axis, target.name), target)

    def _broadcast(self, x: Any, shape: Any) -> Self:
        name = self.tape.name("t")
        self.tape.record(Recorded(np.broadcast_to, (x.name, shape), result=name))
        return type(self)(self.tape, name, np.broadcast_to(x.sample, shape), writable=False, is_own=x.is_own)

    def _product(self, a: Any, b: Any, out: Any = None) -> Self:
        target = self._target(out, _array(np.dot(sample_of(a), sample_of(b))))
        if not target.sample.flags.c_contiguous:
            raise Untraceable("a product that is not written to dense memory")
        return self._written(np.ndarray.dot, (named(a), named(b), target.name), target)

    def _called(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Self:
        """Any other function, which returns an array of its own or writes into `out`."""
        given = {key: value for key, value in keywords.items() if key != "out"}
        sample = function(*sample_of(arguments), **sample_of(given))
        if not isinstance(sample, np.ndarray):
            raise Untraceable("a result that is a number, and no array")
        function = METHODS.get(function, function)
        positional, by_keyword = named(arguments), named(given)
        out = keywords.get("out")
        if out is not None:
            target = self._target(out, sample)
            return self._written(function, positional, target, {**by_keyword, "out": target.name})
        name = self.tape.name("t")
        self.tape.record(Recorded(function, positional, by_keyword, result=name))
        return type(self)(self.tape, name, np.zeros(sample.shape, sample.dtype), writable=True, is_own=True)


def is_stand_in(value: Any) -> bool:
    """True for a stand-in (which says of itself that it is an array)."""
    return issubclass(type(value), Protocols)


def _clipped(x: Any, least: Any = None, greatest: Any = None, out: Any = None) -> Any:
    """What `clip` is defined as; two ufuncs take half the time of NumPy's function for it."""
    if least is None or greatest is None:
        raise Untraceable("a clip with one limit")
    for limit, ufunc in ((least, np.maximum), (greatest, np.minimum)):
        x = out = ufunc(x, limit, out=out)
    return out


def _copied_to(target: Any, source: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not is_stand_in(target) or not target.writable:
        raise Untraceable("the function writes into an array that is not its own")
    if where is True:
        target[...] = source
    elif (
        all(sample_of(value).shape == target.shape for value in (source, where) if hasattr(value, "shape")) and source.dtype == target.dtype
    ):
        target.tape.record(Recorded(np.putmask, (target.name, named(where), named(source))))
    else:
        target.tape.record(Recorded(np.copyto, (target.name, named(source), casting, named(where))))


def _array(result: Any) -> np.ndarray:
    if not isinstance(result, (np.ndarray, np.generic)):
        raise Untraceable(f"a result of type {type(result).__name__}")
    return np.asarray(result)


def sample_of(value: Any) -> Any:
    """`value` with samples in the place of stand-ins."""
    if is_stand_in(value):
        return value.sample
    if isinstance(value, dict):
        return {key: sample_of(item) for key, item in value.items()}
    return type(value)(map(sample_of, value)) if type(value) in (list, tuple) else value


def named(value: Any) -> Any:
    """`value` with names in the place of stand-ins."""
    if is_stand_in(value):
        return value.name
    if isinstance(value, dict):
        return {key: named(item) for key, item in value.items()}
    return type(value)(map(named, value)) if type(value) in (list, tuple) else value
