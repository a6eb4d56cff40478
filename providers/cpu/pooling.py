"""MaxPool and AveragePool over one or two axes, GlobalAveragePool: taps taken as whole strided views, one axis after the other.

Both are separable: kw taps along the width, then kh along the height, instead of kh·kw. No padded copy is made; each
tap covers the outputs that it really meets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Call, Operation, Spec, Value
from onnxgpu.providers.cpu.geometry import Axis, Windows, as_planes, windows
from onnxgpu.providers.cpu.registry import operator
from onnxgpu.providers.cpu.taps import has_few_taps, tap_positions, taps
from onnxgpu.providers.cpu.threads import BLOCK, scratch, share
from onnxgpu.tracing import traced_launch

FLOATS = frozenset({"float", "double"})


def _pooled(x: Array, axes: tuple[Axis, Axis], combine: Any, identity: float, out: Array) -> None:
    """Combine the taps of each window of `x` (planes, rows, columns) into `out`, in blocks of planes."""
    rows, columns = axes
    block = max(1, BLOCK // max(1, x.shape[1] * x.shape[2]))

    def part(start: int, stop: int) -> None:
        for plane in range(start, stop, block):
            piece = x[plane : min(plane + block, stop)]
            narrow = piece
            if columns.kernel > 1 or columns.output != columns.size or columns.stride > 1:
                shape = (piece.shape[0], rows.size, columns.output)
                narrow = scratch(piece.shape[0] * rows.size * columns.output, x.dtype, 1).reshape(shape)
                _along(piece, columns, combine, identity, narrow, last=True)
            _along(narrow, rows, combine, identity, out[plane : plane + piece.shape[0]], last=False)

    share(part, x.shape[0], x.size * columns.kernel * 2)


def _along(x: Array, axis: Axis, combine: Any, identity: float, out: Array, last: bool) -> None:
    ranges = [axis.valid(tap) for tap in range(axis.kernel)]
    whole = next((tap for tap, reach in enumerate(ranges) if reach == (0, axis.output)), None)
    if whole is None:
        out.fill(identity)
    else:
        np.copyto(out, _cut(x, axis.input_slice(whole, 0, axis.output), last))
    for tap, (start, stop) in enumerate(ranges):
        if tap != whole and start < stop:
            target = _cut(out, slice(start, stop), last)
            combine(target, _cut(x, axis.input_slice(tap, start, stop), last), out=target)


def _cut(x: Array, part: slice, last: bool) -> Array:
    return x[:, :, part] if last else x[:, part]


def _counts(axis: Axis, include_pads: bool) -> Array:
    """How many taps of each window count, along one axis; windows that ceil_mode lets overshoot count up to the padding's end."""
    positions = np.arange(axis.output)[:, None] * axis.stride + np.arange(axis.kernel)[None] * axis.dilation - axis.before
    low, high = (-axis.before, axis.size + axis.after) if include_pads else (0, axis.size)
    return ((positions >= low) & (positions < high)).sum(1)


def _no_indices(operation: Operation) -> str | None:
    if any(value is not None for value in operation.outputs[1:]):
        return "is fast without the Indices output"
    if operation.attributes.get("storage_order", 0):
        return "is fast with storage_order=0"
    return _planes_only(operation)


def _planes_only(operation: Operation) -> str | None:
    rank = len(operation.attributes.get("kernel_shape", ()))
    return None if rank in (1, 2) else f"is fast over one or two spatial axes, the node has {rank}"


