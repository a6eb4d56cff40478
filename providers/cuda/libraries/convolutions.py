"""Conv, ConvTranspose and the fused forms of Conv by cuDNN, over one to three spatial axes.

What cuDNN does not fuse with the convolution is one generated kernel behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnxgpu.dtypes import name_of
from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.convolution import conv_specs, convolution_windows
from onnxgpu.providers.array_ops.normalization import per_channel
from onnxgpu.providers.array_ops.transposed_convolution import transposed_layout, transposed_specs
from onnxgpu.providers.cuda.kernels import dense
from onnxgpu.providers.cuda.launches import make
from onnxgpu.providers.cuda.libraries.convolution_graphs import ACTIVATIONS, BIAS, RESIDUAL, Convolution, W, X, Y, split_attributes
from onnxgpu.providers.cuda.libraries.graphs import Plan, Plans
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from onnxgpu.providers.cuda.operators.matrix_products import activation_refusal, finish

REGISTRY = Registry()
operator = REGISTRY.operator

_TYPES = frozenset({"float", "float16", "bfloat16"})
_ALIGNMENT = 256
_TENSOR_ALIGNMENT = 16
_MOST_PREPARED = 64


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A plan for the given shapes.

    Attributes:
        is_fused: whether bias and residual are in the plan.
        is_activated: whether the activation is.
    """

    plan: Plan
    is_fused: bool
    is_activated: bool


def _refusal(operation: Operation) -> str | None:
    values = [value for value in operation.inputs if value is not None]
    if len({value.dtype for value in values}) > 1:
        return "takes tensors of one element type"
    shape = values[0].shape
    if shape is not None and not 3 <= len(shape) <= 5:
        return f"has one to three spatial axes, not {len(shape) - 2}"
    return activation_refusal(operation)


def _forward_refusal(operation: Operation) -> str | None:
    w = operation.inputs[1]
    if operation.attributes.get("group", 1) > 1 and w is not None and w.shape is not None and w.shape[1] == 1:
        return "is left to the kernel for groups of one channel"
    return _refusal(operation)


@operator("FusedConv", domain="onnxgpu", types=_TYPES, when=_forward_refusal)
@operator("FusedConv", domain="com.microsoft", types=_TYPES, when=_forward_refusal)
@operator("Conv", types=_TYPES, when=_forward_refusal)
class Conv:
    """activation(convolution + residual + bias). Spec: https://onnx.ai/onnx/operators/onnx__Conv.html

    Args:
        context: of the provider; what `Registry.claim` takes for its array module.
        operation: the node.
    """

    input_names: tuple[str, ...] = ("x", "w", "b", "z")
    required_inputs = 2

    def __init__(self, context: Context[Plans], operation: Operation) -> None:
        self._xp, self._tf32, self._plans = context.xp, context.tf32, context.plans()
        self._geometry, self._epilogue = split_attributes(operation.attributes)
        self._prepared: dict[Any, _Prepared] = {}

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, windows…)."""
        return (conv_specs(*inputs[:3], **self._geometry),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """The plan's, and room to align it.

        Raises:
            NotCovered: cuDNN has no plan for these shapes.
        """
        wanted = self._prepare(inputs).plan.workspace
        return wanted + _ALIGNMENT - 1 if wanted else 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`.

        Raises:
            NotCovered: cuDNN has no plan for these shapes, or a tensor begins at an odd address.
        """
        xp = self._xp
        prepared = self._prepare(inputs)
        given = outputs[0] if outputs else xp.empty(self.outputs(inputs)[0].shape, inputs[0].dtype)
        out = given if given.flags.c_contiguous else xp.empty(given.shape, given.dtype)
        x, w, bias, residual = (None if value is None else dense(xp, value) for value in (*inputs, None, None)[:4])
        tensors = {X: x, W: w, Y: out} | ({BIAS: bias, RESIDUAL: residual} if prepared.is_fused else {})
        addresses = {number: int(value.data.ptr) for number, value in tensors.items() if value is not None}
        if any(address % _TENSOR_ALIGNMENT for address in addresses.values()):
            raise NotCovered(f"cuDNN's plans are for tensors on multiples of {_TENSOR_ALIGNMENT} bytes")
        scratch = 0 if workspace is None else int(workspace.data.ptr) + -int(workspace.data.ptr) % _ALIGNMENT
        make(prepared.plan.run, addresses, scratch, xp.cuda.get_current_stream().ptr)
        left = {} if prepared.is_activated else self._epilogue
        finish(left, out, () if prepared.is_fused else (residual, None if bias is None else per_channel(bias, out.ndim)))
        if out is not given:
            given[...] = out
        return (given,)

    def _prepare(self, inputs: Sequence[Value]) -> _Prepared:
        key = tuple(None if value is None else tuple(value.shape) for value in inputs)
        known = self._prepared.get(key)
        if known is None:
            if len(self._prepared) >= _MOST_PREPARED:
                self._prepared.clear()
            known = self._prepared[key] = self._planned(inputs)
        return known

    def _planned(self, inputs: Sequence[Value]) -> _Prepared:
        convolution = self._described(inputs)
        if not all((*convolution.x, *convolution.w, *convolution.y)):
            raise NotCovered("cuDNN takes no empty tensors")
        bias, residual = (*inputs[2:4], None, None)[:2]
        wanted = replace(convolution, has_bias=bias is not None, has_residual=residual is not None and bias is not None)
        plan, planned = self._plans.first((self._activated(wanted), wanted, convolution))
        is_fused = planned != convolution or (bias is None and residual is None)
        return _Prepared(plan, is_fused, is_fused and planned.activation == self._epilogue.get("activation", ""))

    def _activated(self, convolution: Convolution) -> Convolution:
        """With the activation, if cuDNN has it behind a bias; Clip only from 0."""
        name = self._epilogue.get("activation", "")
        low, high = (self._epilogue.get(key) for key in ("activation_alpha", "activation_beta"))
        if not convolution.has_bias or name not in ACTIVATIONS or (name == "Clip" and (low != 0.0 or high is None)):
            return convolution
        return replace(convolution, activation=name, high=float(high) if name == "Clip" and high is not None else 0.0)

    def _described(self, inputs: Sequence[Value]) -> Convolution:
        x, w = inputs[:2]
        windows = convolution_windows("Conv", x, w, self._geometry)
        return _with_two_axes(
            Convolution(
                dtype=name_of(x.dtype),
                x=tuple(x.shape),
                w=tuple(w.shape),
                y=(x.shape[0], w.shape[0], *windows.output),
                before=windows.begin,
                after=windows.end,
                strides=windows.strides,
                dilations=windows.dilations,
                tf32=self._tf32,
            )
        )


