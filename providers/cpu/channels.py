"""BatchNormalization at inference, and ReduceMean over the last axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Call, Operation, Spec, Value
from onnxgpu.providers.cpu.expression import Expression
from onnxgpu.providers.cpu.pooling import mean_rows
from onnxgpu.providers.cpu.registry import operator
from onnxgpu.tracing import traced_calls, traced_launch

FLOATS = frozenset({"float", "double"})


def _inference(operation: Operation) -> str | None:
    if operation.attributes.get("training_mode", 0):
        return "is fast with training_mode=0"
    if any(value is not None for value in operation.outputs[1:]):
        return "is fast with one output"
    dtypes = {value.dtype for value in operation.inputs if value is not None}
    return None if len(dtypes) == 1 else "is fast with inputs of one element type"


@operator("BatchNormalization", since=9, types=FLOATS, when=_inference)
class BatchNormalization:
    """x·factor + offset for each channel. Spec: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html"""

    input_names = ("x", "scale", "bias", "mean", "variance")
    required_inputs = 5

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._epsilon = float(operation.attributes.get("epsilon", 1e-5))
        self._expression = Expression(["Mul 0 1", "Add %0 2"])
        constants = [value.constant for value in operation.inputs[1:] if value is not None and value.constant is not None]
        self._folded = self._fold(*(load() for load in constants)) if len(constants) == 4 else None

    def _fold(self, scale: Array, bias: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        factor = scale / np.sqrt(variance + variance.dtype.type(self._epsilon))
        return factor, bias - mean * factor

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """Like X."""
        return (Spec(tuple(inputs[0].shape), inputs[0].dtype, may_reuse=(0,)),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return traced_calls(self._of_few, inputs, outputs)

    def _of_few(self, x: Array, *parameters: Array, out: Array) -> None:
        factor, offset = self._by_channel(x, parameters)
        np.multiply(x, factor, out=out)
        np.add(out, offset, out=out)

    def _by_channel(self, x: Array, parameters: Sequence[Array]) -> tuple[Array, Array]:
        """Factor and offset, shaped to broadcast over `x`."""
        factor, offset = self._folded or self._fold(*parameters)
        channel = (-1, *(1,) * (x.ndim - 2)) if x.ndim > 1 else (-1,)
        return factor.reshape(channel), offset.reshape(channel)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, *parameters = inputs
        self._expression.evaluate([x, *self._by_channel(x, parameters)], outputs[0])
        return outputs


def _trailing_axes(operation: Operation) -> str | None:
    x = operation.inputs[0]
    if x is None or x.shape is None:
        return "is fast only where the number of axes is known"
    axes = _axes(operation)
    if not axes:
        return "is fast with constant axes"
    rank = len(x.shape)
    if any(not -rank <= axis < rank for axis in axes) or sorted(axis % rank for axis in axes) != list(range(rank - len(axes), rank)):
        return f"is fast over the last axes, the node has axes={list(axes)}"
    return None


def _axes(operation: Operation) -> tuple[int, ...]:
    given = operation.inputs[1] if len(operation.inputs) > 1 else None
    if given is not None:
        return tuple(int(axis) for axis in given.constant()) if given.constant is not None else ()
    return tuple(operation.attributes.get("axes", ()))


@operator("ReduceMean", types=FLOATS, when=_trailing_axes, host=("axes",))
class ReduceMean:
    """Mean over the last axes, which are constant. Spec: https://onnx.ai/onnx/operators/onnx__ReduceMean.html"""

    input_names = ("data", "axes")
    required_inputs = 1

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._count = len(_axes(operation))
        self._keep = bool(operation.attributes.get("keepdims", 1))

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """The first axes, and 1 for each of the last if `keepdims`."""
        x = inputs[0]
        shape = (*x.shape[: x.ndim - self._count], *(1,) * (self._count if self._keep else 0))
        return (Spec(shape, x.dtype),)

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return traced_launch(self, inputs, outputs)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x = inputs[0]
        rows = prod(x.shape[: x.ndim - self._count])
        mean_rows(x.reshape(rows, prod(x.shape[x.ndim - self._count :])), outputs[0].reshape(rows))
        return outputs
