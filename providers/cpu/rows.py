"""Softmax, LayerNormalization, RMSNormalization and SkipLayerNormalization: one pass over each block of rows.

A block of rows is read from memory once and stays in cache for the five to seven NumPy calls that it takes; the
blocks of a large array are shared by the cores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Call, Operation, Spec, Value
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.normalization import checked_channels
from onnxgpu.providers.cpu.registry import operator
from onnxgpu.providers.cpu.threads import BLOCK, share
from onnxgpu.tracing import are_few, traced_calls, traced_launch

FLOATS = frozenset({"float", "double"})
MOST_COLUMNS = 32
"""Length of a row up to which it is summed by a product."""


def over_row_blocks(rows: int, columns: int, passes: int, function: Callable[[slice], None]) -> None:
    """Call `function` for slices of the rows that hold about `BLOCK` elements; `passes` is how often it touches each."""
    height = max(1, BLOCK // max(1, columns))

    def part(start: int, stop: int) -> None:
        for row in range(start, stop, height):
            function(slice(row, min(row + height, stop)))

    share(part, rows, rows * columns * passes)


def softmax_rows(x: Array, out: Array) -> None:
    """Softmax of each row of a matrix; `out` may be `x`."""

    def block(rows: slice) -> None:
        piece = out[rows]
        np.subtract(x[rows], np.maximum.reduce(x[rows], axis=1, keepdims=True), out=piece)
        np.exp(piece, out=piece)
        np.multiply(piece, np.reciprocal(np.add.reduce(piece, axis=1, keepdims=True)), out=piece)

    over_row_blocks(x.shape[0], x.shape[1], 6, block)


def softmax_of_few(x: Array, *, out: Array) -> None:
    """Softmax along the last axis of a few elements; `out` may be `x`."""
    np.subtract(x, np.max(x, axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    np.divide(out, row_sums(out), out=out)


def row_sums(x: Array) -> Array:
    """The sum of each row of a few elements, in the place of every element or of one.

    A product with ones takes half the time of a sum, and gives it to every element, as the next call wants it.
    """
    count = x.shape[-1]
    if count > MOST_COLUMNS:
        total: Array = np.sum(x, axis=-1, keepdims=True)
        return total
    products: Array = np.dot(x.reshape(-1, count), np.ones((count, count), x.dtype))
    return products.reshape(x.shape)


def length(x: Array, epsilon: float) -> Array:
    """Of each row of n elements, few in all, √(sum of squares + n·epsilon): the root mean square, times √n."""
    found: Array = np.sqrt(np.add(row_sums(np.multiply(x, x)), x.shape[-1] * epsilon))
    return found


def centred_few(x: Array, epsilon: float, out: Array) -> Array:
    """Write each row of a few elements less its mean into `out`; the length of that."""
    np.subtract(x, np.divide(row_sums(x), x.shape[-1]), out=out)
    return length(out, epsilon)


def instance_normalization_rows(x: Array, scale: Array, bias: Array, epsilon: float, out: Array) -> None:
    """Normalise each row of a matrix by its mean and deviation; `scale` and `bias` have a number a row."""
    count = x.dtype.type(x.shape[1])

    def block(rows: slice) -> None:
        piece = out[rows]
        np.subtract(x[rows], np.add.reduce(x[rows], axis=1, keepdims=True) / count, out=piece)
        square = np.vecdot(piece, piece)[:, None]
        np.multiply(piece, scale[rows] / np.sqrt(square / count + x.dtype.type(epsilon)), out=piece)
        np.add(piece, bias[rows], out=piece)

    over_row_blocks(x.shape[0], x.shape[1], 6, block)


def layer_normalization_rows(x: Array, scale: Array | None, bias: Array | None, epsilon: float, centred: bool, out: Array) -> None:
    """Normalise each row of a matrix (by its root mean square alone if not `centred`); `out` may be `x`."""
    count = x.dtype.type(x.shape[1])

    def block(rows: slice) -> None:
        piece = out[rows]
        source = x[rows]
        if centred:
            np.subtract(source, np.add.reduce(source, axis=1, keepdims=True) / count, out=piece)
            source = piece
        square = np.vecdot(source, source)[:, None]
        np.multiply(source, 1 / np.sqrt(square / count + x.dtype.type(epsilon)), out=piece)
        if scale is not None:
            np.multiply(piece, scale, out=piece)
        if bias is not None:
            np.add(piece, bias, out=piece)

    over_row_blocks(x.shape[0], x.shape[1], 6, block)


class _RowKernel:
    """What the kernels of this module share: the output is like the first input, whose memory it may take."""

    input_names: tuple[str, ...] = ("x",)
    required_inputs = 1

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """See `onnxgpu.provider.Kernel`."""
        return (Spec(tuple(inputs[0].shape), inputs[0].dtype, may_reuse=(0,)),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0


def _matrix(x: Array, axis: int) -> Array:
    """`x` with the axes before `axis`, and those from it on, joined."""
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def _last_axis(operation: Operation) -> str | None:
    axis = operation.attributes.get("axis", -1)
    shape = operation.inputs[0].shape if operation.inputs[0] is not None else None
    if axis == -1 or (shape is not None and axis == len(shape) - 1):
        return None
    return f"is fast along the last axis, the node has axis={axis}"


@operator("Softmax", since=13, types=FLOATS, when=_last_axis)
class Softmax(_RowKernel):
    """Softmax along the last axis. Spec: https://onnx.ai/onnx/operators/onnx__Softmax.html"""

    def __init__(self, xp: Any, operation: Operation) -> None:
        pass

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return traced_calls(softmax_of_few, inputs, outputs) if inputs[0].ndim else None

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, out = inputs[0], outputs[0]
        if are_few(x):
            softmax_of_few(x, out=out)
        elif x.size:
            softmax_rows(_matrix(x, x.ndim - 1), _matrix(out, x.ndim - 1))
        return outputs


