"""Convolutions as products by cuBLASLt: of the weights (M, elements of a window) with the windows of each sample as columns.

Where windows are single elements, the columns are the sample as it lies. cuBLASLt chooses among kernels for flat, narrow and deep
products, where cuDNN has for many of these shapes one that does any convolution, and converts float16 to channels-last and back.

Windows of several elements are written as columns first, in float32 and double. From compute capability 8.0 on, the list of plans that
cuDNN's heuristic gives for float32 is one of TF32, and what is left of it where that is not wanted is often the generic kernel alone.

cuBLASLt adds a vector to columns alone, which are channels only where a sample has one window; elsewhere residual, bias and
activation are one generated kernel behind the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.convolution import conv_specs, convolution_windows
from onnxgpu.providers.array_ops.windows import Windows
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, dense
from onnxgpu.providers.cuda.libraries.convolution_graphs import split_attributes
from onnxgpu.providers.cuda.libraries.cublas import MOST_ALIGNMENT, MOST_WORKSPACE, WORKSPACE_ALIGNMENT, Plans
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from onnxgpu.providers.cuda.libraries.matrices import stand_in
from onnxgpu.providers.cuda.libraries.products import EPILOGUES, Product, Terms, aligned
from onnxgpu.providers.cuda.operators.matrix_products import activation_refusal
from onnxgpu.providers.cuda.windows import MOST_WINDOW_AXES, write_columns

POINTWISE, PRODUCTS = Registry(), Registry()
"""Convolutions whose windows are single elements, and all that are products."""

_MOST_COLUMNS = 64 << 20
"""Bytes of columns at once: what the larger GPUs' caches hold; a batch goes in parts, and a larger sample is left to cuDNN."""

_MOST_PLACES = (1 << 31) - 1
_FIRST_WITH_TF32 = 80
_WIDE = ("float", "double")


def registry_for(capability: int, tf32: bool) -> Registry:
    """The convolutions that are to be products on a GPU of this compute capability (90 is 9.0), if TF32 is allowed or not."""
    return POINTWISE if tf32 or capability < _FIRST_WITH_TF32 else PRODUCTS


