"""Large 8-bit matrices stay in 8 bits, and their products are exact."""

from __future__ import annotations

import numpy as np
import pytest

from onnxgpu.provider import Claim, Operation, ValueInfo
from onnxgpu.providers.cpu import integer_products
from onnxgpu.providers.cpu.narrow_matrix import MANY, NarrowMatrix
from onnxgpu.providers.cpu.provider import CPUProvider


def numbers(*shape: int, dtype: str, seed: int = 0) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(("left", "right"), [("uint8", "int8"), ("int8", "uint8"), ("uint8", "uint8")])
def test_products(left: str, right: str, extreme: bool) -> None:
    """Sums beyond what float32 holds (`extreme`) are cut, and exact too."""
    a, b = numbers(2, 3, 1300, dtype=left), numbers(1300, 1100, dtype=right, seed=1)
    if extreme:
        b[:, 1050:] = np.iinfo(right).max
    for a_zero, b_zero in ((None, None), (np.array(7, left), np.array(3, right)), (np.array(7, left), numbers(1100, dtype=right))):
        wide = [x.astype(np.int64) - (0 if zero is None else zero.astype(np.int64)) for x, zero in ((a, a_zero), (b, b_zero))]
        result = NarrowMatrix(b, b_zero).times(a, a_zero, np.matmul)
        np.testing.assert_array_equal(result.astype(np.int64), wide[0] @ wide[1])


def test_large_constants_are_kept_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[NarrowMatrix] = []

    def recorded(b: np.ndarray, zero: np.ndarray | None) -> NarrowMatrix:
        made.append(NarrowMatrix(b, zero))
        return made[-1]

    monkeypatch.setattr(integer_products, "NarrowMatrix", recorded)
    for columns in (MANY // 1024, 100):
        b = numbers(1024, columns, dtype="int8")
        infos = (ValueInfo("a", np.dtype(np.uint8), (1, 1024)), ValueInfo("b", b.dtype, b.shape, lambda b=b: b))  # type: ignore[misc]
        claim = CPUProvider().claim(Operation("MatMulInteger", infos, (ValueInfo("y"),), version=10))
        assert isinstance(claim, Claim)
        kernel = claim.build()
        a = numbers(1, 1024, dtype="uint8")
        (result,) = kernel.launch([a, None], [np.empty((1, columns), np.int32)], None)
        np.testing.assert_array_equal(result, a.astype(np.int64) @ b.astype(np.int64))
    assert len(made) == 1
