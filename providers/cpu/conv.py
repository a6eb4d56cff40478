"""Conv over one or two spatial axes, alone or with bias, residual and activation (internal FusedConv)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Call, Operation, Spec, Value, ValueInfo
from onnxgpu.providers.array_ops.specs import broadcast_shapes
from onnxgpu.providers.cpu.conv_batched import Batched
from onnxgpu.providers.cpu.conv_depthwise import Banded
from onnxgpu.providers.cpu.conv_gathered import Gathered
from onnxgpu.providers.cpu.conv_interleaved import Interleaved
from onnxgpu.providers.cpu.conv_pointwise import Pointwise
from onnxgpu.providers.cpu.conv_problem import Method, Problem
from onnxgpu.providers.cpu.conv_shifted import Shifted
from onnxgpu.providers.cpu.conv_taps import Taken
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.geometry import as_planes, windows
from onnxgpu.providers.cpu.registry import operator
from onnxgpu.tracing import traced_launch

FLOATS = frozenset({"float", "double"})
_MOST_PLANS = 64


def planes_only(operation: Operation) -> str | None:
    """Why the fast kernels do not take this convolution: it is not known to have one or two spatial axes."""
    for value in operation.inputs[:2]:
        if value is not None and value.shape is not None:
            rank = len(value.shape) - 2
            return None if rank in (1, 2) else f"is fast over one or two spatial axes, the node has {rank}"
    return "is fast only where the number of spatial axes is known"


def method_for(problem: Problem) -> Method:
    """The fastest way to compute `problem`, by its shapes alone."""
    if Taken.suits(problem):
        return Taken(problem)
    if problem.groups == problem.channels == problem.maps and problem.groups > 1:
        methods: list[Banded | Interleaved | Shifted] = [Banded(problem), Interleaved(problem)]
        if Shifted.suits(problem):
            methods.append(Shifted(problem))
        return min(methods, key=lambda method: method.cost)
    if Pointwise.suits(problem):
        return Pointwise(problem)
    return Batched(problem) if Batched.suits(problem) else Gathered(problem)


def _known_shape(value: ValueInfo, load: Callable[[], Array]) -> tuple[int, ...]:
    """The shape of a constant, without loading it if the graph says it."""
    sizes = tuple(size for size in value.shape or () if isinstance(size, int))
    return sizes if sizes and len(sizes) == len(value.shape or ()) else tuple(load().shape)


@operator("FusedConv", domain="onnxgpu", types=FLOATS, when=planes_only, absorbs=("w",))
@operator("Conv", types=FLOATS, when=planes_only, absorbs=("w",))
class Conv:
    """Convolution. Inputs X (N, C, [H,] W), W (M, C/group, [kh,] kw), optional B (M,), optional Z (residual, of Y's shape).

    FusedConv adds Z and applies `activation` (see `epilogue.Epilogue`) while the result is in cache.
    Spec: https://onnx.ai/onnx/operators/onnx__Conv.html
    """

    input_names = ("x", "w", "b", "z")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        weights = operation.inputs[1]
        assert weights is not None
        self._attributes = operation.attributes
        self._groups = int(operation.attributes.get("group", 1))
        self._epilogue = Epilogue(operation.attributes)
        self._constant = weights.constant
        self._shape = None if self._constant is None else _known_shape(weights, self._constant)
        self._laid_out: dict[str, Array] = {}
        self._plans: dict[tuple[Any, ...], Method] = {}
        self._lay_out_early(operation)

    def _lay_out_early(self, operation: Operation) -> None:
        """Where all shapes are known, lay the weights out now and let go of the originals."""
        x = operation.inputs[0]
        if self._constant is None or x is None or x.shape is None or x.dtype is None:
            return
        if all(isinstance(d, int) for d in x.shape[1:]):
            batch = x.shape[0] if isinstance(x.shape[0], int) else 1
            method = self._plan((batch, *x.shape[1:]), self._shape or (), np.dtype(x.dtype))
            self._weights(method, None)
            if isinstance(x.shape[0], int):
                self._constant = self._constant if method.layout == "as given" else None

    def _plan(self, x: Sequence[Any], w: tuple[int, ...], dtype: np.dtype) -> Method:
        key = (*x, *w, dtype)
        method = self._plans.get(key)
        if method is None:
            if len(w) != len(x) or x[1] != w[1] * self._groups or w[0] % self._groups:
                raise InvalidArgument(
                    f"X has shape {list(x)}, W {list(w)} with group={self._groups}: "
                    f"expected X of (N, {w[1] * self._groups}, …) with as many spatial axes as W"
                )
            rows, columns = windows(self._attributes, w[2:]).axes(x[2:])
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            method = self._plans[key] = method_for(Problem(x[0], x[1], w[0], self._groups, rows, columns, dtype))
        return method

    def _method(self, inputs: Sequence[Value]) -> Method:
        shape = self._shape or tuple(inputs[1].shape)
        return self._plan(tuple(inputs[0].shape), shape, inputs[0].dtype)

    def _weights(self, method: Method, given: Array | None) -> Array:
        if given is not None and self._constant is None and not self._laid_out:
            return method.laid_out(as_planes(given))
        weights = self._laid_out.get(method.layout)
        if weights is None:
            assert self._constant is not None
            weights = self._laid_out[method.layout] = method.laid_out(as_planes(self._constant()))
        return weights

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, [Ho,] Wo), broadcast against Z."""
        shape = self._convolved(inputs)
        residual = inputs[3] if len(inputs) > 3 else None
        return (Spec(shape if residual is None else broadcast_shapes(shape, tuple(residual.shape)), inputs[0].dtype),)

    def _convolved(self, inputs: Sequence[Value]) -> tuple[int, ...]:
        x = inputs[0]
        shape = self._shape or tuple(inputs[1].shape)
        rows, columns = windows(self._attributes, shape[2:]).axes(x.shape[2:])
        sizes = (rows.output, columns.output)[-(len(shape) - 2) :]
        return (x.shape[0], shape[0], *sizes)

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        is_broadcast = outputs[0].shape != self._convolved(inputs)
        method = self._method(inputs)
        return traced_launch(self, inputs, outputs) if isinstance(method, Taken) and method.is_short and not is_broadcast else None

    def workspace(self, inputs: Sequence[Value]) -> int:
        """What the method needs to gather columns of a few rows."""
        return self._method(inputs).workspace

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        given = (*inputs, None, None)
        x, bias, residual = given[0], given[2], given[3]
        if outputs[0].size == 0:
            return outputs
        if residual is not None and not self._convolved(inputs) == residual.shape == outputs[0].shape:
            return self._launch_broadcast(inputs, outputs[0], workspace)
        method = self._method(inputs)
        weights = self._weights(method, given[1])
        y = as_planes(outputs[0])
        method.run(
            as_planes(x if isinstance(method, Taken) else np.ascontiguousarray(x)),
            weights,
            y,
            self._epilogue,
            None if bias is None else bias.reshape(-1, 1),
            None if residual is None else as_planes(residual),
            workspace,
        )
        return outputs

    def _launch_broadcast(self, inputs: Sequence[Value], out: Array, workspace: Array | None) -> Sequence[Value]:
        """The graph promised a residual of the result's shape, and another one came."""
        x, bias, residual = inputs[0], inputs[2], inputs[3]
        method = self._method(inputs)
        convolved = np.empty(self._convolved(inputs), out.dtype)
        column = None if bias is None else bias.reshape(-1, 1)
        method.run(
            as_planes(np.ascontiguousarray(x)),
            self._weights(method, inputs[1]),
            as_planes(convolved),
            Epilogue({}),
            column,
            None,
            workspace,
        )
        np.add(convolved, residual, out=out)
        self._epilogue.apply(out.reshape(-1, out.shape[-1]), None, None)
        return (out,)