@dataclass(frozen=True, slots=True)
class _Columns:
    """How the windows of an input are the columns of matrices.

    Attributes:
        windows: over the input.
        depth: elements of a column.
        samples: how many matrices there are at once.
        is_input: they are the input as it lies.
    """

    windows: Windows
    depth: int
    samples: int
    is_input: bool

    def shape(self, samples: int) -> tuple[int, int, int]:
        """Of the matrices of so many samples."""
        return samples, self.depth, prod(self.windows.output)

    def bytes(self, dtype: np.dtype) -> int:
        """What they take of the workspace, which goes on aligned."""
        size = 0 if self.is_input else prod(self.shape(self.samples)) * dtype.itemsize
        return -(-size // WORKSPACE_ALIGNMENT) * WORKSPACE_ALIGNMENT


class ConvProduct(Product):
    """activation(W X + residual + bias). Spec: https://onnx.ai/onnx/operators/onnx__Conv.html"""

    input_names = ("x", "w", "b", "z")

    def __init__(self, context: Context[Plans], operation: Operation) -> None:
        super().__init__(context, operation)
        self._geometry, self._attributes = split_attributes(operation.attributes)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, windows…)."""
        return (conv_specs(*inputs[:3], **self._geometry),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """The columns, what the algorithm wants, and room to align both.

        Raises:
            NotCovered: cuBLASLt has no algorithm for the products, or the columns of a sample are too many.
        """
        columns = self._columns(inputs)
        others = [None if value is None else stand_in(Spec(value.shape, value.dtype)) for value in (*inputs[1:], None, None)[:3]]
        (spec,) = self.outputs(inputs)
        matrices = stand_in(Spec(columns.shape(columns.samples), spec.dtype))
        _, terms = next(self._parts(columns, matrices, others, stand_in(spec)))
        wanted = columns.bytes(spec.dtype) + self._prepare(terms, MOST_ALIGNMENT, MOST_WORKSPACE).plan.workspace
        return wanted + WORKSPACE_ALIGNMENT - 1 if wanted else 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`.

        Raises:
            NotCovered: cuBLASLt has no algorithm for the products, or the columns of a sample are too many.
        """
        xp, columns = self._xp, self._columns(inputs)
        (spec,) = self.outputs(inputs)
        given = outputs[0] if outputs else xp.empty(spec.shape, spec.dtype)
        out = given if given.flags.c_contiguous else xp.empty(spec.shape, spec.dtype)
        x, others = dense(xp, inputs[0]), [None if value is None else dense(xp, value) for value in (*inputs[1:], None, None)[:3]]
        scratch, room = aligned(workspace)
        shape, size = columns.shape(columns.samples), columns.bytes(spec.dtype)
        if columns.is_input:
            matrices = x.reshape(shape)
        else:
            assert workspace is not None
            begin = scratch - int(workspace.data.ptr)
            matrices = workspace[begin : begin + prod(shape) * x.itemsize].view(x.dtype).reshape(shape)
        for samples, terms in self._parts(columns, matrices, others, out):
            prepared = self._prepare_here(terms, room - size)
            if not columns.is_input:
                write_columns(x[samples], matrices[: x[samples].shape[0]], columns.windows)
            self._compute(prepared, terms, scratch + size)
        if out is not given:
            given[...] = out
        return (given,)

    def _columns(self, inputs: Sequence[Value]) -> _Columns:
        x, w = inputs[:2]
        windows = convolution_windows("Conv", x, w, self._geometry)
        depth = prod(w.shape[1:])
        if not all((*x.shape, *w.shape, *windows.output)):
            raise NotCovered("cuBLASLt takes no empty matrices")
        is_whole = windows.kernel == windows.spatial or (prod(windows.kernel) == 1 and prod(windows.strides) == 1)
        if is_whole and not any((*windows.begin, *windows.end)):
            return _Columns(windows, depth, x.shape[0], True)
        sample = depth * prod(windows.output) * x.dtype.itemsize
        if sample > _MOST_COLUMNS or prod(windows.spatial) > _MOST_PLACES:
            raise NotCovered(f"the columns of a sample have {sample:,} bytes, more than {_MOST_COLUMNS:,}")
        return _Columns(windows, depth, max(1, min(x.shape[0], _MOST_COLUMNS // max(sample, 1))), False)

    def _parts(self, columns: _Columns, matrices: Array, others: Sequence[Array | None], out: Array) -> Iterator[tuple[slice, Terms]]:
        """Samples whose columns `matrices` are at once, and their product.

        Args:
            columns: of the input.
            matrices: of `columns.shape(columns.samples)`.
            others: weights, bias and residual, dense.
            out: (N, M, windows…), dense.
        """
        w, bias, residual = others
        assert w is not None
        count, maps = out.shape[:2]
        w = w.reshape(maps, columns.depth)
        out = out.reshape(count, maps, matrices.shape[2])
        residual = None if residual is None else residual.reshape(out.shape)
        for first in range(0, count, columns.samples):
            samples = slice(first, min(first + columns.samples, count))
            added = None if residual is None else residual[samples]
            yield samples, self._terms_of(w, matrices[: samples.stop - first], bias, added, out[samples])

    def _terms_of(self, w: Array, x: Array, bias: Array | None, residual: Array | None, out: Array) -> Terms:
        """The product of the weights (M, depth) with columns (samples, depth, windows), which may be rows as well if they are single."""
        if x.shape[2] == 1:
            x, out, residual = x[..., 0], out[..., 0], None if residual is None else residual[..., 0]
            return Terms(x, w.T, out, c=residual, bias=bias)
        if bias is None and self._activation in EPILOGUES:
            return Terms(w, x, out, c=residual)
        added = (residual, None if bias is None else bias[:, None])
        return Terms(w, x, out, behind=tuple(each for each in added if each is not None))


def _pointwise_refusal(operation: Operation) -> str | None:
    reason = _refusal(operation)
    if reason is None and not _is_pointwise(operation):
        return "is not known to have windows of one element without strides and padding"
    return reason


def _product_refusal(operation: Operation) -> str | None:
    reason = _refusal(operation)
    if reason is not None or _is_pointwise(operation):
        return reason
    x = operation.inputs[0]
    assert x is not None
    if x.dtype is None or name_of(x.dtype) not in _WIDE:
        return f"has windows that are written as columns in {' and '.join(_WIDE)} alone"
    if x.shape is None or len(x.shape) - 2 > MOST_WINDOW_AXES:
        return f"has at most {MOST_WINDOW_AXES} spatial axes"
    return None


def _refusal(operation: Operation) -> str | None:
    if len({value.dtype for value in operation.inputs if value is not None}) > 1:
        return "takes tensors of one element type"
    if operation.attributes.get("group", 1) != 1:
        return "has groups, each with a product of its own"
    return activation_refusal(operation)


def _is_pointwise(operation: Operation) -> bool:
    w, attributes = operation.inputs[1], operation.attributes
    assert w is not None
    window = attributes.get("kernel_shape") or (w.shape or ())[2:]
    is_single = bool(window) and all(size == 1 for size in window)
    return is_single and all(step == 1 for step in attributes.get("strides") or ()) and not any(attributes.get("pads") or ())


for _registry, _when in ((POINTWISE, _pointwise_refusal), (PRODUCTS, _product_refusal)):
    for _name, _domain in (("Conv", ""), ("FusedConv", "onnxgpu"), ("FusedConv", "com.microsoft")):
        _registry.operator(_name, domain=_domain, types=FLOAT_NAMES, when=_when)(ConvProduct)
