"""A compiled segment as a kernel: arrays go in and out by address, and each run has a request of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import RuntimeException
from onnxgpu.provider import Array, Spec, Value
from onnxgpu.providers.openvino.engine import reason_of, tensor_over
from onnxgpu.segment_provider import Segment

MOST_REMEMBERED_SHAPES = 256

Shapes = tuple[tuple[int, ...], ...]


class SegmentKernel:
    """Runs a compiled model.

    Args:
        segment: its inputs and outputs are those of the model, in order.
        model: gives a `Model` that tells shapes; asked only if they are dynamic. None if nobody has it.
        compiled: a `CompiledModel`.
        weights: the memory that the model reads its weights from, kept alive.
        passed: the outputs that are inputs, see `passed_outputs`; None: not known, so all outputs are copied.
    """

    def __init__(
        self, segment: Segment, model: Callable[[], Any] | None, compiled: Any, weights: object, passed: Mapping[int, int] | None
    ) -> None:
        self._segment, self.compiled, self._weights = segment, compiled, weights
        self._dtypes = [value.dtype for value in segment.outputs if value.dtype is not None]
        self._positions = _positions(compiled, segment)
        self.passed = dict(passed or {})
        self._written = [] if passed is None else [index for index in range(len(self._dtypes)) if index not in passed]
        self._copied = [index for index in range(len(self._dtypes)) if passed is None]
        self._writing: deque[Any] = deque()
        self._returning: deque[Any] = deque()
        is_dynamic = any(output.partial_shape.is_dynamic for output in compiled.outputs)
        self._fixed = None if is_dynamic else _specs(compiled, self._dtypes)
        self._model = model if is_dynamic else None
        self._specs: dict[Shapes, tuple[Spec, ...] | None] = {}

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """What the model says for these shapes; None where it depends on more than shapes, or there is no model that could tell."""
        if self._fixed is not None or self._model is None:
            return self._fixed
        shapes = tuple(tuple(value.shape) for value in inputs)
        try:
            return self._specs[shapes]
        except KeyError:
            specs = self._inferred(shapes)
        if len(self._specs) >= MOST_REMEMBERED_SHAPES:
            self._specs.clear()
        self._specs[shapes] = specs
        return specs

    def _inferred(self, shapes: Shapes) -> tuple[Spec, ...] | None:
        assert self._model is not None
        model = self._model().clone()
        try:
            model.reshape({position: list(shapes[index]) for position, index in _named(model, self._segment)})
        except RuntimeError as error:
            told = ", ".join(f"{value.name}: {shape}" for value, shape in zip(self._segment.inputs, shapes, strict=True))
            raise RuntimeException(f"OpenVINO cannot run {self._segment} with {told}: {reason_of(error)}") from error
        if any(output.partial_shape.is_dynamic for output in model.outputs):
            return None
        return _specs(model, self._dtypes)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None: OpenVINO has its own."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Run."""
        free = self._returning if outputs is None else self._writing
        try:
            request = free.pop()
        except IndexError:  # not asked beforehand: other threads take from it too
            request = self.compiled.create_infer_request()
        dense = [_dense(inputs[index]) for _, index in self._positions]  # kept until the run is over: requests hold addresses alone
        for (position, _), value in zip(self._positions, dense, strict=True):
            request.set_input_tensor(position, tensor_over(value))
        if outputs is not None:
            for index in self._written:
                request.set_output_tensor(index, tensor_over(outputs[index]))
        try:
            request.infer({}, True, False)  # nothing more to set; its outputs as views, of which no copies are made
        except RuntimeError as error:
            raise RuntimeException(f"OpenVINO failed in {self._segment}: {reason_of(error)}") from error
        if outputs is None:
            outputs = [self._result(request, index).copy() for index in range(len(self._dtypes))]
        else:
            for index, source in self.passed.items():
                np.copyto(outputs[index], inputs[source])
            for index in self._copied:
                np.copyto(outputs[index], self._result(request, index))
        free.append(request)
        return outputs

    def _result(self, request: Any, index: int) -> np.ndarray:
        """A view of memory that is the request's."""
        tensor = request.get_output_tensor(index)
        array: np.ndarray = tensor.data
        return array.view(self._dtypes[index])


def _dense(array: np.ndarray) -> np.ndarray:
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _specs(model: Any, dtypes: Sequence[np.dtype]) -> tuple[Spec, ...]:
    return tuple(Spec(tuple(output.shape), dtype) for output, dtype in zip(model.outputs, dtypes, strict=True))


def _positions(model: Any, segment: Segment) -> list[tuple[int, int]]:
    """The index of each input of `model` with that of the segment's; OpenVINO leaves out inputs whose values do not matter."""
    named = _named(model, segment)
    if len(named) < len(model.inputs) == len(segment.inputs):
        return [(index, index) for index in range(len(segment.inputs))]
    return named


def _named(model: Any, segment: Segment) -> list[tuple[int, int]]:
    known = {name: index for index, port in enumerate(model.inputs) for name in port.get_names()}
    return [(known[value.name], index) for index, value in enumerate(segment.inputs) if value.name in known]


def passed_outputs(model: Any, segment: Segment) -> dict[int, int]:
    """Outputs that are inputs, which OpenVINO writes into memory of its own alone: index → index of the input.

    Args:
        model: a `Model`.
        segment: what it was made of.

    Raises:
        ValueError: it is not known which input such an output is.
    """
    inputs = dict(_positions(model, segment))
    parameters = {parameter.get_friendly_name(): index for index, parameter in enumerate(model.get_parameters())}
    sources = [result.input_value(0).get_node() for result in model.get_results()]
    passed = {index: parameters[node.get_friendly_name()] for index, node in enumerate(sources) if node.get_type_name() == "Parameter"}
    if unknown := [index for index in passed.values() if index not in inputs]:
        raise ValueError(f"OpenVINO renamed input {unknown[0]} of the segment, which is an output too")
    return {index: inputs[position] for index, position in passed.items()}
