"""QLinearConv and ConvInteger over one or two spatial axes, by the float32 convolutions of this provider.

Their sums are exact there (see `array_ops.exact_sums`). Input and sums lie in the workspace; the sums are scaled, rounded and stored piece
by piece while they are in cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.channels_last import channels_first, first_spec
from onnxgpu.providers.array_ops.channels_last import channels_last as channels_last_view
from onnxgpu.providers.array_ops.convolution import convolution_windows, convolved
from onnxgpu.providers.array_ops.exact_sums import FLOAT, INT32, reach
from onnxgpu.providers.array_ops.integer_convolution import channel_blocks, requantization_factor, whole_weights
from onnxgpu.providers.array_ops.prepared import Prepared
from onnxgpu.providers.cpu.conv import method_for
from onnxgpu.providers.cpu.conv_problem import Method, Problem
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.geometry import as_planes, windows
from onnxgpu.providers.cpu.registry import operator
from onnxgpu.providers.cpu.threads import BLOCK, scratch, share

_MS = "com.microsoft"
_ALIGNMENT = 64
_MOST_PLANS = 64
_PLAIN = Epilogue({})


class Weights:
    """The weights of one node: w - w_zero, laid out for each method that is used."""

    def __init__(self, w: Array, w_zero: Array | None) -> None:
        self.shape = tuple(w.shape)
        self._given = (w, w_zero)
        self._blocks: dict[int, list[slice]] = {}
        self._laid_out: dict[tuple[str, int, int], Array] = {}

    def blocks(self, bound: int) -> list[slice]:
        """See `channel_blocks`."""
        if bound not in self._blocks:
            self._blocks[bound] = channel_blocks(np, whole_weights(*self._given), bound)
        return self._blocks[bound]

    def wide_sums(self, x: Array, attributes: Mapping[str, Any], group: int) -> Array:
        """The sums in int32, through float64: a window is too large for float32."""
        weights = whole_weights(*self._given).astype(np.float64)
        kept = {name: value for name, value in attributes.items() if name != "channels_last"}
        found = convolution_windows("QLinearConv", x, weights, kept)
        return convolved(np, x.astype(np.float64), weights, found, group).astype(np.int64).astype(INT32)

    def laid_out(self, method: Method, block: slice) -> Array:
        """The weights of some input channels in the method's layout."""
        key = (method.layout, block.start, block.stop)
        if key not in self._laid_out:
            self._laid_out[key] = method.laid_out(as_planes(np.ascontiguousarray(whole_weights(*self._given)[:, block])))
        return self._laid_out[key]


def _few_axes(x: int, w: int) -> Any:
    def when(operation: Operation) -> str | None:
        for index in (x, w):
            value = operation.inputs[index]
            if value is None or value.shape is None or len(value.shape) not in (3, 4):
                return "is fast only where there are one or two spatial axes, and that is known"
        return None

    return when


