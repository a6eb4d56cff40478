"""Our own convolutions of 8-bit integers: each tile, layout and way to quantise, against sums in double precision, which are exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.array_ops.convolution import conv
from onnxgpu.providers.cuda import convolution_tiles
from onnxgpu.providers.cuda.convolution_tiles import tiling
from onnxgpu.providers.cuda.operators.integer_convolution import ConvInteger
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case
from tests.cases.random_arrays import integers, uniform
from tests.emulated import PLAIN
from tests.emulated.test_operator_cases import check_kernel
from tests.test_operator_cases import operation_of

MODES = [replace(PLAIN), replace(PLAIN, lazy=True, schedule=1), replace(PLAIN, checked=True, schedule=7)]

FORMS: list[Any] = [
    ("NarrowWords", (2, 5, 9, 11), (20, 5, 3, 3), {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 1, 1, 1]}),
    ("NarrowWords", (2, 6, 9, 8), (6, 3, 3, 3), {"group": 2, "pads": [1, 0, 0, 2]}),
    ("NarrowWords", (2, 3, 40), (9, 3, 7), {"strides": [3], "pads": [3, 3]}),
    ("SmallWords", (3, 16, 6, 8), (70, 16, 1, 1), {}),
    ("SmallWords", (1, 2, 4, 5, 6), (40, 2, 2, 3, 2), {"pads": [0, 1, 1, 0, 1, 0]}),
    ("SmallWords", (1, 64, 3, 4), (33, 64, 3, 3), {"pads": [1, 1, 1, 1]}),
]
CHANNELS: list[Any] = [
    ((2, 3, 9, 8), (6, 1, 3, 3), {"pads": [1, 0, 0, 2], "strides": [2, 1]}),
    ((2, 3, 17), (3, 1, 4), {"pads": [3, 0], "dilations": [2]}),
    ((1, 2, 4, 5, 6), (2, 1, 3, 3, 3), {"pads": [1, 1, 1, 1, 1, 1], "strides": [1, 2, 1]}),
]
SIGNS = [("uint8", "int8"), ("int8", "uint8"), ("uint8", "uint8"), ("int8", "int8")]


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    least = np.iinfo(dtype).min
    return integers(*shape, low=least, high=least + 256, dtype=dtype, seed=seed)


def parameters(w: tuple[int, ...], types: tuple[str, str], per_map: bool) -> tuple[np.ndarray, np.ndarray]:
    """Zero points of x and of w."""
    return numbers((), types[0], 3), numbers((w[0],) if per_map else (), types[1], 4)


def exact(x: np.ndarray, w: np.ndarray, x_zero: np.ndarray, w_zero: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    of_maps = w_zero.astype(np.float64).reshape(-1, *(1,) * (w.ndim - 1))
    result: np.ndarray = conv(np, x.astype(np.float64) - x_zero, w.astype(np.float64) - of_maps, **attributes)
    return result


def integer_case(x_shape: Any, w_shape: Any, attributes: dict[str, Any], types: tuple[str, str] = SIGNS[0], per_map: bool = True) -> Case:
    x, w = numbers(x_shape, types[0], 1), numbers(w_shape, types[1], 2)
    zeros = parameters(w_shape, types, per_map)
    expected = exact(x, w, *zeros, attributes).astype(np.int64).astype(np.int32)
    return Case("ConvInteger", [x, w, *zeros], attributes, opset=10, expected=[expected], note="double precision")


def quantized_case(
    x_shape: Any, w_shape: Any, attributes: dict[str, Any], types: tuple[str, str] = SIGNS[0], per_map: bool = True, last: bool = False
) -> Case:
    x, w = numbers(x_shape, types[0], 1), numbers(w_shape, types[1], 2)
    x_zero, w_zero = parameters(w_shape, types, per_map)
    bias = integers(w_shape[0], low=-5000, high=5000, dtype="int32", seed=5)
    sums = exact(x, w, x_zero, w_zero, attributes) + bias.reshape(-1, *(1,) * (x.ndim - 2))
    w_scale = uniform(w_shape[0], low=0.001, high=0.01) if per_map else np.float32(0.01).reshape(1)
    x_scale, y_scale, y_zero = np.float32(0.5).reshape(()), np.float32(np.abs(sums).max() / 2e4).reshape(()), numbers((), types[0], 6)
    factor = (x_scale * w_scale / y_scale).reshape(-1, *(1,) * (x.ndim - 2))
    limits = np.iinfo(y_zero.dtype)
    expected = np.clip(np.rint(sums.astype(np.float32) * factor) + y_zero, limits.min, limits.max).astype(y_zero.dtype)
    inputs: list[Any] = [x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias]
    if not last:
        return Case("QLinearConv", inputs, attributes, opset=10, expected=[expected], note="double precision")
    inputs[0], result = (np.ascontiguousarray(np.moveaxis(each, 1, -1)) for each in (x, expected))
    chosen = {**attributes, "channels_last": 1}
    return Case("QLinearConv", inputs, chosen, opset=1, domain="com.microsoft", expected=[result], note="double precision")


def check(made: Case, device: Any, cp: Any) -> None:
    claim = REGISTRY.claim(cp, operation_of(made))
    for mode in MODES:
        device.configure(mode)
        check_kernel(made, claim, device, cp)


@pytest.mark.parametrize("types", SIGNS, ids="-".join)
@pytest.mark.parametrize(("tile", "x", "w", "attributes"), FORMS)
def test_products(tile: str, x: Any, w: Any, attributes: Any, types: Any, device: Any, cp: Any, exact_bounds: None) -> None:
    made = integer_case(x, w, attributes, types)
    assert tiling(ConvInteger(cp, operation_of(made))._geometry(made.inputs), x[0], 1).tile == tile
    check(made, device, cp)


@pytest.mark.parametrize("last", [False, True], ids=["channels-first", "channels-last"])
@pytest.mark.parametrize("types", SIGNS[:2], ids="-".join)
@pytest.mark.parametrize(("x", "w", "attributes"), [form[1:] for form in FORMS] + CHANNELS)
def test_quantised_again(x: Any, w: Any, attributes: Any, types: Any, last: bool, device: Any, cp: Any, exact_bounds: None) -> None:
    made = {"group": x[1] if w[1] == 1 else 1, **attributes}
    for per_map in (False, True):
        check(quantized_case(x, w, made, types, per_map, last), device, cp)


@pytest.mark.parametrize(("x", "w", "attributes"), CHANNELS)
def test_groups_of_one_channel(x: Any, w: Any, attributes: Any, device: Any, cp: Any, exact_bounds: None) -> None:
    for types in SIGNS:
        check(integer_case(x, w, {**attributes, "group": x[1]}, types), device, cp)


@pytest.mark.parametrize("last", [False, True], ids=["channels-first", "channels-last"])
def test_the_largest_tile(last: bool, device: Any, cp: Any, exact_bounds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution_tiles, "_ENOUGH_BLOCKS", 1)
    made = integer_case((2, 16, 9, 10), (67, 16, 3, 3), {"pads": [1, 1, 1, 1]})
    assert tiling(ConvInteger(cp, operation_of(made))._geometry(made.inputs), 2, 1).tile == "LargeWords"
    check(made, device, cp)
    check(quantized_case((2, 5, 9, 10), (67, 5, 3, 3), {"pads": [1, 1, 1, 1]}, last=last), device, cp)


def test_the_depth_is_shared_where_there_are_few_tiles(device: Any, cp: Any, exact_bounds: None) -> None:
    made = integer_case((1, 64, 3, 3), (33, 64, 3, 3), {"pads": [1, 1, 1, 1]})
    assert tiling(ConvInteger(cp, operation_of(made))._geometry(made.inputs), 1, 1).parts == 4
    check(made, device, cp)


def test_samples_are_parted_where_their_elements_have_no_numbers(
    device: Any, cp: Any, exact_bounds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution_tiles, "_MOST_ELEMENTS", 150)
    check(integer_case((3, 2, 5, 5), (5, 2, 3, 3), {"pads": [1, 1, 1, 1]}), device, cp)
    check(quantized_case((3, 64, 1, 1), (33, 64, 1, 1), {}, last=True), device, cp)


def test_sums_wrap_around(device: Any, cp: Any, exact_bounds: None) -> None:
    """128 · 128 · 131,072 is 2^31."""
    x, w = np.full((1, 1 << 17, 1, 1), -128, np.int8), np.full((1, 1 << 17, 1, 1), -128, np.int8)
    made = Case("ConvInteger", [x, w], {}, opset=10, expected=[np.full((1, 1, 1, 1), -(1 << 31), np.int32)], note="wraps around")
    check_kernel(made, REGISTRY.claim(cp, operation_of(made)), device, cp)


def test_windows_that_are_too_long_run_as_before(device: Any, cp: Any, exact_bounds: None) -> None:
    made = integer_case((1, 2, 40), (3, 2, 33), {})
    entry = REGISTRY.entry("ConvInteger", "", 10)
    assert entry is not None
    assert "at most 31" in str(entry.refusal(operation_of(made)))
    check_kernel(made, REGISTRY.claim(cp, operation_of(made)), device, cp)
