"""A stand-in for an array that has a shape and a dtype but no values, and writes down what is done with it.

Whatever would need a value, and whatever is not known here, raises `Untraceable`. (What NumPy's protocols bring is in `protocols.py`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from onnxgpu.tracing.functions import assigned
from onnxgpu.tracing.protocols import Protocols, is_stand_in, named, sample_of
from onnxgpu.tracing.tape import Recorded, Untraceable

_BASIC = (int, slice, type(None), type(Ellipsis))


class StandIn(Protocols):
    """See the module's docstring."""

    @property
    def flags(self) -> Any:
        """As an array has it; not known of an input."""
        if not self.is_whole or not self.writable:
            raise Untraceable("how an input lies in memory differs between runs")
        return self.sample.flags

    @property
    def T(self) -> StandIn:
        """As an array has it."""
        return self.transpose()

    def __len__(self) -> int:
        return len(self.sample)

    def __iter__(self) -> Iterator[StandIn]:
        return (self[index] for index in range(len(self)))

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise Untraceable("the function asks for a value")

    __bool__ = __int__ = __float__ = __index__ = __complex__ = __array__ = __contains__ = _refuse
    item = tolist = tobytes = view = __dlpack__ = __dlpack_device__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise Untraceable(f"no stand-in for ndarray.{name}")

    def _viewed(self, method: Callable[..., Any], *arguments: Any, writable: bool) -> StandIn:
        sample = method(self.sample, *arguments)
        name = self.tape.name("t")
        self.tape.record(Recorded(method, (self.name, *arguments), result=name))
        shares = np.may_share_memory(sample, self.sample)
        return StandIn(self.tape, name, sample, writable=writable and shares, is_own=self.is_own or not shares)

    def reshape(self, *shape: Any) -> StandIn:
        """As an array has it."""
        sizes = self.sample.reshape(*shape).shape
        if sizes == self.shape:
            return self
        return self._viewed(np.ndarray.reshape, sizes, writable=self.writable and self.is_whole)

    def ravel(self) -> StandIn:
        """As an array has it."""
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> StandIn:
        """As an array has it."""
        (order,) = axes if len(axes) == 1 else (axes or tuple(reversed(range(self.ndim))),)
        order = tuple(axis % max(self.ndim, 1) for axis in order or reversed(range(self.ndim)))
        return self if order == tuple(range(self.ndim)) else self._viewed(np.ndarray.transpose, order, writable=self.writable)

    def swapaxes(self, first: int, second: int) -> StandIn:
        """As an array has it."""
        order = list(range(self.ndim))
        order[first], order[second] = order[second], order[first]
        return self.transpose(order)

    def astype(self, dtype: Any, *, copy: bool = True) -> StandIn:
        """As an array has it."""
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        if not self.sample.flags.c_contiguous:
            raise Untraceable("a copy in another order than C, in which sums may differ in their last bits")
        name = self.tape.name("t")
        self.tape.record(Recorded(np.ndarray.astype, (self.name, np.dtype(dtype), "C"), result=name))
        return StandIn(self.tape, name, np.zeros(self.shape, dtype), writable=True, is_own=True)

    def copy(self) -> StandIn:
        """As an array has it."""
        return self.astype(self.dtype)

    def fill(self, value: Any) -> None:
        """As an array has it."""
        self._write()
        self.tape.record(Recorded(np.ndarray.fill, (self.name, named(value)), written=self.name if self.is_whole else None))

    def sum(self, *arguments: Any, **keywords: Any) -> Any:
        """As an array has it."""
        return np.sum(self, *arguments, **keywords)

    def max(self, *arguments: Any, **keywords: Any) -> Any:
        """As an array has it."""
        return np.max(self, *arguments, **keywords)

    def min(self, *arguments: Any, **keywords: Any) -> Any:
        """As an array has it."""
        return np.min(self, *arguments, **keywords)

    def mean(self, *arguments: Any, **keywords: Any) -> Any:
        """As an array has it."""
        return np.mean(self, *arguments, **keywords)

    def __getitem__(self, index: Any) -> StandIn:
        items = index if isinstance(index, tuple) else (index,)
        if all(isinstance(item, _BASIC) for item in items):
            sample = self.sample[index]
            if not isinstance(sample, np.ndarray):
                items = (*items, Ellipsis)
            if self.sample[items].shape == self.shape and not any(isinstance(i, slice) and i.step not in (None, 1) for i in items):
                return self
            return self._viewed(np.ndarray.__getitem__, items, writable=self.writable)
        if not all(isinstance(item, _BASIC) or type(item) is np.ndarray for item in items):
            raise Untraceable("an index that differs between runs")
        return self._viewed(np.ndarray.__getitem__, items, writable=True)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._write()
        items = index if isinstance(index, tuple) else (index,)
        if not all(isinstance(item, _BASIC) or type(item) is np.ndarray for item in items):
            raise Untraceable("an index that differs between runs")
        self.sample[index] = sample_of(value)
        if index is Ellipsis and is_stand_in(value):
            if value.name == self.name:
                return
            alike = value.is_whole and self.is_whole and value.shape == self.shape and value.dtype == self.dtype
            if alike and value.writable and self.tape.moved(value.name, self.name):
                value.name = self.name
                value.writable = self.writable = False
                return
        is_all = self.is_whole and index is Ellipsis
        self.tape.record(Recorded(assigned, (self.name, index, named(value)), written=self.name if is_all else None))

    def _write(self) -> None:
        if not self.writable:
            raise Untraceable("the function writes into memory that is not its own")
