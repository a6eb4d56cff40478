"""Kernels that move elements, on shapes that reach their tiles, tails, units and limits, checked on the emulated device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import onnxgpu.providers.cuda.operators  # noqa: F401  registers the operators
from onnxgpu.provider import Operation, Spec, ValueInfo
from onnxgpu.providers.cuda.divisions import divisions
from onnxgpu.providers.cuda.provider import CUDAProvider
from onnxgpu.providers.cuda.registry import REGISTRY
from onnxgpu.providers.cuda.strided import copied, copy
from tests.emulated import PLAIN

KINDS = ("u1", "u2", "f4", "f8", "c16")
LAYOUTS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "matrix": ((67, 131), lambda x: x.T),
    "even matrix": ((140, 264), lambda x: x.T),
    "even part of a matrix": ((3, 72, 96), lambda x: x[:, 4:, 8:88].transpose(0, 2, 1)),
    "batched": ((3, 40, 65), lambda x: x.transpose(0, 2, 1)),
    "heads": ((2, 17, 4, 8), lambda x: x.transpose(0, 2, 1, 3)),
    "channels_last": ((2, 3, 20, 33), lambda x: x.transpose(0, 2, 3, 1)),
    "reversed": ((5, 6, 7, 3), lambda x: x.T),
    "far": ((20, 3, 5, 33), lambda x: x.transpose(3, 1, 2, 0)),
    "pairs": ((33, 18, 2), lambda x: x.transpose(1, 0, 2)),
    "columns": ((9, 40), lambda x: x[:, 3:29]),
    "aligned columns": ((9, 64), lambda x: x[:, 16:48]),
    "steps": ((9, 40), lambda x: x[1::2, ::3]),
    "backwards": ((40, 9), lambda x: x[::-1, ::-2]),
    "backwards and across": ((40, 36), lambda x: x[::-1].T),
    "repeated": ((40,), lambda x: np.broadcast_to(x, (3, 40)) if isinstance(x, np.ndarray) else None),
    "odd": ((4, 7, 5), lambda x: x[1:, 2:, 1:]),
    "whole": ((4, 7, 5), lambda x: x),
    "empty": ((4, 0, 5), lambda x: x.T),
}


@pytest.fixture
def checked(device: Any, exact_bounds: None) -> None:
    device.configure(replace(PLAIN, checked=True, schedule=7))


def samples(shape: tuple[int, ...], kind: str) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 100, shape).astype(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_copies_from_any_layout(layout: str, kind: str, cp: Any, checked: None) -> None:
    shape, view = LAYOUTS[layout]
    x = samples(shape, kind)
    y = cp.asarray(x)
    source = cp.broadcast_to(y, (3, 40)) if layout == "repeated" else view(y)
    np.testing.assert_array_equal(cp.asnumpy(copied(cp, source)), view(x))


@pytest.mark.parametrize("kind", KINDS)
def test_copies_into_a_part(kind: str, cp: Any, checked: None) -> None:
    x, y = samples((33, 20), kind), np.zeros((40, 50), kind)
    y[::2, 7:40] = x.T
    target = cp.zeros((40, 50), kind)
    copy(target[::2, 7:40], cp.asarray(x).T)
    np.testing.assert_array_equal(cp.asnumpy(target), y)


@pytest.mark.parametrize("layout", ["matrix", "batched", "steps", "whole"])
def test_the_provider_copies_any_layout(layout: str, device: Any, cp: Any, checked: None) -> None:
    """By one launch of a kernel of our own, which is checked, or none."""
    shape, view = LAYOUTS[layout]
    x = samples(shape, "f4")
    source = view(cp.asarray(x))
    provider = CUDAProvider()
    target = provider.allocate(Spec(source.shape, source.dtype))
    device.counters(clear=True)
    provider.copy_into(target, source)
    assert device.counters(clear=True)["launches"] == int(layout != "whole")
    np.testing.assert_array_equal(provider.download(target), view(x))
    assert device.counters(clear=True)["launches"] == 0
    np.testing.assert_array_equal(provider.download(source), view(x))
    assert device.counters()["launches"] == int(layout != "whole")


def run(cp: Any, name: str, inputs: list[Any], opset: int = 21, host: tuple[int, ...] = (), **attributes: Any) -> Any:
    """The first output of a kernel of our own; inputs with the positions `host` stay where they are."""
    values = tuple(None if x is None else ValueInfo(f"x{i}", x.dtype, tuple(x.shape)) for i, x in enumerate(inputs))
    operation = Operation(name, values, (ValueInfo("y"),), version=opset, attributes=attributes)
    entry = REGISTRY.entry(name, "", opset)
    assert entry is not None and entry.refusal(operation) is None
    claim: Any = REGISTRY.claim(cp, operation)
    kernel = claim.build()
    given = [x if i in host or x is None or not isinstance(x, np.ndarray) else cp.asarray(x) for i, x in enumerate(inputs)]
    outputs = [cp.full(spec.shape, 77, spec.dtype) for spec in kernel.outputs(given)]
    return cp.asnumpy(kernel.launch(given, outputs, None)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize(
    "pads", [(0, 0, 2, 3, 0, 0, 1, 2), (1, 2, 0, 0, 2, 0, 0, 0), (0, 1, 0, 4, 0, 1, 0, 4), (1, -1, 0, 1, -1, 2, 0, -1)]
)
def test_pads(pads: tuple[int, ...], mode: str, kind: str, cp: Any, checked: None) -> None:
    x = samples((3, 4, 5, 8), kind)
    kept = x[tuple(slice(max(-b, 0), n - max(-a, 0)) for n, b, a in zip(x.shape, pads[:4], pads[4:], strict=True))]
    widths = [(max(b, 0), max(a, 0)) for b, a in zip(pads[:4], pads[4:], strict=True)]
    value = np.array(7, kind)
    expected = np.pad(kept, widths, mode, **({"constant_values": 7} if mode == "constant" else {}))  # type: ignore[call-overload]
    found = run(cp, "Pad", [x, np.array(pads), value], host=(1, 2), mode=mode)
    np.testing.assert_array_equal(found, expected)
    view = cp.asarray(x.transpose(1, 0, 3, 2).copy()).transpose(1, 0, 3, 2)
    np.testing.assert_array_equal(run(cp, "Pad", [view, np.array(pads), value], host=(1, 2), mode=mode), expected)


@pytest.mark.parametrize("count", [1, 2, 32, 33, 70])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_joins_many_arrays(axis: int, count: int, cp: Any, checked: None) -> None:
    shape = [3, 4, 5]
    pieces = []
    for i in range(count):
        shape[axis] = i % 5
        pieces.append(samples(tuple(shape), "f4") + np.float32(i))
    np.testing.assert_array_equal(run(cp, "Concat", pieces, axis=axis), np.concatenate(pieces, axis))


def test_joins_views(cp: Any, checked: None) -> None:
    x = samples((6, 16, 8), "f4")
    y = cp.asarray(x)
    for views in ([x[..., 4:], x[..., :4]], [x[:, 1:9], x[:, ::2]], [x[::2], x[::-1]]):
        on_device = (
            [y[..., 4:], y[..., :4]] if views[0].shape[2] == 4 else [y[:, 1:9], y[:, ::2]] if views[0].shape[1] == 8 else [y[::2], y[::-1]]
        )
        axis = 2 if views[0].shape[2] == 4 else 1 if views[0].shape[1] == 8 else 0
        np.testing.assert_array_equal(run(cp, "Concat", on_device, axis=axis), np.concatenate(views, axis))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 3, 16])
@pytest.mark.parametrize("index", ["i4", "i8"])
def test_gathers_and_scatters_slices(index: str, width: int, kind: str, cp: Any, checked: None) -> None:
    x, at = samples((2, 9, width), kind), np.array([[0, -1, 8], [-9, 4, 4]], index)
    np.testing.assert_array_equal(run(cp, "Gather", [x, at], axis=1), x[:, at])
    places = np.stack(np.broadcast_arrays(np.array([[0], [1]]), at), -1).astype("i8")
    np.testing.assert_array_equal(run(cp, "GatherND", [x, places]), x[places[..., 0], places[..., 1]])
    apart = np.array([[0, 2], [1, -1], [0, 0]])
    new = samples((3, width), kind)
    expected = x.copy()
    expected[apart[:, 0], apart[:, 1]] = new
    np.testing.assert_array_equal(run(cp, "ScatterND", [x, apart, new]), expected)


def test_what_is_out_of_range_is_not_touched(cp: Any, checked: None) -> None:
    x, far = np.arange(1, 7, dtype="f4").reshape(2, 3), np.array([[3, 1], [-4, 1 << 40]])
    np.testing.assert_array_equal(run(cp, "Gather", [x, far], axis=1), np.where(far == 1, x[:, 1][:, None, None], 0))
    np.testing.assert_array_equal(run(cp, "GatherElements", [x, far], axis=1), [[0, 2], [0, 0]])
    np.testing.assert_array_equal(run(cp, "GatherND", [x, far]), [0, 0])
    for reduction, expected in (("none", 9), ("add", 11)):
        target = x.copy()
        target[0, 1] = expected
        updates = np.full((2, 2), 9, "f4")
        np.testing.assert_array_equal(run(cp, "ScatterElements", [x, far, updates], axis=1, reduction=reduction), target)
        np.testing.assert_array_equal(run(cp, "ScatterND", [x, far, updates[0]], reduction=reduction), x)
    ends = np.array([3, 9, -1])
    np.testing.assert_array_equal(run(cp, "ReverseSequence", [x, ends[:2]], batch_axis=0, time_axis=1), [x[0, ::-1], x[1]])
    cache, update = np.zeros((2, 3, 1), "f4"), np.ones((2, 2, 1), "f4")
    written = run(cp, "TensorScatter", [cache, update, np.array([2, -1])], opset=24, axis=1)
    np.testing.assert_array_equal(written[..., 0], [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_reduces_into_few_elements(kind: str, reduction: str, cp: Any, checked: None) -> None:
    generator = np.random.default_rng(1)
    x, new = samples((7,), kind), generator.integers(1, 3, 300).astype(kind)
    at = generator.integers(-7, 7, 300)
    if reduction == "mul":
        new[20:] = 1
    if kind == "f2":
        new = np.where(np.arange(300) < 200, 1, new).astype(kind)
    expected = x.copy()
    function: Any = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction]
    with np.errstate(over="ignore"):
        function.at(expected, at, new)
    np.testing.assert_array_equal(run(cp, "ScatterElements", [x, at, new], reduction=reduction), expected)
    np.testing.assert_array_equal(run(cp, "ScatterND", [x, at[:, None], new], reduction=reduction), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_chooses(kind: str, cp: Any, checked: None) -> None:
    x, y, holds = samples((5, 67), kind), samples((5, 67), kind)[::-1].copy(), samples((5, 67), "u1") % 2 == 1
    for a, b in ((x, y), (x, y[0, 0]), (x[0, :1], y), (x[:1], y), (x[:, :1], y[:1])):
        np.testing.assert_array_equal(run(cp, "Where", [holds, np.asarray(a), np.asarray(b)]), np.where(holds, a, b))
    np.testing.assert_array_equal(run(cp, "Where", [holds[:, :1], x, y]), np.where(holds[:, :1], x, y))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_fills(size: int, cp: Any, checked: None) -> None:
    found = run(cp, "ConstantOfShape", [np.array([size])], host=(0,), value=np.array([259], "i2"))
    np.testing.assert_array_equal(found, np.full(size, 259, "i2"))


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 641, 65535, 65536, 65537, (1 << 30) - 1, 1 << 30, (1 << 31) - 1])
def test_division_by_multiplying(divisor: int) -> None:
    """As `Division` of division.cuh does it."""
    known, multiplier, shift = map(int, divisions(divisor)[0])
    most = (1 << 31) - 1
    for multiple in (0, 1, 2, most // divisor // 2, most // divisor):
        for n in (multiple * divisor - 1, multiple * divisor, multiple * divisor + divisor - 1):
            if 0 <= n <= most:
                assert ((n * multiplier >> 32) + n) >> shift == n // known == n // divisor