class _Pool(ABC):
    """What both kinds of pooling share."""

    input_names = ("x",)
    required_inputs = 1

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._windows: Windows = windows(operation.attributes, ())

    def _axes(self, x: Array) -> tuple[Axis, Axis]:
        if x.ndim != self._windows.rank + 2:
            raise InvalidArgument(f"X has {x.ndim} axes, a window over {self._windows.rank} axes needs {self._windows.rank + 2}")
        return self._windows.axes(x.shape[2:])

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, C, [Ho,] Wo)."""
        x = inputs[0]
        rows, columns = self._axes(x)
        return (Spec((*x.shape[:2], *(rows.output, columns.output)[-self._windows.rank :]), x.dtype),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None: blocks live in the threads' own scratch memory."""
        return 0

    def _table(self, x: Array | Spec) -> Array | None:
        """For a few elements, the positions of the taps of each window, all of which count; None for the way of many elements."""
        rows, columns = self._axes(x)
        return tap_positions(rows, columns) if has_few_taps(x, rows, columns) else None

    def _taps(self, x: Array, out: Array) -> tuple[Array, Array] | None:
        """The taps (planes, positions, taps) and `out` as (planes, positions), for a few elements."""
        table = self._table(x)
        if table is None:
            return None
        planes = out.shape[0] * out.shape[1]
        return taps(x.reshape(planes, x.size // planes), table), out.reshape(planes, len(table))

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return traced_launch(self, inputs, outputs) if self._table(inputs[0]) is not None else None

    @abstractmethod
    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""

    def _run(self, x: Array, out: Array, combine: Any, identity: float) -> tuple[Axis, Axis]:
        axes = self._axes(x)
        planes, target = as_planes(x), as_planes(out)
        if out.size:
            _pooled(planes.reshape(-1, *planes.shape[2:]), axes, combine, identity, target.reshape(-1, *target.shape[2:]))
        return axes


@operator("MaxPool", types=FLOATS, when=_no_indices)
class MaxPool(_Pool):
    """Spec: https://onnx.ai/onnx/operators/onnx__MaxPool.html"""

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        few = self._taps(inputs[0], outputs[0])
        if few is None:
            self._run(inputs[0], outputs[0], np.maximum, -np.inf)
        else:
            np.max(few[0], axis=-1, out=few[1])
        return outputs

    def _table(self, x: Array | Spec) -> Array | None:
        table = super()._table(x)
        if table is None or table.min() >= 0:
            return table
        first = table.max(axis=1, keepdims=True)
        return None if first.min() < 0 else np.where(table < 0, first, table)


@operator("AveragePool", since=7, types=FLOATS, when=_planes_only)
class AveragePool(_Pool):
    """Spec: https://onnx.ai/onnx/operators/onnx__AveragePool.html"""

    def __init__(self, xp: Any, operation: Operation) -> None:
        super().__init__(xp, operation)
        self._include_pads = bool(operation.attributes.get("count_include_pad", 0))

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        out = outputs[0]
        few = self._taps(inputs[0], out)
        if few is not None:
            total = np.sum(few[0], axis=-1, out=few[1])
            np.multiply(total, 1.0 / few[0].shape[2], out=total)
            return outputs
        axes = self._run(inputs[0], out, np.add, 0.0)
        rows, columns = (_counts(axis, self._include_pads) for axis in axes)
        factors = (1.0 / (rows[:, None] * columns[None])).astype(out.dtype)
        target = as_planes(out)
        np.multiply(target, factors, out=target)
        return outputs

    def _table(self, x: Array | Spec) -> Array | None:
        table = super()._table(x)
        return None if table is None or table.min() < 0 else table


@operator("GlobalAveragePool", types=FLOATS)
class GlobalAveragePool:
    """Mean over all spatial axes. Spec: https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html"""

    input_names = ("x",)
    required_inputs = 1

    def __init__(self, xp: Any, operation: Operation) -> None:
        pass

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, C, 1, …)."""
        x = inputs[0]
        return (Spec((*x.shape[:2], *(1,) * (x.ndim - 2)), x.dtype),)

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return traced_launch(self, inputs, outputs)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, out = inputs[0], outputs[0].reshape(-1)
        if out.size:
            mean_rows(x.reshape(out.size, -1), out)
        return outputs


def mean_rows(x: Array, out: Array) -> None:
    """The mean of each row of a matrix."""
    divisor = x.dtype.type(max(1, x.shape[1]))

    def part(start: int, stop: int) -> None:
        np.add.reduce(x[start:stop], axis=1, out=out[start:stop])
        np.divide(out[start:stop], divisor, out=out[start:stop])

    share(part, x.shape[0], x.size)
