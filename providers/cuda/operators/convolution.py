"""Conv, FusedConv and ConvTranspose over one to three spatial axes: our own kernels, with bias, residual and activation in them.

Groups of one channel have kernels that stream rows through registers (`depthwise.cu`); windows of 3 × 3 are transformed where that
takes fewer products (`winograd.cu`); all others are products whose columns are read from the input as they are needed (`convolution.cu`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.convolution import conv_specs, convolution_windows
from onnxgpu.providers.array_ops.transposed_convolution import dynamic_pads, transposed_layout, transposed_specs
from onnxgpu.providers.cuda import winograd
from onnxgpu.providers.cuda.convolution_tiles import (
    DEPTHWISE_KERNELS,
    DEPTHWISE_STRIDES,
    FRAGMENT_TILES,
    MOST_AXES,
    PLAIN_TILES,
    TILES,
    WINOGRAD,
    Geometry,
    Tiling,
    pieces,
    tiling,
)
from onnxgpu.providers.cuda.divisions import divisions
from onnxgpu.providers.cuda.generated import evaluate
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, by_value, dense
from onnxgpu.providers.cuda.operators.matrix_products import activation_refusal, activation_step
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.winograd import TransformedWeights

_HALVES = ("__half", "__nv_bfloat16")

STRIPS = Template(
    "depthwise.cu", "depthwise_strips<{T}, {kernel}, {stride}>", "pppssslb", T=FLOATS, kernel=DEPTHWISE_KERNELS, stride=DEPTHWISE_STRIDES
)
DEPTHWISE = Template("depthwise.cu", "depthwise<{T}, {transposed}>", "pppssl", T=FLOATS, transposed=("false", "true"))
CONVOLVE = Template(
    "convolution.cu", "convolve<{instance}, {transposed}>", "ppppssib", transposed=("false", "true"),
    instance=tuple(f"{T}, {tile}" for T in FLOATS for tile in PLAIN_TILES if tile != "LargeTile" or T == "float"),
)  # fmt: skip
FRAGMENTS = Template(
    "convolution_fragments.cu", "convolve_fragments<{T}, {tile}, {weights}>", "ppppssib",
    T=_HALVES, tile=FRAGMENT_TILES[1:], weights=("IN_VECTORS", "IN_ELEMENTS", "TRANSPOSED"),
)  # fmt: skip
COMBINE = Template("convolution.cu", "combine_convolution<{T}>", "ppsliii", T=FLOATS)

MOST_GROUPS = 65535
_MOST_PREPARED = 64
_EPILOGUE = ("activation", "activation_alpha", "activation_beta", "activation_params")


def _refusal(operation: Operation) -> str | None:
    values = [value for value in operation.inputs if value is not None]
    if len({value.dtype for value in values}) > 1:
        return "takes tensors of one element type"
    ranks = [len(value.shape) - 2 for value in values[:2] if value.shape is not None]
    axes = ranks[0] if ranks else len(operation.attributes.get("kernel_shape") or ())
    return activation_refusal(operation) if 1 <= axes <= MOST_AXES else f"is known to have one to {MOST_AXES} spatial axes, not {axes}"


class _Activation:
    """What a fused node names, as the numbers of `Activation` in convolution.cuh, or as a step behind the kernel.

    Args:
        attributes: of the node, in `onnxgpu.fuse.convolution`'s form or onnxruntime's, which has the arguments in one list.
    """

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        names = ("activation_alpha", "activation_beta")
        given = {name: attributes[name] for name in ("activation", *names) if name in attributes}
        given |= zip(names, attributes.get("activation_params", ()), strict=False)
        step = (activation_step(given, "0") or "Identity 0").split()
        name, arguments = step[0], [float(word[1:]) for word in step[2:]]
        low, high = (*arguments, 0.0, 0.0)[:2]
        straight, curved = 1.0, 2.0
        forms = {
            "Identity": (1.0, 1.0, 0.0, -inf, inf, 0.0, 0.0, 0.0),
            "Relu": (1.0, 1.0, 0.0, 0.0, inf, 0.0, 0.0, straight),
            "Clip": (1.0, 1.0, 0.0, low, high, 0.0, 0.0, straight),
            "LeakyRelu": (low, 1.0, 0.0, -inf, inf, 0.0, 0.0, straight),
            "HardSigmoid": (1.0, low, high, 0.0, 1.0, 0.0, 0.0, straight),
            "HardSwish": (1.0, 1.0 / 6.0, 0.5, 0.0, 1.0, 0.0, 1.0, straight),
            "Sigmoid": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, curved),
            "Silu": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, curved),
            "QuickGelu": (0.0, 0.0, 0.0, 0.0, 0.0, low, 1.0, curved),
        }
        self._numbers = forms.get(name, forms["Identity"])
        self.step = None if name in forms else " ".join(step)

    def ending(self, dtype: np.dtype, bias: Array | None, residual: Array | None) -> np.void:
        """`Ending` of convolution.cuh."""
        pointers = np.array([0 if x is None else x.data.ptr for x in (bias, residual)], np.uint64)
        numbers = np.array(self._numbers, np.float64 if dtype.itemsize == 8 else np.float32)
        return by_value(np.frombuffer(pointers.tobytes() + numbers.tobytes(), np.uint8))


@operator("FusedConv", domain="onnxgpu", types=FLOAT_NAMES, when=_refusal)
@operator("FusedConv", domain="com.microsoft", types=FLOAT_NAMES, when=_refusal)
@operator("Conv", types=FLOAT_NAMES, when=_refusal)
class Conv:
    """activation(convolution + bias + residual). Spec: https://onnx.ai/onnx/operators/onnx__Conv.html"""

    input_names: tuple[str, ...] = ("x", "w", "b", "z")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp = xp
        self._attributes = {name: value for name, value in operation.attributes.items() if name not in _EPILOGUE}
        self._activation = _Activation(operation.attributes)
        self._transformed = TransformedWeights(xp, operation)
        self._prepared: dict[Any, Geometry] = {}

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, windows…)."""
        return (conv_specs(*inputs[:3], **self._attributes),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """Sums of parts of the depth, where it is shared among blocks, behind transformed weights, where they are not kept."""
        geometry = self.geometry(inputs)
        if geometry.channels == 1 or 0 in geometry.shape:
            return 0
        return max(self._scratch(geometry, samples.stop - samples.start, inputs[0].dtype) for samples in pieces(geometry, inputs[0]))

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        xp = self._xp
        geometry = self.geometry(inputs)
        given = outputs[0] if outputs else xp.empty(geometry.shape, inputs[0].dtype)
        if given.size:
            out = given if given.flags.c_contiguous else xp.empty(given.shape, given.dtype)
            operands: tuple[Any, ...] = tuple(None if value is None else dense(xp, value) for value in (*inputs, None, None)[:4])
            x, w, bias, residual = operands
            for samples in pieces(geometry, x):
                ending = self._activation.ending(x.dtype, bias, None if residual is None else residual[samples])
                self._convolve(geometry, x[samples], w, ending, out[samples], workspace)
            if self._activation.step is not None:
                evaluate((self._activation.step,), (out,), out)
            if out is not given:
                given[...] = out
        return (given,)

    def _scratch(self, geometry: Geometry, batch: int, dtype: np.dtype) -> int:
        cut = tiling(geometry, batch, dtype.itemsize)
        partial = cut.parts * batch * prod(geometry.shape[1:]) * max(dtype.itemsize, 4) if cut.parts > 1 else 0
        return partial + (self._transformed.workspace(geometry) if cut.tile == WINOGRAD else 0)

    def _convolve(self, geometry: Geometry, x: Array, w: Array, ending: np.void, out: Array, workspace: Array | None) -> None:
        batch = int(x.shape[0])
        if geometry.channels == 1:
            _convolve_channels(geometry, x, w, ending, out)
            return
        cut = tiling(geometry, batch, x.itemsize)
        if cut.tile == WINOGRAD:
            weights, size = self._transformed.of(w, workspace), self._transformed.workspace(geometry)
            partial = workspace[size:] if workspace is not None and cut.parts > 1 else None
            winograd.convolve(geometry, cut, x, weights, ending, out, partial)
        else:
            partial = workspace if cut.parts > 1 else None
            _multiply(geometry, cut, x, w, ending, out, partial)
        if cut.parts > 1:
            sizes = out.size, geometry.shape[1], geometry.positions, cut.parts
            COMBINE.instance(T=x.dtype).launch(blocks_for(out.size), THREADS, out, partial, ending, *sizes)

    def geometry(self, inputs: Sequence[Value]) -> Geometry:
        """Of the convolution of these shapes."""
        key = tuple(inputs[0].shape), tuple(inputs[1].shape)
        known = self._prepared.get(key)
        if known is None:
            if len(self._prepared) >= _MOST_PREPARED:
                self._prepared.clear()
            known = self._prepared[key] = self._described(*inputs[:2])
        return known

    def _described(self, x: Value, w: Value) -> Geometry:
        windows = convolution_windows("Conv", x, w, self._attributes)
        groups = int(self._attributes.get("group", 1))
        axes = (windows.spatial, windows.output, windows.kernel, windows.strides, windows.dilations, windows.begin)
        shape = (x.shape[0], w.shape[0], *windows.output)
        return Geometry(tuple(zip(*axes, strict=True)), shape, groups, w.shape[1], w.shape[0] // groups, False)


@operator("ConvTranspose", types=FLOAT_NAMES, when=_refusal)
class ConvTranspose(Conv):
    """The gradient of a convolution for its input. Spec: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html"""

    input_names = ("x", "w", "b")

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, …)."""
        return (transposed_specs(*inputs[:3], **self._attributes),)

    def _described(self, x: Value, w: Value) -> Geometry:
        groups = int(self._attributes.get("group", 1))
        layout = transposed_layout(x, w, self._attributes)
        windows = layout.windows
        axes = (tuple(x.shape[2:]), layout.output, windows.kernel, windows.strides, windows.dilations, windows.begin)
        shape = (x.shape[0], w.shape[1] * groups, *layout.output)
        return Geometry(tuple(zip(*axes, strict=True)), shape, groups, x.shape[1] // groups, w.shape[1], True)


def _dynamic_refusal(operation: Operation) -> str | None:
    x, w, _, b = (*operation.inputs, None, None)[:4]
    return _refusal(replace(operation, inputs=(x, w, b)))


@operator("ConvTransposeWithDynamicPads", domain="com.microsoft", host=("pads",), types=FLOAT_NAMES, when=_dynamic_refusal)
class ConvTransposeWithDynamicPads:
    """ConvTranspose whose pads are an input, int64. Spec: onnxruntime's ContribOperators.md"""

    input_names = ("x", "w", "pads", "b")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp, self._operation = xp, operation
        self._kernels: dict[tuple[int, ...], ConvTranspose] = {}

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, …)."""
        kernel, operands = self._padded(inputs)
        return kernel.outputs(operands)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """That of ConvTranspose."""
        kernel, operands = self._padded(inputs)
        return kernel.workspace(operands)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        kernel, operands = self._padded(inputs)
        return kernel.launch(operands, outputs, workspace)

    def _padded(self, inputs: Sequence[Value]) -> tuple[ConvTranspose, Sequence[Value]]:
        """ConvTranspose with these pads, and what it takes."""
        x, w, pads, b = (*inputs, None, None)[:4]
        numbers = tuple(dynamic_pads(x, pads))
        known = self._kernels.get(numbers)
        if known is None:
            if len(self._kernels) >= _MOST_PREPARED:
                self._kernels.clear()
            attributes = {**self._operation.attributes, "pads": numbers}
            known = self._kernels[numbers] = ConvTranspose(self._xp, replace(self._operation, attributes=attributes))
        return known, (x, w, b)


def _convolve_channels(geometry: Geometry, x: Array, w: Array, ending: np.void, out: Array) -> None:
    """By depthwise.cu: groups of one channel."""
    batch = int(x.shape[0])
    structure, strips = geometry.structure(batch), geometry.strips(x.itemsize)
    if strips is None:
        kernel = DEPTHWISE.instance(T=x.dtype, transposed="true" if geometry.transposed else "false")
        kernel.launch(blocks_for(out.size), THREADS, x, w, out, structure, ending, out.size)
        return
    size, stride, above, beside = strips
    count = batch * geometry.shape[1] * above * beside
    numbers = by_value(divisions(beside, above, geometry.shape[1], geometry.maps))
    is_packed = geometry.shape[-1] % 2 == 0 and out.data.ptr % 4 == 0
    kernel = STRIPS.instance(T=x.dtype, kernel=size, stride=stride)
    kernel.launch(blocks_for(count), THREADS, x, w, out, structure, numbers, ending, count, is_packed)


def _multiply(geometry: Geometry, cut: Tiling, x: Array, w: Array, ending: np.void, out: Array, partial: Array | None) -> None:
    """By convolution.cu or convolution_fragments.cu."""
    grid, threads = (cut.tiles, cut.parts, min(geometry.groups * geometry.phases, MOST_GROUPS)), TILES[cut.tile][2]
    arguments = x, w, out, partial, geometry.structure(int(x.shape[0])), ending, cut.span
    if "Fragments" in cut.tile:
        is_paired = not geometry.transposed and geometry.positions % 2 == 0 and out.data.ptr % 4 == 0
        is_vectored = prod(w.shape[1:]) * x.itemsize % 16 == 0 and w.data.ptr % 16 == 0
        weights = "TRANSPOSED" if geometry.transposed else "IN_VECTORS" if is_vectored else "IN_ELEMENTS"
        FRAGMENTS.instance(T=x.dtype, tile=cut.tile, weights=weights).launch(grid, threads, *arguments, is_paired)
    else:
        is_packed = not geometry.transposed and geometry.positions % 4 == 0 and out.data.ptr % (4 * x.itemsize) == 0
        instance, transposed = f"{C_TYPES[name_of(x.dtype)]}, {cut.tile}", "true" if geometry.transposed else "false"
        CONVOLVE.instance(instance=instance, transposed=transposed).launch(grid, threads, *arguments, is_packed)