@operator("ConvTranspose", types=_TYPES, when=_refusal)
class ConvTranspose(Conv):
    """The gradient of a convolution for its input. Spec: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html"""

    input_names = ("x", "w", "b")

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, …)."""
        return (transposed_specs(*inputs[:3], **self._geometry),)

    def _planned(self, inputs: Sequence[Value]) -> _Prepared:
        convolution = self._described(inputs)
        if not all((*convolution.x, *convolution.w, *convolution.y)):
            raise NotCovered("cuDNN takes no empty tensors")
        plan, _ = self._plans.first((convolution,))
        return _Prepared(plan, len(inputs) < 3 or inputs[2] is None, True)

    def _described(self, inputs: Sequence[Value]) -> Convolution:
        x, w = inputs[:2]
        group = int(self._geometry.get("group", 1))
        layout = transposed_layout(x, w, {**self._geometry, "group": group})
        windows = layout.windows
        axes = (x.shape[2:], layout.output, windows.begin, windows.end, windows.extents, windows.strides)
        for size, out, before, after, extent, step in zip(*axes, strict=True):
            if before < 0 or after < 0 or (out + before + after - extent) // step + 1 != size:
                raise NotCovered("there is no convolution whose gradient has this size")
        convolution = Convolution(
            dtype=name_of(x.dtype),
            x=tuple(x.shape),
            w=tuple(w.shape),
            y=(x.shape[0], w.shape[1] * group, *layout.output),
            before=windows.begin,
            after=windows.end,
            strides=windows.strides,
            dilations=windows.dilations,
            transposed=True,
            tf32=self._tf32,
        )
        return _with_two_axes(convolution)


def _with_two_axes(convolution: Convolution) -> Convolution:
    """cuDNN has two spatial axes or three: one axis is the second of two."""
    if len(convolution.before) > 1:
        return convolution
    x, w, y = ((*shape[:2], 1, *shape[2:]) for shape in (convolution.x, convolution.w, convolution.y))
    before, after = (0, *convolution.before), (0, *convolution.after)
    strides, dilations = (1, *convolution.strides), (1, *convolution.dilations)
    return replace(convolution, x=x, w=w, y=y, before=before, after=after, strides=strides, dilations=dilations)
