"""Our own convolutions: each kernel, tile and way to end, against NumPy in double precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from onnxgpu.errors import InvalidArgument
from onnxgpu.providers.array_ops.convolution import conv
from onnxgpu.providers.array_ops.transposed_convolution import conv_transpose
from onnxgpu.providers.cuda import convolution_tiles
from onnxgpu.providers.cuda.operators import convolution as own
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case
from tests.cases.random_arrays import normal
from tests.emulated import PLAIN
from tests.emulated.test_operator_cases import check_kernel
from tests.test_operator_cases import operation_of

MODES = [replace(PLAIN, lazy=True, schedule=1), replace(PLAIN, checked=True, schedule=7)]
TOLERANCES = {"float32": 2e-5, "float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}
TYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]

STRIPS = [
    ((2, 3, 19, 13), (3, 1, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 3, 19, 12), (6, 1, 3, 3), {"pads": [0, 2, 1, 1]}),
    ((2, 3, 11, 12), (3, 1, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 2, 17, 9), (2, 1, 5, 5), {"pads": [2, 2, 2, 2]}),
    ((1, 2, 9, 9), (2, 1, 5, 5), {"strides": [2, 2], "pads": [2, 1, 2, 1]}),
    ((1, 2, 9, 8), (2, 1, 7, 7), {"pads": [3, 3, 3, 3]}),
    ((1, 2, 9, 8), (2, 1, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
]
DEPTHWISE = [
    ((2, 3, 9), (6, 1, 4), {"pads": [3, 0], "strides": [2]}),
    ((2, 3, 6, 7), (3, 1, 3, 3), {"dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    ((1, 2, 4, 5, 6), (2, 1, 3, 3, 3), {"pads": [1, 1, 1, 1, 1, 1], "strides": [1, 2, 1]}),
]
PRODUCTS = [
    ("FlatTile", (2, 6, 9, 8), (6, 3, 3, 3), {"group": 2, "pads": [1, 0, 0, 2]}),
    ("NarrowTile", (2, 5, 9, 11), (20, 5, 3, 3), {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 1, 1, 1]}),
    ("MiddleTile", (3, 17, 5, 7), (70, 17, 1, 1), {}),
    ("MiddleTile", (1, 2, 4, 5, 6), (40, 2, 2, 3, 2), {"pads": [0, 1, 1, 0, 1, 0]}),
    ("MiddleTile", (2, 33, 4, 4), (36, 33, 3, 3), {"pads": [1, 1, 1, 1]}),
    ("NarrowTile", (2, 3, 40), (9, 3, 7), {"strides": [3], "pads": [3, 3]}),
    ("NarrowTile", (2, 3, 40), (9, 3, 30), {"pads": [20, 7]}),
]
TRANSPOSED = [
    ((2, 4, 5, 4), (4, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    ((2, 4, 5, 4), (4, 12, 4, 3), {"strides": [3, 2], "dilations": [2, 3], "pads": [0, 2, 1, 0]}),
    ((1, 4, 5, 4), (4, 3, 2, 2), {"strides": [3, 4], "output_padding": [2, 1]}),
    ((1, 6, 5, 4), (6, 5, 3, 3), {"group": 2, "dilations": [2, 4], "strides": [4, 2]}),
    ((1, 40, 3, 4), (40, 35, 3, 3), {"strides": [2, 1], "pads": [1, 1, 1, 1]}),
    ((2, 3, 5), (3, 2, 4), {"group": 3, "strides": [3], "pads": [1, 2]}),
    ((1, 2, 3, 4, 3), (2, 3, 2, 3, 2), {"strides": [2, 1, 2]}),
]


@pytest.fixture(autouse=True)
def products(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is transformed: those that are have tests of their own."""
    monkeypatch.setattr(convolution_tiles, "_is_faster", lambda *_: False)


def case(dtype: Any, x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], operator: str = "Conv") -> Case:
    """With a bias, and the result of the same numbers in double precision."""
    maps = w[1] * attributes.get("group", 1) if operator == "ConvTranspose" else w[0]
    inputs = [normal(*shape).astype(dtype) for shape in (x, w, (maps,))]
    function: Any = conv if operator == "Conv" else conv_transpose
    expected = function(np, *(each.astype(np.float64) for each in inputs), **attributes).astype(dtype)
    tolerance = TOLERANCES[np.dtype(dtype).name] * (1 + np.abs(expected.astype(np.float64)).max())
    return Case(operator, inputs, attributes, opset=22, expected=[expected], rtol=tolerance, atol=tolerance, note="double precision")


def check(made: Case, device: Any, cp: Any) -> None:
    for mode in MODES:
        device.configure(mode)
        check_kernel(made, REGISTRY.claim(cp, operation_of(made)), device, cp)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