@operator("Softmax", since=1, types=FLOATS)
class FlattenedSoftmax(_RowKernel):
    """Softmax over all axes from `axis` on, as one. Spec: https://onnx.ai/onnx/operators/onnx__Softmax.html#softmax-11"""

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._axis = int(operation.attributes.get("axis", 1))

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, out = inputs[0], outputs[0]
        axis = normalized_axis(self._axis, x.ndim, "Softmax")
        if x.size:
            softmax_rows(_matrix(x, axis), _matrix(out, axis))
        return outputs


def _one_output(operation: Operation) -> str | None:
    extra = [value.name for value in operation.outputs[1:] if value is not None]
    return f"is fast with one output, the node also gives {', '.join(extra)}" if extra else None


class _Normalization(_RowKernel):
    """Normalisation over the axes from `axis` on, with scale and bias of their shape."""

    input_names: tuple[str, ...] = ("x", "scale", "bias")
    required_inputs = 2
    centred = True

    def __init__(self, xp: Any, operation: Operation) -> None:
        self.operator = operation.operator
        self._axis = int(operation.attributes.get("axis", -1))
        self._epsilon = float(operation.attributes.get("epsilon", 1e-5))

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return traced_calls(self._of_few, inputs, outputs) if self._axis in (-1, inputs[0].ndim - 1) else None

    def _of_few(self, x: Array, scale: Array | None, bias: Array | None = None, *, out: Array) -> None:
        divisor = centred_few(x, self._epsilon, out) if self.centred else length(x, self._epsilon)
        np.divide(out if self.centred else x, divisor, out=out)
        factor = x.dtype.type(math.sqrt(x.shape[-1]))  # of that type, so that a narrower scale does not round it
        np.multiply(out, factor if scale is None else np.multiply(scale, factor), out=out)
        if bias is not None:
            np.add(out, bias, out=out)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, scale, bias = (*inputs, None)[:3]
        axis = normalized_axis(self._axis, x.ndim, self.operator)
        if axis == x.ndim - 1 and are_few(x):
            self._of_few(x, scale, bias, out=outputs[0])
            return outputs
        inner = x.shape[axis:]
        if x.size:
            scale, bias = (None if v is None else np.broadcast_to(v, inner).reshape(-1) for v in (scale, bias))
            layer_normalization_rows(_matrix(x, axis), scale, bias, self._epsilon, self.centred, _matrix(outputs[0], axis))
        return outputs


@operator("LayerNormalization", types=FLOATS, when=_one_output)
class LayerNormalization(_Normalization):
    """Spec: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html; onnxruntime knows it from opset 1 on."""


