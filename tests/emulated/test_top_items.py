"""TopK of few elements, in the rows that are hardest for a selection, checked on the emulated device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.cuda.operators import sorting
from tests.emulated import PLAIN

ORDERS = ("random", "ties", "upwards", "downwards", "equal", "not a number")


def rows_in(order: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
    random = np.random.default_rng(11)
    if order in ("upwards", "downwards"):
        x = np.broadcast_to(np.arange(shape[-1]) % 30000, shape).astype(kind)
        return np.ascontiguousarray(x if order == "upwards" else x[..., ::-1])
    x = random.integers(0, {"ties": 5, "equal": 1}.get(order, 30000), shape).astype(kind)
    if order == "not a number" and x.dtype.kind == "f":
        x[random.random(shape) < 0.01] = np.nan
    return x


def found(cp: Any, x: Any, axis: int, kept: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    shape = list(x.shape)
    shape[axis] = kept
    values, indices = cp.full(shape, 77, x.dtype), cp.full(shape, 77, "i8")
    sorting.sorted_rows(cp, x, axis, kept, largest, values, indices)
    return cp.asnumpy(values), cp.asnumpy(indices)


def expected(x: np.ndarray, axis: int, kept: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """NaN is greatest; equal elements keep the order of their indices."""
    keys = np.unique(x, return_inverse=True)[1].reshape(x.shape)
    order = np.take(np.argsort(-keys if largest else keys, axis=axis, kind="stable"), range(kept), axis)
    return np.take_along_axis(x, order, axis), order


@pytest.fixture
def checked(device: Any, exact_bounds: None) -> None:
    device.configure(replace(PLAIN, checked=True, schedule=7))


@pytest.mark.usefixtures("checked")
class TestSelection:
    @pytest.mark.parametrize("largest", [True, False])
    @pytest.mark.parametrize("kept", [1, 16, 33, 128])
    @pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i2", "u4", "i8"])
    @pytest.mark.parametrize("order", ORDERS)
    def test_orders(self, order: str, kind: str, kept: int, largest: bool, cp: Any) -> None:
        x = rows_in(order, (3, 1003), kind)
        np.testing.assert_array_equal(found(cp, cp.asarray(x), 1, kept, largest), expected(x, 1, kept, largest))

    @pytest.mark.parametrize("order", ["random", "upwards"])
    @pytest.mark.parametrize(("shape", "axis", "kept"), [((1, 40), 1, 32), ((9, 33), 1, 33), ((2, 300, 5), 1, 7), ((70, 3), 0, 17)])
    def test_shapes(self, shape: tuple[int, ...], axis: int, kept: int, order: str, cp: Any) -> None:
        x = rows_in(order, shape, "f4")
        np.testing.assert_array_equal(found(cp, cp.asarray(x), axis, kept, True), expected(x, axis, kept, True))

    @pytest.mark.parametrize("busy", [1, 4, 1 << 12])
    @pytest.mark.parametrize("count", [4096, 4099, 9000])
    def test_rows_shared_among_warps_and_tiles(self, count: int, busy: int, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sorting, "_BUSY_WARPS", busy)
        monkeypatch.setattr(sorting, "_CHUNKS_A_TILE", 1)
        x = rows_in("ties", (2, count), "f4")
        np.testing.assert_array_equal(found(cp, cp.asarray(x), 1, 50, False), expected(x, 1, 50, False))

    def test_rows_off_their_alignment(self, cp: Any) -> None:
        x = rows_in("random", (2, 513), "f2")
        source = cp.asarray(x).reshape(-1)[1:1025].reshape(2, 512)
        y = x.reshape(-1)[1:1025].reshape(2, 512)
        np.testing.assert_array_equal(found(cp, source, 1, 20, True), expected(y, 1, 20, True))
