"""Scan as functions over a callable body: see `control_flow.py` for what a body is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Body, Value, ValueInfo
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.control_flow import IteratingKernel, empty_scan_output
from onnxgpu.providers.array_ops.host_values import braced, integers
from onnxgpu.providers.array_ops.registry import operator


class _ScanOutput:
    """One scan output, filled element by element along `axis`, from the end if `backwards`."""

    def __init__(self, xp: Any, length: int, axis: int, backwards: bool) -> None:
        self.array: Array = None
        self._xp, self._length, self._axis, self._backwards = xp, length, axis, backwards

    def put(self, step: int, element: Array) -> None:
        """Store the element of iteration `step`."""
        if self.array is None:
            self._axis = normalized_axis(self._axis, element.ndim + 1, "Scan")
            shape = (*element.shape[: self._axis], self._length, *element.shape[self._axis :])
            self.array = self._xp.empty(shape, element.dtype)
            self.array.fill("" if element.dtype.kind == "O" else 0)
        position = self._length - 1 - step if self._backwards else step
        target = self.array[(slice(None),) * self._axis + (position, ...)]
        if target.shape != element.shape:
            raise InvalidArgument(f"Scan: expected outputs of shape {braced(target.shape)} in all iterations, got {braced(element.shape)}")
        target[...] = element


@dataclass(frozen=True, slots=True)
class _ScanLayout:
    """Axis and direction (1: from the end) of each scan input and of each scan output."""

    input_axes: Sequence[int]
    input_directions: Sequence[int]
    output_axes: Sequence[int]
    output_directions: Sequence[int]


def _element(x: Array, axis: int, position: int) -> Array:
    return x[(slice(None),) * axis + (position, ...)]


def _scan(
    xp: Any,
    body: Body,
    states: Sequence[Value],
    scanned: Sequence[Array],
    layout: _ScanLayout,
    length: int,
    room: int,
    declared: Sequence[ValueInfo | None],
) -> tuple[Value, ...]:
    """States and scan outputs of `body` over the first `length` elements of the scan inputs; scan outputs have `room`."""
    outputs = [_ScanOutput(xp, room, axis, bool(back)) for axis, back in zip(layout.output_axes, layout.output_directions, strict=True)]
    sources = list(zip(scanned, layout.input_axes, layout.input_directions, strict=True))
    for step in range(length):
        results = body(*states, *(_element(x, axis, length - 1 - step if back else step) for x, axis, back in sources))
        states, elements = results[: len(states)], results[len(states) :]
        for output, element in zip(outputs, elements, strict=False):
            output.put(step, element)
    arrays = [
        empty_scan_output(xp, info, axis, room) if output.array is None else output.array
        for output, info, axis in zip(outputs, declared, layout.output_axes, strict=True)
    ]
    return (*states, *arrays)


def _one_length(lengths: Sequence[int]) -> int:
    if not lengths or len(set(lengths)) != 1:
        raise InvalidArgument(f"Scan: expected one or more scan inputs of one length along their scan axes, got lengths {list(lengths)}")
    return lengths[0]


@operator("Scan", since=9)
class Scan(IteratingKernel):
    """`scan` as a kernel. Spec: https://onnx.ai/onnx/operators/onnx__Scan.html"""

    def _run(self, inputs: Sequence[Value], body: Body) -> tuple[Value, ...]:
        return scan(self._xp, *inputs, body=body, declared=self._declared, **self._attributes)


@operator("Scan", since=8, host=("sequence_lens",))
class BatchedScan(IteratingKernel):
    """`batched_scan` as a kernel. Spec: https://onnx.ai/onnx/operators/onnx__Scan.html"""

    input_names = ("sequence_lens",)

    def _run(self, inputs: Sequence[Value], body: Body) -> tuple[Value, ...]:
        return batched_scan(self._xp, *inputs, body=body, declared=self._declared, **self._attributes)


def scan(
    xp: Any,
    *inputs: Value,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
    declared: Sequence[ValueInfo | None],
) -> tuple[Value, ...]:
    """Runs `body(*states, *elements) -> (*states, *outputs)` for each element of the scan inputs along their axes.

    Args:
        xp: array module.
        inputs: initial states, then `num_scan_inputs` arrays to scan.
        body: the graph attribute.
        num_scan_inputs: how many of the inputs are scanned.
        scan_input_axes: scan axis of each scan input, 0 by default.
        scan_input_directions: 1 to scan from the end.
        scan_output_axes: axis along which each scan output is put together, 0 by default.
        scan_output_directions: 1 to put it together from the end.
        declared: what is known of the node's outputs; their number decides how many are scan outputs.

    Returns:
        The states after the last element, then the scan outputs.
    """
    state_count = len(inputs) - num_scan_inputs
    scanned = inputs[state_count:]
    axes = [normalized_axis(axis, x.ndim, "Scan") for axis, x in zip(scan_input_axes or [0] * num_scan_inputs, scanned, strict=True)]
    length = _one_length([x.shape[axis] for x, axis in zip(scanned, axes, strict=True)])
    for_inputs, for_outputs = [0] * num_scan_inputs, [0] * (len(declared) - state_count)
    layout = _ScanLayout(axes, scan_input_directions or for_inputs, scan_output_axes or for_outputs, scan_output_directions or for_outputs)
    return _scan(xp, body, inputs[:state_count], scanned, layout, length, length, declared[state_count:])


def batched_scan(
    xp: Any,
    sequence_lens: Array | None,
    *inputs: Array,
    body: Body,
    num_scan_inputs: int,
    directions: Sequence[int] | None = None,
    declared: Sequence[ValueInfo | None],
) -> tuple[Array, ...]:
    """`scan` for each element of a batch, as opset 8 has it: batch axis 0, scan axis 1.

    `sequence_lens` [batch] says how many elements each has (all by default); beyond that the scan outputs are zero.
    """
    state_count = len(inputs) - num_scan_inputs
    states, scanned = inputs[:state_count], inputs[state_count:]
    room = _one_length([x.shape[1] for x in scanned])
    batch_size = _one_length([x.shape[0] for x in scanned])
    lengths = [room] * batch_size if sequence_lens is None else integers(sequence_lens)
    for_inputs, for_outputs = [0] * num_scan_inputs, [0] * (len(declared) - state_count)
    layout = _ScanLayout(for_inputs, directions or for_inputs, for_outputs, for_outputs)
    if not lengths:
        return (*states, *(empty_scan_output(xp, info) for info in declared[state_count:]))
    within = [replace(info, shape=info.shape[1:]) if info and info.shape else info for info in declared[state_count:]]
    rows = [
        _scan(xp, body, [x[batch] for x in states], [x[batch] for x in scanned], layout, length, room, within)
        for batch, length in enumerate(lengths)
    ]
    return tuple(xp.stack(column) for column in zip(*rows, strict=True))
