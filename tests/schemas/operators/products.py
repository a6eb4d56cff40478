"""Matrix products and what is made of them. Numbers are small enough for every partial sum to be exact."""

from __future__ import annotations

import numpy as np

from tests.schemas.draw import Draw, Shape
from tests.schemas.examples import Example, generates


def matrix_shapes(draw: Draw) -> tuple[Shape, Shape]:
    """Shapes of two tensors that `matmul` takes, vectors included."""
    k = draw.size(0, 4)
    batch = draw.shape((0, 2), (1, 2))
    left, right = draw.narrowed(batch), draw.narrowed(batch)
    a = (k,) if draw.seldom() else (*left, draw.size(), k)
    b = (k,) if draw.seldom() else (*right, k, draw.size())
    return a, b


@generates("MatMul")
def matmul(draw: Draw) -> Example:
    dtype = draw.dtype("A")
    a, b = matrix_shapes(draw)
    if draw.seldom():
        return Example([draw.plain(dtype, (2, 3)), draw.plain(dtype, (2, 3))], invalid="3 columns by 2 rows")
    return Example([draw.plain(dtype, a), draw.plain(dtype, b)])


@generates("MatMulInteger")
def integer_matmul(draw: Draw) -> Example:
    a, b = matrix_shapes(draw)
    left, right = draw.dtype("A"), draw.dtype("B")
    x, y = draw.anything(left, a), draw.anything(right, b)
    points: list[np.ndarray | None] = []
    if draw.flag():
        points = [draw.plain(left, ()) if draw.flag() else None, draw.plain(right, ())]
    return Example([x, y, *points])


@generates("Gemm")
def gemm(draw: Draw) -> Example:
    dtype = draw.dtype("A")
    m, n, k = draw.size(), draw.size(), draw.size(1, 4)
    flips = draw.some({"transA": lambda: 1, "transB": lambda: 1})
    a = (k, m) if "transA" in flips else (m, k)
    b = (n, k) if "transB" in flips else (k, n)
    numbers = draw.some({"alpha": lambda: draw.real(), "beta": lambda: draw.real()})
    if dtype.kind in "iu":
        numbers = {name: float(int(value)) for name, value in numbers.items()}
    attributes = {**flips, **numbers}
    inputs = [draw.plain(dtype, a), draw.plain(dtype, b)]
    if draw.version < 7:
        wide = draw.flag()
        return Example([*inputs, draw.plain(dtype, (n,) if wide else (m, n))], attributes | ({"broadcast": 1} if wide else {}))
    if draw.version < 11 or draw.flag():
        inputs.append(draw.plain(dtype, draw.narrowed((m, n))))
    return Example(inputs, attributes)


FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")
EQUATIONS = {
    "ij,jk->ik": ((2, 3), (3, 4)),
    "ij,jk": ((2, 3), (3, 2)),
    "bij,bjk->bik": ((2, 2, 3), (2, 3, 2)),
    "...ij,...jk->...ik": ((2, 2, 3), (1, 3, 2)),
    "ij->ji": ((2, 3),),
    "ii->i": ((3, 3),),
    "ii": ((3, 3),),
    "ij->": ((2, 3),),
    "i,i->": ((3,), (3,)),
    "i,j->ij": ((2,), (3,)),
    " i j , j -> i ": ((2, 3), (3,)),
    "ij,jk,kl->il": ((2, 3), (3, 2), (2, 2)),
    "...i->...": ((2, 3, 2),),
    "aBc,cB->a": ((2, 3, 2), (2, 3)),
    "b...,b...->b...": ((2, 3), (2, 3)),
    "bhwi,bhkj->bhwkij": ((1, 2, 2, 3), (1, 2, 2, 2)),
}


@generates("Einsum")
def einsum(draw: Draw) -> Example:
    equation = draw.among(list(EQUATIONS))
    dtype = draw.dtype("Inputs")
    return Example([draw.plain(dtype, shape, -3, 3) for shape in EQUATIONS[equation]], {"equation": equation})


@generates("Det")
def determinant(draw: Draw) -> Example:
    n = draw.integer(1, 3)
    return Example([draw.plain(draw.dtype("X"), (*draw.shape((0, 2), (1, 2)), n, n))], rtol=1e-3, atol=1e-3)


@generates("QLinearMatMul")
def quantized_matmul(draw: Draw) -> Example:
    """Half of the nodes have the types of version 10."""
    a, b = matrix_shapes(draw)
    kinds = ("uint8", "int8", "float") if draw.flag() else ("uint8", "int8", "float", "float16", "bfloat16", *FLOAT8)
    types = {name: draw.dtype(name, lambda kind: kind in kinds) for name in ("a", "b", "y_zero_point")}
    scales = draw.dtype("a_scale", lambda kind: kind in kinds) if draw.version >= 21 else np.dtype(np.float32)

    def side(name: str, shape: Shape) -> list[np.ndarray]:
        return [draw.plain(types[name], shape, -9, 9), np.array(0.25, scales), draw.plain(types[name], ())]

    return Example([*side("a", a), *side("b", b), np.array(0.5, scales), draw.plain(types["y_zero_point"], ())])