@operator("SimplifiedLayerNormalization", types=FLOATS, when=_one_output)
@operator("RMSNormalization", since=23, types=FLOATS, when=_one_output)
class RMSNormalization(_Normalization):
    """Spec: https://onnx.ai/onnx/operators/onnx__RMSNormalization.html"""

    input_names = ("x", "scale")
    centred = False


def _spatial(operation: Operation) -> str | None:
    shape = operation.inputs[0].shape if operation.inputs[0] is not None else None
    return None if shape is not None and len(shape) > 2 else "is fast over axes that are known"


@operator("InstanceNormalization", types=FLOATS, when=_spatial)
class InstanceNormalization(_RowKernel):
    """Each channel of each sample by itself. Spec: https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html"""

    input_names = ("x", "scale", "bias")
    required_inputs = 3

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._epsilon = float(operation.attributes.get("epsilon", 1e-5))

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return traced_launch(self, inputs, outputs) if are_few(inputs[0]) else None

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, scale, bias = inputs
        checked_channels(x, (scale, bias), x.shape[1], "InstanceNormalization")
        if x.size == 0:
            return outputs
        rows, out = _matrix(x, 2), _matrix(outputs[0], 2)
        scale, bias = (np.concatenate([v] * x.shape[0]).reshape(-1, 1) for v in (scale, bias))
        if are_few(x):
            np.divide(out, centred_few(rows, self._epsilon, out), out=out)
            np.multiply(out, np.multiply(scale, math.sqrt(rows.shape[1])), out=out)
            np.add(out, bias, out=out)
        else:
            instance_normalization_rows(rows, scale, bias, self._epsilon, out)
        return outputs


def _few_outputs(operation: Operation) -> str | None:
    extra = [value.name for value in operation.outputs[1:3] if value is not None]
    if extra:
        return f"is fast without its mean and variance outputs, the node gives {', '.join(extra)}"
    shapes = [v.shape for v in operation.inputs[:2] if v is not None]
    alike = len(shapes) == 2 and shapes[0] == shapes[1] and shapes[0] is not None
    return None if alike else "is fast where input and skip are known to have one shape"


class _SkipNormalization:
    """Normalise input + skip + bias over the last axis; the optional fourth output is that sum."""

    input_names: tuple[str, ...] = ("input", "skip", "gamma", "beta", "bias")
    required_inputs = 3
    centred = True

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._epsilon = float(operation.attributes.get("epsilon", 1e-12))
        self._count = len(operation.outputs)
        self._wants_sum = self._count > 3 and operation.outputs[3] is not None

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """See `onnxgpu.provider.Kernel`; absent outputs in between have no elements."""
        whole = Spec(tuple(inputs[0].shape), inputs[0].dtype)
        nothing = Spec((0,), inputs[0].dtype)
        return tuple(whole if i == 0 or (i == 3 and self._wants_sum) else nothing for i in range(self._count))

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, skip, gamma, *rest = inputs
        beta, bias = self._beta_and_bias(rest)
        total = outputs[3] if self._wants_sum else outputs[0]
        np.add(x, skip, out=total)
        if bias is not None:
            np.add(total, bias, out=total)
        if x.size:
            axis = x.ndim - 1
            layer_normalization_rows(_matrix(total, axis), gamma, beta, self._epsilon, self.centred, _matrix(outputs[0], axis))
        return outputs

    @staticmethod
    def _beta_and_bias(rest: Sequence[Array | None]) -> tuple[Array | None, Array | None]:
        beta, bias = (*rest, None, None)[:2]
        return beta, bias


@operator("SkipLayerNormalization", domain="com.microsoft", types=FLOATS, when=_few_outputs)
class SkipLayerNormalization(_SkipNormalization):
    """Spec: onnxruntime's ContribOperators.md, com.microsoft.SkipLayerNormalization."""


@operator("SkipSimplifiedLayerNormalization", domain="com.microsoft", types=FLOATS, when=_few_outputs)
class SkipRMSNormalization(_SkipNormalization):
    """Spec: onnxruntime's ContribOperators.md, com.microsoft.SkipSimplifiedLayerNormalization."""

    input_names = ("input", "skip", "gamma", "bias")
    centred = False

    @staticmethod
    def _beta_and_bias(rest: Sequence[Array | None]) -> tuple[Array | None, Array | None]:
        return None, rest[0] if rest else None