class TestKernels:
    @pytest.mark.parametrize(("x", "w", "attributes"), STRIPS)
    def test_strips(self, dtype: Any, x: Any, w: Any, attributes: Any, device: Any, cp: Any, exact_bounds: None) -> None:
        made = case(dtype, x, w, {**attributes, "group": x[1]})
        assert geometry(made).strips(np.dtype(dtype).itemsize) is not None
        check(made, device, cp)

    @pytest.mark.parametrize(("x", "w", "attributes"), DEPTHWISE)
    def test_other_depthwise_windows(self, dtype: Any, x: Any, w: Any, attributes: Any, device: Any, cp: Any, exact_bounds: None) -> None:
        made = case(dtype, x, w, {**attributes, "group": x[1]})
        assert geometry(made).strips(np.dtype(dtype).itemsize) is None
        check(made, device, cp)

    @pytest.mark.parametrize(("tile", "x", "w", "attributes"), PRODUCTS)
    def test_products(self, dtype: Any, tile: str, x: Any, w: Any, attributes: Any, device: Any, cp: Any, exact_bounds: None) -> None:
        made = case(dtype, x, w, attributes)
        expected = tile if np.dtype(dtype).itemsize > 2 or tile == "FlatTile" or w[-1] == 30 else "SmallFragments"
        assert convolution_tiles.tiling(geometry(made), x[0], np.dtype(dtype).itemsize).tile == expected
        check(made, device, cp)

    @pytest.mark.parametrize(("x", "w", "attributes"), TRANSPOSED)
    def test_transposed(self, dtype: Any, x: Any, w: Any, attributes: Any, device: Any, cp: Any, exact_bounds: None) -> None:
        check(case(dtype, x, w, attributes, "ConvTranspose"), device, cp)

    def test_the_largest_tile_without_shared_depth(
        self, dtype: Any, device: Any, cp: Any, exact_bounds: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(convolution_tiles, "_ENOUGH_BLOCKS", 1)
        for made in (
            case(dtype, (2, 5, 9, 10), (67, 5, 3, 3), {"pads": [1, 1, 1, 1]}),
            case(dtype, (1, 5, 9, 3), (5, 67, 3, 2), {"strides": [2, 1]}, "ConvTranspose"),
        ):
            expected = {2: "LargeFragments", 4: "LargeTile", 8: "MiddleTile"}[np.dtype(dtype).itemsize]
            assert convolution_tiles.tiling(geometry(made), 1, np.dtype(dtype).itemsize).tile == expected
            check(made, device, cp)


def geometry(made: Case) -> Any:
    kind = own.Conv if made.operator == "Conv" else own.ConvTranspose
    return kind(np, operation_of(made)).geometry(made.inputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_depth_is_shared_where_there_are_few_tiles(dtype: Any, device: Any, cp: Any, exact_bounds: None) -> None:
    made = case(dtype, (1, 64, 3, 3), (33, 64, 3, 3), {"pads": [1, 1, 1, 1]})
    assert convolution_tiles.tiling(geometry(made), 1, np.dtype(dtype).itemsize).parts == 4
    check(made, device, cp)


def test_samples_are_parted_where_their_elements_have_no_numbers(
    device: Any, cp: Any, exact_bounds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution_tiles, "_MOST_ELEMENTS", 150)
    check(case(np.float32, (3, 2, 5, 5), (5, 2, 3, 3), {"pads": [1, 1, 1, 1]}), device, cp)
    check(case(np.float32, (3, 64, 1, 1), (33, 64, 1, 1), {}), device, cp)
    monkeypatch.setattr(convolution_tiles, "_MOST_ELEMENTS", 100)
    with pytest.raises(InvalidArgument, match="at most 100 elements, got one of 125"):
        check(case(np.float32, (3, 2, 5, 5), (5, 2, 3, 3), {"pads": [1, 1, 1, 1]}), device, cp)


ENDINGS: dict[str, tuple[list[float], Callable[[np.ndarray], np.ndarray]]] = {
    "": ([], lambda x: x),
    "Relu": ([], lambda x: np.maximum(x, 0)),
    "Clip": ([-0.5, 1.5], lambda x: np.clip(x, -0.5, 1.5)),
    "LeakyRelu": ([0.3], lambda x: np.where(x < 0, 0.3 * x, x)),
    "HardSigmoid": ([0.25, 0.4], lambda x: np.clip(0.25 * x + 0.4, 0, 1)),
    "HardSwish": ([], lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Sigmoid": ([], lambda x: 1 / (1 + np.exp(-x))),
    "Silu": ([], lambda x: x / (1 + np.exp(-x))),
    "QuickGelu": ([1.5], lambda x: x / (1 + np.exp(-1.5 * x))),
    "Tanh": ([], np.tanh),
}


@pytest.mark.parametrize("activation", ENDINGS)
@pytest.mark.parametrize("shapes", [((2, 3, 6, 6), (4, 3, 3, 3), 1), ((1, 64, 2, 2), (4, 64, 3, 3), 1), ((2, 4, 6, 6), (4, 1, 3, 3), 4)])
def test_endings(activation: str, shapes: Any, device: Any, cp: Any, exact_bounds: None) -> None:
    """Bias, residual and activation are in the kernel, but for the activations that it does not have."""
    x_shape, w_shape, group = shapes
    pads = {"pads": [1, 1, 1, 1], "group": group}
    x, w, bias, z = normal(*x_shape), normal(*w_shape), normal(4), normal(x_shape[0], 4, *x_shape[2:])
    expected = conv(np, *(each.astype(np.float64) for each in (x, w, bias)), **pads) + z
    arguments, function = ENDINGS[activation]
    attributes = {**pads, "activation": activation, **dict(zip(("activation_alpha", "activation_beta"), arguments, strict=False))}
    finished = [function(expected).astype("f")]
    inputs = [x, w, bias, z]
    check(Case("FusedConv", inputs, attributes, 1, "onnxgpu", expected=finished, rtol=1e-4, atol=1e-4, note="double precision"), device, cp)
