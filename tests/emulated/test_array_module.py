"""Products and Einstein sums of CuPy's arrays by the provider's own MatMul, and an end of cuBLAS in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.cuda.array_module import ArrayModule
from onnxgpu.providers.cuda.provider import CUDAProvider
from tests.cases.random_arrays import integers, normal

LIBRARIES: list[dict[str, Any]] = [{}, {"enable_cublas": False}]


@pytest.fixture(params=LIBRARIES, ids=["libraries", "own"])
def xp(request: pytest.FixtureRequest, cp: Any) -> ArrayModule:
    return CUDAProvider(request.param)._arrays


SHAPES = [
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (5, 4, 2)),
    ((4,), (4,)),
    ((3, 4), (4,)),
    ((4,), (2, 4, 5)),
    ((3, 0), (0, 5)),
    ((0, 4), (4, 5)),
    ((2, 1, 2, 1, 2, 1, 2, 1, 2, 3, 4), (1, 2, 1, 2, 1, 2, 1, 2, 1, 4, 2)),
]


@pytest.mark.parametrize(("a", "b"), SHAPES, ids=str)
def test_matmul(xp: ArrayModule, a: tuple[int, ...], b: tuple[int, ...], cp: Any) -> None:
    x, y = normal(*a), normal(*b, seed=1)
    np.testing.assert_allclose(cp.asnumpy(xp.matmul(cp.asarray(x), cp.asarray(y))), np.matmul(x, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("types", [("int8", "int8"), ("uint16", "uint16"), ("int64", "int64"), ("uint8", "int32"), ("int32", "float64")])
def test_types(xp: ArrayModule, types: tuple[str, str], cp: Any) -> None:
    """Of two types the common one; integers wrap around."""
    x, y = (integers(6, 6, low=0, high=100, dtype=dtype, seed=i) for i, dtype in enumerate(types))
    found = cp.asnumpy(xp.matmul(cp.asarray(x), cp.asarray(y)))
    assert found.dtype == np.matmul(x, y).dtype
    np.testing.assert_array_equal(found, np.matmul(x, y))


def test_given_memory(xp: ArrayModule, cp: Any) -> None:
    """Strided, of another type, or dense."""
    x, y = normal(2, 3, 4), normal(2, 4, 5)
    for out in (cp.empty((2, 3, 5), "float32"), cp.empty((2, 5, 3), "float32").swapaxes(1, 2), cp.empty((2, 3, 5), "float64")):
        assert xp.matmul(cp.asarray(x), cp.asarray(y), out=out) is out
        np.testing.assert_allclose(cp.asnumpy(out), np.matmul(x, y), rtol=1e-5, atol=1e-6)


def test_no_bool(xp: ArrayModule, cp: Any) -> None:
    with pytest.raises(TypeError, match="matrices of bool are not multiplied"):
        xp.matmul(cp.ones((2, 2), bool), cp.ones((2, 2), bool))


@pytest.mark.parametrize("name", ["linalg", "dot", "tensordot"])
def test_what_calls_cublas_is_left_out(xp: ArrayModule, name: str) -> None:
    with pytest.raises(AttributeError, match=f"{name} of CuPy calls cuBLAS"):
        getattr(xp, name)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ba,cb", (2, 3), (4, 2)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ji", (2, 3)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iji,jj->i", (2, 3, 2), (3, 3)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("i...j,j...k", (2, 5, 3), (3, 1, 4)),
    ("...i,...i->...", (2, 1, 3), (4, 3)),
    ("...->...", (2, 3)),
    ("i,j->ij", (3,), (4,)),
    ("i,i", (3,), (3,)),
    ("ij,i->j", (2, 3), (1,)),
    ("ij,kl->jl", (2, 3), (4, 5)),
    ("ab,bc,cd->ad", (2, 3), (3, 4), (4, 2)),
    ("ab,cb,db->acd", (2, 3), (4, 3), (5, 3)),
    ("a,a,a->", (3,), (3,), (3,)),
    ("bhqd,bhkd->bhqk", (1, 2, 3, 4), (1, 2, 5, 4)),
    ("ij,jk->ik", (2, 0), (0, 4)),
    (",ij->ij", (), (2, 3)),
    ("i j , j k -> i k", (2, 3), (3, 4)),
]


@pytest.mark.parametrize("dtype", ["float64", "int32"])
@pytest.mark.parametrize("equation", EQUATIONS, ids=str)
def test_einsum(equation: tuple[Any, ...], dtype: str, cp: Any) -> None:
    xp = CUDAProvider({"enable_cublas": False})._arrays
    text, *shapes = equation
    operands = [integers(*shape, low=-5, high=5, seed=i).astype(dtype) for i, shape in enumerate(shapes)]
    found, expected = cp.asnumpy(xp.einsum(text, *map(cp.asarray, operands))), np.einsum(text, *operands)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("equation", "shapes"), [("ij,jk->ik", [(2, 3), (4, 5)]), ("ij->ik", [(2, 3)]), ("ij,jk", [(2, 3)]), ("i->i", [(2, 3)])]
)
def test_an_equation_that_does_not_fit(equation: str, shapes: list[tuple[int, ...]], cp: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        CUDAProvider()._arrays.einsum(equation, *(cp.ones(shape) for shape in shapes))


def test_no_case_needs_cublas() -> None:
    """Every operator case without a kernel of our own or a library's, in a process that could not import CuPy's bindings of cuBLAS."""
    command = [sys.executable, "-m", "tests.emulated.without_cublas"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 1000
