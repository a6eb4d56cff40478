"""MatMul, Gemm and onnxruntime's forms of them by cuBLASLt, with bias, Relu and the tanh form of Gelu in its epilogues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.matrix_products import fused_matmul_operands, fused_matmul_specs, gemm_specs
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.libraries.cublas import MOST_ALIGNMENT, MOST_WORKSPACE, WORKSPACE_ALIGNMENT, Plan, Plans, Problem
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from onnxgpu.providers.cuda.libraries.matrices import alignment_of, batches, factor, is_readable, lies_in_rows, stand_in
from onnxgpu.providers.cuda.operators.matrix_products import activation_refusal, finish

REGISTRY = Registry()
operator = REGISTRY.operator

_MS = "com.microsoft"
_FLAGS = ("transA", "transB", "transBatchA", "transBatchB")
EPILOGUES = ("", "Relu", "GeluTanh")
_MOST_PREPARED = 64


@dataclass(frozen=True, slots=True)
class Terms:
    """What is multiplied, as matrices with batch axes, and what is added.

    Attributes:
        c: of the result's shape; `out` itself, where `start` has to be copied to first.
        bias: a vector.
        behind: what a kernel behind the product adds before it applies the activation; each broadcasts to `out`.
    """

    a: Array
    b: Array
    out: Array
    c: Array | None = None
    start: Array | None = None
    bias: Array | None = None
    behind: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, where its launches begin, and whether it has the epilogue in it."""

    plan: Plan
    starts: list[tuple[int, ...]]
    is_fused: bool


@dataclass(frozen=True, slots=True)
class _Direct:
    """What is launched for operands that lie in a certain way; the third is C, a bias, or of no account."""

    prepared: Prepared
    has_c: bool
    has_bias: bool