class IntegerConvolution:
    """What both operators share; a derived class says where their inputs stand and what becomes of the sums."""

    input_names: tuple[str, ...]
    required_inputs: int
    indices: tuple[int, int, int]
    """Where x_zero_point, w and w_zero_point stand."""

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._attributes = operation.attributes
        self._groups = int(operation.attributes.get("group", 1))
        self._last = bool(operation.attributes.get("channels_last", 0))
        self._weights: Prepared[Weights] = Prepared(xp, operation, self.indices[1:], Weights)
        self._plans: dict[tuple[int, ...], Method] = {}

    def _first(self, x: Value) -> Spec:
        return first_spec(x) if self._last else Spec(tuple(x.shape), x.dtype)

    def _sizes(self, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the result, (N, M, …).

        Raises:
            InvalidArgument: input and weights do not fit.
        """
        if len(w) != len(x) or x[1] != w[1] * self._groups or w[0] % self._groups:
            raise InvalidArgument(
                f"X has shape {list(x)}, W {list(w)} with group={self._groups}: "
                f"expected X of (N, {w[1] * self._groups}, …) with as many spatial axes as W"
            )
        rows, columns = windows(self._attributes, w[2:]).axes(x[2:])
        return (x[0], w[0], *(rows.output, columns.output)[-(len(x) - 2) :])

    def _shape(self, inputs: Sequence[Value]) -> tuple[int, ...]:
        return self._sizes(self._first(inputs[0]).shape, self._weights.spec(self.indices[1], inputs).shape)

    def _method(self, x: tuple[int, ...], w: tuple[int, ...], channels: int) -> Method:
        key = (*x, *w, channels)
        method = self._plans.get(key)
        if method is None:
            rows, columns = windows(self._attributes, w[2:]).axes(x[2:])
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            method = self._plans[key] = method_for(Problem(x[0], channels, w[0], self._groups, rows, columns, FLOAT))
        return method

    def workspace(self, inputs: Sequence[Value]) -> int:
        """The input and the sums as float32, and what the method needs."""
        x = self._first(inputs[0])
        w = self._weights.spec(self.indices[1], inputs).shape
        sums = Spec(self._sizes(x.shape, w), FLOAT)
        return _rounded(x.size * 4) + _rounded(sums.nbytes) + self._method(x.shape, w, x.shape[1]).workspace

    def sums(self, inputs: Sequence[Value], workspace: Array) -> Array:
        """The exact sums (N, M, …): float32, or int32 where they need not fit in it."""
        given = [*inputs, *(None,) * (len(self.input_names) - len(inputs))]
        x_zero, weights = given[self.indices[0]], self._weights.of(given)
        x = channels_first(given[0]) if self._last else given[0]
        shape = self._sizes(tuple(x.shape), weights.shape)
        data: Array = np.ndarray(x.shape, FLOAT, workspace)
        _widen(x, x_zero, data)
        start = _rounded(data.nbytes)
        out: Array = np.ndarray(shape, FLOAT, workspace, start)
        rest = workspace[start + _rounded(out.nbytes) :]
        blocks = weights.blocks(reach(np, x.dtype, x_zero))
        if not blocks:
            return weights.wide_sums(data, self._attributes, self._groups)
        if len(blocks) == 1:
            self._convolve(data, weights, slice(0, weights.shape[1]), out, rest)
            return out
        total = np.zeros(shape, INT32)
        groups = data.reshape(x.shape[0], self._groups, -1, *x.shape[2:])
        for block in blocks:
            part = np.ascontiguousarray(groups[:, :, block]).reshape(x.shape[0], -1, *x.shape[2:])
            self._convolve(part, weights, block, out, rest)
            total += out.astype(INT32)
        return total

    def _convolve(self, x: Array, weights: Weights, block: slice, out: Array, workspace: Array) -> None:
        method = self._method(tuple(x.shape), weights.shape, x.shape[1])
        if method.workspace > workspace.nbytes:
            workspace = np.empty(method.workspace, np.uint8)
        method.run(as_planes(x), weights.laid_out(method, block), as_planes(out), _PLAIN, None, None, workspace)


def _rounded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _widen(x: Array, zero: Array | None, out: Array) -> None:
    """out = x - zero in float32."""
    if not x.flags.c_contiguous:
        np.copyto(out, x)
        if zero is not None:
            np.subtract(out, FLOAT.type(zero.reshape(())), out=out)
        return
    source, target = x.reshape(-1), out.reshape(-1)

    def part(first: int, last: int) -> None:
        for start in range(first * BLOCK, min(last * BLOCK, source.size), BLOCK):
            piece = target[start : start + BLOCK]
            np.copyto(piece, source[start : start + BLOCK])
            if zero is not None:
                np.subtract(piece, FLOAT.type(zero.reshape(())), out=piece)

    share(part, -(-source.size // BLOCK), source.size * 2)


def requantize(sums: Array, bias: Array | None, factor: Array, zero: Array, out: Array) -> None:
    """out = sums (N, M, …) + bias, times factor, rounded, shifted and clipped; bias and factor are scalars or have one number a map."""
    limits, shift = np.iinfo(zero.dtype), FLOAT.type(zero.reshape(()))
    maps = sums.shape[1]
    rows, targets = sums.reshape(-1, sums[0, 0].size), out.reshape(-1, sums[0, 0].size)
    factors = np.tile(np.broadcast_to(factor, maps), sums.shape[0])[:, None]
    biases = None if bias is None else np.tile(bias.astype(FLOAT), sums.shape[0])[:, None]
    height = max(1, BLOCK // max(1, rows.shape[1]))

    def part(first: int, last: int) -> None:
        for start in range(first, last, height):
            chosen = slice(start, min(start + height, last))
            piece = rows[chosen]
            if piece.dtype != FLOAT:
                piece = piece.astype(FLOAT)
            held = scratch(piece.size, FLOAT, 5).reshape(piece.shape)
            if biases is not None:
                piece = np.add(piece, biases[chosen], out=held)
            np.multiply(piece, factors[chosen], out=held)
            np.rint(held, out=held)
            np.add(held, shift, out=held)
            np.clip(held, limits.min, limits.max, out=held)
            np.copyto(targets[chosen], held, casting="unsafe")

    share(part, len(rows), rows.size * 6)


@operator("ConvInteger", since=10, when=_few_axes(0, 1), absorbs=("w", "w_zero_point"))
class ConvInteger(IntegerConvolution):
    """Convolution of 8-bit integers into int32. Spec: https://onnx.ai/onnx/operators/onnx__ConvInteger.html"""

    input_names = ("x", "w", "x_zero_point", "w_zero_point")
    required_inputs, indices = 2, (2, 1, 3)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, …) in int32."""
        return (Spec(self._shape(inputs), INT32),)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        if outputs[0].size:
            assert workspace is not None
            np.copyto(outputs[0], self.sums(inputs, workspace), casting="unsafe")
        return outputs


@operator("QLinearConv", domain=_MS, when=_few_axes(0, 3), absorbs=("w", "w_zero_point"))
@operator("QLinearConv", since=10, when=_few_axes(0, 3), absorbs=("w", "w_zero_point"))
class QLinearConv(IntegerConvolution):
    """Convolution of quantised tensors, requantised; with `channels_last`, X and Y are (N, …, C).

    Spec: https://onnx.ai/onnx/operators/onnx__QLinearConv.html
    """

    input_names = ("x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point", "bias")
    required_inputs, indices = 8, (2, 3, 5)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, …), or (N, …, M) with `channels_last`, in the type of y_zero_point."""
        shape = self._shape(inputs)
        return (Spec((shape[0], *shape[2:], shape[1]) if self._last else shape, inputs[7].dtype),)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        if not outputs[0].size:
            return outputs
        assert workspace is not None
        sums = self.sums(inputs, workspace)
        factor = requantization_factor(inputs[1], inputs[4], inputs[6])
        result = np.empty(sums.shape, outputs[0].dtype) if self._last else outputs[0]
        requantize(sums, inputs[8] if len(inputs) > 8 else None, factor, inputs[7], result)
        if self._last:
            np.copyto(outputs[0], channels_last_view(result))
        return outputs
