"""ConvInteger and QLinearConv over one to three spatial axes: our own kernels, quantised parameters read on the device."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Operation, Spec, Value, ValueInfo
from onnxgpu.providers.array_ops.channels_last import first_spec
from onnxgpu.providers.array_ops.convolution import convolution_windows
from onnxgpu.providers.cuda.convolution_tiles import MOST_AXES, MOST_MASKED, TILES, WORD_TILES, Geometry, pieces, tiling
from onnxgpu.providers.cuda.kernels import C_TYPES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.operators.convolution import MOST_GROUPS
from onnxgpu.providers.cuda.products import structure
from onnxgpu.providers.cuda.registry import operator

_BYTES = frozenset({"int8", "uint8"})
_RESULTS = ("int, false", *(f"{C_TYPES[name]}, {last}" for name in sorted(_BYTES) for last in ("false", "true")))
"""Element types, and whether channels are the last axis."""

INT32, FLOAT = np.dtype(np.int32), np.dtype(np.float32)
_VECTOR_BYTES = 16

CONVOLVE = Template(
    "integer_convolution.cu", "convolve_integers<{instance}>", "ppppssiiibb",
    instance=tuple(", ".join((T, tile, last)) for T, last in (each.split(", ") for each in _RESULTS) for tile in WORD_TILES),
)  # fmt: skip
CHANNELS = Template("integer_convolution.cu", "convolve_channels<{result}>", "pppssiil", result=_RESULTS)
COMBINE = Template("integer_convolution.cu", "combine_integers<{result}>", "ppsliii", result=_RESULTS)


def _refusal(operation: Operation, x: int, w: int, one: Sequence[int], many: Sequence[int], floats: Sequence[int] = ()) -> str | None:
    """With the positions of the operands, of parameters for all, of those that may be one a map, and of those that are float32."""
    values = [*operation.inputs, *(None,) * 9]
    operands = values[x], values[w]
    if any(value is None or value.dtype is None or name_of(value.dtype) not in _BYTES for value in operands):
        return "takes operands of 8-bit integers"
    kernel = operation.attributes.get("kernel_shape") or ((operands[1] and operands[1].shape) or ())[2:]
    if not 1 <= len(kernel) <= MOST_AXES or any(not isinstance(size, int) for size in kernel):
        return f"is known to have windows over one to {MOST_AXES} spatial axes"
    if sum(kernel) + MOST_AXES - len(kernel) > MOST_MASKED:
        return f"has windows of at most {MOST_MASKED} elements along all three axes together"
    if any(value is not None and value.dtype != FLOAT for value in (values[i] for i in floats)):
        return "takes scales of float32"
    if not all(_is_one(values[i]) for i in one) or not all(_is_one(values[i]) or _is_vector(values[i]) for i in many):
        return "takes one scale and zero point for all, or one for each map of the weights"
    return None


def _is_one(value: ValueInfo | None) -> bool:
    return value is None or (value.shape is not None and all(size == 1 for size in value.shape))


def _is_vector(value: ValueInfo | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) == 1


def _integer_refusal(operation: Operation) -> str | None:
    return _refusal(operation, 0, 1, one=(2,), many=(3,))


def _qlinear_refusal(operation: Operation) -> str | None:
    zero = operation.inputs[7]
    if zero is None or zero.dtype is None or name_of(zero.dtype) not in _BYTES:
        return "gives results of 8-bit integers"
    return _refusal(operation, 0, 3, one=(1, 2, 6, 7), many=(4, 5), floats=(1, 4, 6))


@operator("ConvInteger", since=10, types=_BYTES, when=_integer_refusal)
class ConvInteger:
    """Convolution of 8-bit integers into int32. Spec: https://onnx.ai/onnx/operators/onnx__ConvInteger.html"""

    input_names: tuple[str, ...] = ("x", "w", "x_zero_point", "w_zero_point")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp = xp
        self._attributes = dict(operation.attributes)
        self._is_last = bool(self._attributes.pop("channels_last", 0))

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, windows…), or (N, windows…, M) with `channels_last`."""
        count, maps, *windows = self._geometry(inputs).shape
        shape = (count, *windows, maps) if self._is_last else (count, maps, *windows)
        return (Spec(shape, self._result_type(inputs)),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """Sums of parts of the depth, where it is shared among blocks."""
        geometry = self._geometry(inputs)
        if geometry.channels == 1 or 0 in geometry.shape:
            return 0
        parted = (samples.stop - samples.start for samples in pieces(geometry, inputs[0]))
        sums = (_parts(geometry, batch) * batch * prod(geometry.shape[1:]) for batch in parted if _parts(geometry, batch) > 1)
        return INT32.itemsize * max(sums, default=0)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        xp, geometry = self._xp, self._geometry(inputs)
        (spec,) = self.outputs(inputs)
        given = outputs[0] if outputs else xp.empty(spec.shape, spec.dtype)
        if given.size:
            out = given if given.flags.c_contiguous else xp.empty(spec.shape, spec.dtype)
            x, w = (dense(xp, value) for value in self._operands(inputs))
            for samples in pieces(geometry, x):
                self._convolve(geometry, x[samples], w, self._quantization(inputs), out[samples], workspace)
            if out is not given:
                given[...] = out
        return (given,)

    def _operands(self, inputs: Sequence[Value]) -> tuple[Value, Value]:
        return inputs[0], inputs[1]

    def _result_type(self, inputs: Sequence[Value]) -> np.dtype:
        return INT32

    def _quantization(self, inputs: Sequence[Value]) -> np.void:
        """`Quantization` of integer_convolution.cu."""
        x_zero, w_zero = (*inputs[2:], None, None)[:2]
        return structure(x_zero, w_zero, None, None, None, None, None, _step(w_zero), 0)

    def _geometry(self, inputs: Sequence[Value]) -> Geometry:
        x, w = self._operands(inputs)
        windows = convolution_windows("QLinearConv", first_spec(x) if self._is_last else x, w, self._attributes)
        groups = int(self._attributes.get("group", 1))
        axes = (windows.spatial, windows.output, windows.kernel, windows.strides, windows.dilations, windows.begin)
        shape = (x.shape[0], w.shape[0], *windows.output)
        return Geometry(tuple(zip(*axes, strict=True)), shape, groups, w.shape[1], w.shape[0] // groups, False)

    def _convolve(self, geometry: Geometry, x: Array, w: Array, quantization: np.void, out: Array, workspace: Array | None) -> None:
        batch = int(x.shape[0])
        convolution = geometry.structure(batch)
        flips = tuple(128 if each.dtype == np.uint8 else 0 for each in (x, w))
        type_name, last = C_TYPES[name_of(out.dtype)], "true" if self._is_last else "false"
        if geometry.channels == 1:
            kernel = CHANNELS.instance(result=f"{type_name}, {last}")
            kernel.launch(blocks_for(out.size), THREADS, x, w, out, convolution, quantization, *flips, out.size)
            return
        cut = tiling(geometry, batch, 1)
        is_vectored = prod(w.shape[1:]) % _VECTOR_BYTES == 0 and w.data.ptr % _VECTOR_BYTES == 0
        is_packed = not self._is_last and geometry.positions % 4 == 0 and out.data.ptr % (4 * out.itemsize) == 0
        partial = workspace if cut.parts > 1 else None
        arguments = x, w, out, partial, convolution, quantization, cut.span, *flips, is_vectored, is_packed
        grid = cut.tiles, cut.parts, min(geometry.groups, MOST_GROUPS)
        CONVOLVE.instance(instance=f"{type_name}, {cut.tile}, {last}").launch(grid, TILES[cut.tile][2], *arguments)
        if cut.parts > 1:
            sizes = out.size, geometry.shape[1], geometry.positions, cut.parts
            COMBINE.instance(result=f"{type_name}, {last}").launch(blocks_for(out.size), THREADS, out, partial, quantization, *sizes)


@operator("QLinearConv", domain="com.microsoft", types=_BYTES, when=_qlinear_refusal)
@operator("QLinearConv", since=10, types=_BYTES, when=_qlinear_refusal)
class QLinearConv(ConvInteger):
    """Convolution of quantised tensors, requantised; the bias is int32 in units of x_scale * w_scale.

    Spec: https://onnx.ai/onnx/operators/onnx__QLinearConv.html, and onnxruntime's operator schemas for com.microsoft
    """

    input_names = ("x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point", "bias")
    required_inputs = 8

    def _operands(self, inputs: Sequence[Value]) -> tuple[Value, Value]:
        return inputs[0], inputs[3]

    def _result_type(self, inputs: Sequence[Value]) -> np.dtype:
        result: np.dtype = inputs[7].dtype
        return result

    def _quantization(self, inputs: Sequence[Value]) -> np.void:
        _, x_scale, x_zero, _, w_scale, w_zero, y_scale, y_zero, bias = (*inputs, None)[:9]
        return structure(x_zero, w_zero, x_scale, w_scale, y_scale, y_zero, bias, _step(w_zero), _step(w_scale))


def _parts(geometry: Geometry, batch: int) -> int:
    return tiling(geometry, batch, 1).parts


def _step(parameter: Array | None) -> int:
    """1 where there is one number a map, 0 where there is one for all."""
    return 0 if parameter is None or parameter.size == 1 else 1