class Product:
    """activation(alpha op(A) op(B) + beta C) as one plan, or as a few where batch axes do not join.

    Args:
        context: of the provider; what `Registry.claim` takes for its array module.
        operation: the node.
    """

    input_names: tuple[str, ...] = ("a", "b", "c")
    required_inputs = 2

    def __init__(self, context: Context[Plans], operation: Operation) -> None:
        self._xp, self._tf32, self._plans = context.xp, context.tf32, context.plans()
        self._attributes = attributes = operation.attributes
        self._flags = {name: int(attributes.get(name, 0)) for name in _FLAGS}
        self._alpha = float(attributes.get("alpha", 1.0))
        self._beta = float(attributes.get("beta", 1.0))
        self._activation = attributes.get("activation") or ""
        self._prepared: dict[Any, Prepared] = {}
        self._direct: dict[Any, _Direct] = {}

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """The product's shape."""
        return (fused_matmul_specs(inputs[0], inputs[1], **self._flags),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """What the algorithm for dense inputs wants, and room to align it.

        Raises:
            NotCovered: cuBLASLt has no algorithm for them.
        """
        (spec,) = self.outputs(inputs)
        stands = [None if value is None else stand_in(value) for value in inputs]
        terms = self._terms(np, stands, stand_in(spec), _dense_stand_in)
        wanted = self._prepare(terms, MOST_ALIGNMENT, MOST_WORKSPACE).plan.workspace
        return wanted + WORKSPACE_ALIGNMENT - 1 if wanted else 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`.

        Raises:
            NotCovered: cuBLASLt has no algorithm for these shapes.
        """
        scratch, room = aligned(workspace)
        if outputs is None:
            (spec,) = self.outputs(inputs)
            outputs = [self._xp.empty(spec.shape, spec.dtype)]
        operands = (*inputs[:2], inputs[2] if len(inputs) > 2 else None, outputs[0])
        a, b, added, out = addresses = [0 if x is None else int(x.data.ptr) for x in operands]
        key = (*[_layout_of(x) for x in operands], alignment_of(addresses), room)
        direct = self._direct.get(key)
        if direct is None:
            self._decide(inputs, outputs[0], scratch, room, key)
        else:
            self._multiply(direct.prepared, a, b, added if direct.has_c else out, out, added if direct.has_bias else 0, scratch)
        return outputs

    def _decide(self, inputs: Sequence[Value], given: Array, scratch: int, room: int, key: Any) -> None:
        """Compute, and note what was decided for operands that lie alike, if it is a product of the inputs as they lie and nothing else."""
        xp = self._xp
        out = given if given.flags.c_contiguous else xp.empty(given.shape, given.dtype)
        terms = self._terms(xp, inputs, out, xp.ascontiguousarray)
        prepared = self._prepare_here(terms, room)
        self._compute(prepared, terms, scratch)
        if out is not given:
            given[...] = out
            return
        is_alone = terms.start is None and not terms.behind and prepared.is_fused and self._activation in EPILOGUES
        if is_alone and terms.a.data.ptr == inputs[0].data.ptr and terms.b.data.ptr == inputs[1].data.ptr:
            if len(self._direct) >= _MOST_PREPARED:
                self._direct.clear()
            self._direct[key] = _Direct(prepared, terms.c is not None, terms.bias is not None)

    def _terms(self, xp: Any, inputs: Sequence[Value], out: Array, dense: Callable[[Array], Array]) -> Terms:
        """Operands of one axis are a row and a column, as in `numpy.matmul`."""
        a, b = fused_matmul_operands(xp, inputs[0], inputs[1], self._flags)
        if b.ndim == 1:
            b, out = b[:, None], out[..., None]
        if a.ndim == 1:
            a, out = a[None], out[..., None, :]
        a, b = (x if is_readable(x) else dense(x) for x in (a, b))
        added = inputs[2] if len(inputs) > 2 and self._beta else None
        if b.ndim == 2 and out.ndim > 2 and a.flags.c_contiguous and (added is None or added.ndim < 2):
            a, out = a.reshape(-1, a.shape[-1]), out.reshape(-1, out.shape[-1])
        if added is None:
            return Terms(a, b, out)
        if self._beta == 1.0 and added.ndim and added.shape[-1] == added.size == out.shape[-1]:
            return Terms(a, b, out, bias=added.reshape(-1))
        if added.shape == out.shape and lies_in_rows(added):
            return Terms(a, b, out, c=added)
        return Terms(a, b, out, c=out, start=added)

    def _prepare_here(self, terms: Terms, room: int) -> Prepared:
        """For terms that lie in memory, with `room` bytes of workspace."""
        return self._prepare(terms, alignment_of(_addresses(terms)), room)

    def _prepare(self, terms: Terms, alignment: int, room: int) -> Prepared:
        layouts = tuple(_layout_of(each) for each in (terms.a, terms.b, terms.c, terms.out))
        key = (layouts, terms.bias is None, not terms.behind, alignment, room)
        known = self._prepared.get(key)
        if known is None:
            if len(self._prepared) >= _MOST_PREPARED:
                self._prepared.clear()
            known = self._prepared[key] = self._planned(terms, alignment, room)
        return known

    def _planned(self, terms: Terms, alignment: int, room: int) -> Prepared:
        a, b, c, out = terms.a, terms.b, terms.c, terms.out
        (rows, columns), depth = out.shape[-2:], a.shape[-1]
        if not out.size or not depth:
            raise NotCovered("cuBLASLt takes no empty matrices")
        count, (step_a, step_b, step_c, step_out), starts = batches((a, b, c, out))
        alignment = alignment_of((alignment, *(offset for start in starts for offset in start)))
        problem = Problem(
            dtype=name_of(out.dtype),
            rows=rows,
            columns=columns,
            depth=depth,
            batches=count,
            a=factor(a, step_a),
            b=factor(b, step_b),
            c=None if c is None else factor(c, step_c),
            d=factor(out, step_out),
            alpha=self._alpha,
            beta=self._beta if c is not None else 0.0,
            activation=self._activation if self._activation in EPILOGUES and not terms.behind else "",
            has_bias=terms.bias is not None,
            alignment=alignment,
            tf32=self._tf32,
        )
        plan, is_fused = self._plans.fused(problem)
        if plan.workspace > room:
            plan, is_fused = self._plans.fused(problem, room)
        return Prepared(plan, starts, is_fused)

    def _compute(self, prepared: Prepared, terms: Terms, scratch: int) -> None:
        if terms.start is not None:
            terms.out[...] = terms.start
        self._run(prepared, terms, scratch)
        if terms.behind or not prepared.is_fused:
            finish(self._attributes, terms.out, terms.behind if prepared.is_fused else (*terms.behind, terms.bias))
        elif self._activation not in EPILOGUES:
            finish(self._attributes, terms.out)

    def _run(self, prepared: Prepared, terms: Terms, scratch: int) -> None:
        c = terms.out if terms.c is None else terms.c
        a, b, c, out = (int(x.data.ptr) for x in (terms.a, terms.b, c, terms.out))
        self._multiply(prepared, a, b, c, out, int(terms.bias.data.ptr) if terms.bias is not None and prepared.is_fused else 0, scratch)

    def _multiply(self, prepared: Prepared, a: int, b: int, c: int, out: int, bias: int, scratch: int) -> None:
        """The launches of a plan, for operands at these addresses."""
        stream = self._xp.cuda.get_current_stream().ptr
        for to_a, to_b, to_c, to_out in prepared.starts:
            prepared.plan.run(a + to_a, b + to_b, c + to_c, out + to_out, bias, scratch, stream)


def _dense_stand_in(x: np.ndarray) -> np.ndarray:
    return stand_in(Spec(x.shape, x.dtype))


def _layout_of(x: Array | None) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    return None if x is None else (x.shape, x.strides)


def aligned(workspace: Array | None) -> tuple[int, int]:
    """Where the workspace begins, aligned as cuBLASLt wants it, and how many bytes it has from there."""
    if workspace is None:
        return 0, 0
    skipped = -int(workspace.data.ptr) % WORKSPACE_ALIGNMENT
    return int(workspace.data.ptr) + skipped, max(0, workspace.size - skipped)


def _addresses(terms: Terms) -> Iterator[int]:
    for array in (terms.a, terms.b, terms.out, terms.c, terms.bias):
        if array is not None:
            yield int(array.data.ptr)


def _refusal(operation: Operation) -> str | None:
    values = [value for value in operation.inputs if value is not None]
    if len({value.dtype for value in values}) > 1:
        return "takes operands of one element type"
    return activation_refusal(operation)


def _fused_refusal(operation: Operation) -> str | None:
    if len(operation.inputs) > 3 and operation.inputs[3] is not None:
        return "adds no residual"
    return _refusal(operation)


@operator("MatMul", types=FLOAT_NAMES, when=_refusal)
class MatMul(Product):
    """Matrix product with broadcast batch axes. Spec: https://onnx.ai/onnx/operators/onnx__MatMul.html"""

    input_names = ("a", "b")


@operator("SparseToDenseMatMul", domain=_MS, types=FLOAT_NAMES, when=_refusal)
@operator("TransposeMatMul", domain=_MS, types=FLOAT_NAMES, when=_refusal)
@operator("FusedMatMul", domain=_MS, types=FLOAT_NAMES, when=_refusal)
class ScaledMatMul(Product):
    """alpha * op(A) op(B). Spec: onnxruntime's ContribOperators.md"""

    input_names = ("a", "b")


@operator("FusedMatMul", domain="onnxgpu", types=FLOAT_NAMES, when=_fused_refusal)
class MatMulWithBias(Product):
    """activation(alpha * op(A) op(B) + bias): what `onnxgpu.fuse.matmul` makes."""

    input_names = ("a", "b", "bias", "residual")


@operator("FusedGemm", domain=_MS, types=FLOAT_NAMES, when=_refusal)
@operator("Gemm", types=FLOAT_NAMES, when=_refusal)
class Gemm(Product):
    """activation(alpha * op(A) op(B) + beta * C). Spec: https://onnx.ai/onnx/operators/onnx__Gemm.html"""

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(M, N), checked against C."""
        return (gemm_specs(*inputs[:3], transA=self._flags["transA"], transB=self._flags["transB"]),)
