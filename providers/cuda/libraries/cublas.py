"""Products of matrices as plans of cuBLASLt: layouts, epilogue and the algorithm that its heuristic names first.

Matrices are in row order here. cuBLASLt's are in column order, so that it computes D^T = op(B)^T op(A)^T.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from onnxgpu.providers.cuda.launches import make
from onnxgpu.providers.cuda.libraries.found import cublas_lt
from onnxgpu.providers.cuda.libraries.kernel import NotCovered

_TYPES = {"float": 0, "double": 1, "float16": 2, "bfloat16": 14}
"""cudaDataType."""

_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_TF32 = 68, 70, 77
MOST_WORKSPACE = 32 << 20
"""Bytes: what NVIDIA recommends for Hopper."""

WORKSPACE_ALIGNMENT = 256
MOST_ALIGNMENT = 16
"""Bytes: more is of no use to any algorithm."""

_MOST_PLANS = 1024
_MOST_DESCRIPTIONS = 256
_NOT_SUPPORTED = ("NOT_SUPPORTED", "ARCH_MISMATCH")


@dataclass(frozen=True, slots=True)
class Factor:
    """How a matrix lies in memory, in elements.

    Attributes:
        transposed: its columns are dense, not its rows.
        leading: from one row to the next, or column if it is transposed.
        batch_stride: from one matrix to the next; 0 repeats it.
    """

    transposed: bool
    leading: int
    batch_stride: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """activation(alpha A B + beta C + bias): (M, K) by (K, N), `batches` times.

    Attributes:
        dtype: ONNX's name of the element type, that of all operands.
        c: how C lies, None without one.
        activation: "", "Relu", or "GeluTanh".
        has_bias: a vector of N, the same for all rows.
        alignment: bytes; all addresses are multiples of it.
        tf32: factors of float32 may be rounded to TF32.
        result: the name of C's and D's type, where it is another one.
    """

    dtype: str
    rows: int
    columns: int
    depth: int
    batches: int
    a: Factor
    b: Factor
    c: Factor | None
    d: Factor
    alpha: float = 1.0
    beta: float = 0.0
    activation: str = ""
    has_bias: bool = False
    alignment: int = 16
    tf32: bool = False
    result: str = ""

    @property
    def compute(self) -> int:
        """cublasComputeType_t."""
        if self.dtype == "double":
            return _COMPUTE_64F
        return _COMPUTE_TF32 if self.tf32 and self.dtype == "float" else _COMPUTE_32F


class _Owned:
    """A descriptor of cuBLASLt, destroyed with this object, but not at the end of the process, when the driver may be gone."""

    def __init__(self, handle: int, destroy: Callable[[int], Any]) -> None:
        self.handle = handle
        weakref.finalize(self, destroy, handle).atexit = False


class Plan:
    """A problem's descriptors and its algorithm.

    Args:
        handle: cuBLASLt's.
        problem: what to compute.
        workspace: bytes that the algorithm may use at most.

    Raises:
        NotCovered: cuBLASLt has no algorithm for it.
    """

    def __init__(self, handle: int, problem: Problem, workspace: int) -> None:
        self._lt, self._handle, self._problem = cublas_lt().module, handle, problem
        self._scalars = np.array([problem.alpha, problem.beta], np.float64 if problem.dtype == "double" else np.float32)
        a, b, c, d = problem.a, problem.b, problem.c or problem.d, problem.d
        m, n, k = problem.rows, problem.columns, problem.depth
        of_result = problem.result or problem.dtype
        self._layouts = (
            self._layout(problem.dtype, n, k, b),
            self._layout(problem.dtype, k, m, a),
            self._layout(of_result, n, m, c),
            self._layout(of_result, n, m, d),
        )
        self._described: dict[int, _Owned] = {}
        self._algorithm, self.workspace = self._search(self._description(0), workspace)

    def run(self, a: int, b: int, c: int, d: int, bias: int, workspace: int, stream: int) -> None:
        """Launch.

        Args:
            a: address of A.
            b: of B.
            c: of C; that of D without one.
            d: of the result.
            bias: of the vector; 0 without one.
            workspace: of `self.workspace` bytes, on a multiple of `WORKSPACE_ALIGNMENT`.
            stream: `cudaStream_t`.
        """
        alpha, description = self._scalars.ctypes.data, self._description(bias)
        in_b, in_a, in_c, in_d = (layout.handle for layout in self._layouts)
        make(
            self._lt.matmul,
            self._handle, description.handle, alpha, b, in_b, a, in_a, alpha + self._scalars.itemsize, c, in_c, d, in_d,
            self._algorithm.ctypes.data, workspace, self.workspace, stream, held=(self, description),
        )  # fmt: skip

    def _description(self, bias: int) -> _Owned:
        """The operation with its bias at this address: another address is another descriptor, as threads share a plan."""
        known = self._described.get(bias)
        if known is not None:
            return known
        problem, lt = self._problem, self._lt
        made = lt.matmul_desc_create(problem.compute, _TYPES["double" if problem.dtype == "double" else "float"])
        owned = _Owned(made, lt.matmul_desc_destroy)
        attribute = lt.MatmulDescAttribute
        _set(lt.matmul_desc_set_attribute, made, attribute.TRANSA, np.int32(problem.b.transposed))
        _set(lt.matmul_desc_set_attribute, made, attribute.TRANSB, np.int32(problem.a.transposed))
        _set(lt.matmul_desc_set_attribute, made, attribute.EPILOGUE, np.uint32(_epilogue(lt, problem)))
        if bias:
            _set(lt.matmul_desc_set_attribute, made, attribute.BIAS_POINTER, np.int64(bias))
        if len(self._described) >= _MOST_DESCRIPTIONS:
            self._described.clear()
        self._described[bias] = owned
        return owned

    def _layout(self, dtype: str, rows: int, columns: int, factor: Factor) -> _Owned:
        """The layout of a matrix that has `rows` in column order, where it is not transposed."""
        lt, problem = self._lt, self._problem
        shape = (columns, rows) if factor.transposed else (rows, columns)
        made = lt.matrix_layout_create(_TYPES[dtype], *shape, factor.leading)
        owned = _Owned(made, lt.matrix_layout_destroy)
        _set(lt.matrix_layout_set_attribute, made, lt.MatrixLayoutAttribute.BATCH_COUNT, np.int32(problem.batches))
        _set(lt.matrix_layout_set_attribute, made, lt.MatrixLayoutAttribute.STRIDED_BATCH_OFFSET, np.int64(factor.batch_stride))
        return owned

    def _search(self, description: _Owned, workspace: int) -> tuple[np.ndarray, int]:
        lt = self._lt
        preference = lt.matmul_preference_create()
        found, count = np.zeros(1, lt.matmul_heuristic_result_dtype), np.zeros(1, np.int32)
        try:
            kind = lt.MatmulPreferenceAttribute
            _set(lt.matmul_preference_set_attribute, preference, kind.MAX_WORKSPACE_BYTES, np.uint64(workspace))
            for each in (kind.MIN_ALIGNMENT_A_BYTES, kind.MIN_ALIGNMENT_B_BYTES, kind.MIN_ALIGNMENT_C_BYTES, kind.MIN_ALIGNMENT_D_BYTES):
                _set(lt.matmul_preference_set_attribute, preference, each, np.uint32(self._problem.alignment))
            lt.matmul_algo_get_heuristic(
                self._handle,
                description.handle,
                *(layout.handle for layout in self._layouts),
                preference,
                1,
                found.ctypes.data,
                count.ctypes.data,
            )
        except lt.cuBLASLtError as error:
            if not any(name in str(error) for name in _NOT_SUPPORTED):
                raise
            raise NotCovered(f"cuBLASLt has no algorithm for it ({error})") from None
        finally:
            lt.matmul_preference_destroy(preference)
        if not count[0] or found["state"][0]:
            raise NotCovered("cuBLASLt has no algorithm for it")
        return np.ascontiguousarray(found["algo"]), int(found["workspace_size"][0])


class Plans:
    """The plans of one device, made when first asked for; those of a problem that has none are remembered too.

    Args:
        device: its number; it is the current device whenever this is used.
    """

    def __init__(self, device: int) -> None:
        self._handle = cublas_lt().module.create()
        self._plans: dict[tuple[Problem, int], Plan | str] = {}

    def plan(self, problem: Problem, workspace: int = MOST_WORKSPACE) -> Plan:
        """The plan for `problem` that needs at most `workspace` bytes.

        Raises:
            NotCovered: cuBLASLt has no algorithm for it.
        """
        key = (problem, workspace)
        known = self._plans.get(key)
        if known is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            try:
                known = Plan(self._handle, problem, workspace)
            except NotCovered as error:
                known = str(error)
            self._plans[key] = known
        if isinstance(known, str):
            raise NotCovered(known)
        return known

    def fused(self, problem: Problem, workspace: int = MOST_WORKSPACE) -> tuple[Plan, bool]:
        """A plan for `problem`, and whether bias and activation are in it: cuBLASLt does not have them for all types."""
        if not problem.has_bias and not problem.activation:
            return self.plan(problem, workspace), True
        try:
            return self.plan(problem, workspace), True
        except NotCovered:
            return self.plan(replace(problem, has_bias=False, activation=""), workspace), False


@cache
def plans(device: int) -> Plans:
    """Those of a device, which is the current one."""
    return Plans(device)


def _epilogue(lt: Any, problem: Problem) -> int:
    kinds = lt.Epilogue
    with_bias = {"": kinds.BIAS, "Relu": kinds.RELU_BIAS, "GeluTanh": kinds.GELU_BIAS}
    without = {"": kinds.DEFAULT, "Relu": kinds.RELU, "GeluTanh": kinds.GELU}
    return int((with_bias if problem.has_bias else without)[problem.activation])


def _set(function: Callable[..., Any], target: int, attribute: int, value: np.generic) -> None:
    held = np.array(value)
    function(target, int(attribute), held.ctypes.data, held.nbytes)
