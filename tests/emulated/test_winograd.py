"""Transformed convolutions: against NumPy in double precision, by every operator case that they could run, and where they are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.parser
import pytest

import onnxgpu as ort
from onnxgpu.providers.array_ops.convolution import conv
from onnxgpu.providers.cuda import convolution_tiles
from onnxgpu.providers.cuda.convolution_tiles import WINOGRAD, Geometry, tiling
from onnxgpu.providers.cuda.operators.convolution import Conv
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case
from tests.cases.random_arrays import normal
from tests.cases.tolerances import assert_same
from tests.emulated.test_convolutions import ENDINGS, case, check
from tests.emulated.test_operator_cases import MODE_NAMES, MODES, check_kernel, own_cases
from tests.test_operator_cases import operation_of

FORMS = [
    ((1, 2, 4, 4), (1, 2, 3, 3), {}),
    ((2, 5, 9, 11), (33, 5, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 4, 6, 5), (32, 4, 3, 3), {"pads": [0, 2, 1, 0]}),
    ((3, 7, 3, 8), (40, 7, 3, 3), {"pads": [0, 1, 0, 1]}),
    ((2, 9, 17, 19), (3, 9, 3, 3), {"auto_pad": "SAME_LOWER"}),
    ((1, 3, 1, 2), (5, 3, 3, 3), {"pads": [3, 3, 4, 2]}),
    ((1, 70, 5, 5), (35, 70, 3, 3), {"pads": [1, 1, 1, 1]}),
]


@pytest.fixture
def transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever can be transformed is."""
    monkeypatch.setattr(convolution_tiles, "_is_faster", lambda *_: True)


def geometry(x: tuple[int, ...], w: tuple[int, ...], **attributes: Any) -> Geometry:
    arrays = [np.broadcast_to(np.float32(0), shape) for shape in (x, w)]
    return Conv(np, operation_of(Case("Conv", arrays, attributes, opset=22, expected=[]))).geometry(arrays)


def chosen(x: tuple[int, ...], w: tuple[int, ...], item_bytes: int = 4, **attributes: Any) -> bool:
    return tiling(geometry(x, w, **attributes), x[0], item_bytes).tile == WINOGRAD


def is_transformed(made: Case) -> bool:
    if (made.operator, made.domain) not in (("Conv", ""), ("FusedConv", "onnxgpu"), ("FusedConv", "com.microsoft")):
        return False
    form, x = Conv(np, operation_of(made)).geometry(made.inputs), made.inputs[0]
    assert x is not None
    return form.channels > 1 and 0 not in form.shape and tiling(form, x.shape[0], x.dtype.itemsize).tile == WINOGRAD


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
def test_operator_cases(mode: Any, device: Any, cp: Any, exact_bounds: None, transforms: None) -> None:
    made = [each for each in own_cases() if is_transformed(each)]
    assert len(made) >= 10
    device.configure(mode)
    for each in made:
        check_kernel(each, REGISTRY.claim(cp, operation_of(each)), device, cp)


@pytest.mark.parametrize(("x", "w", "attributes"), FORMS)
def test_forms(x: Any, w: Any, attributes: Any, device: Any, cp: Any, exact_bounds: None, transforms: None) -> None:
    made = case(np.float32, x, w, attributes)
    assert is_transformed(made)
    check(made, device, cp)


@pytest.mark.parametrize("activation", ENDINGS)
@pytest.mark.parametrize("shapes", [((2, 3, 6, 6), (4, 3, 3, 3)), ((1, 70, 3, 2), (4, 70, 3, 3))], ids=["whole", "in-parts"])
def test_endings(activation: str, shapes: Any, device: Any, cp: Any, exact_bounds: None, transforms: None) -> None:
    """Bias, residual and activation are in the kernel, and where the channels are shared among blocks, behind it."""
    x_shape, w_shape = shapes
    x, w, bias, z = normal(*x_shape), normal(*w_shape), normal(4), normal(x_shape[0], 4, *x_shape[2:])
    arguments, function = ENDINGS[activation]
    attributes: dict[str, Any] = {"pads": [1, 1, 1, 1], "activation": activation}
    attributes |= dict(zip(("activation_alpha", "activation_beta"), arguments, strict=False))
    exact = conv(np, *(each.astype(np.float64) for each in (x, w, bias)), pads=[1, 1, 1, 1]) + z
    expected = [function(exact).astype("f")]
    made = Case("FusedConv", [x, w, bias, z], attributes, 1, "onnxgpu", expected=expected, rtol=1e-4, atol=1e-4, note="double precision")
    assert is_transformed(made)
    check(made, device, cp)


def test_constant_weights_are_transformed_once(device: Any, cp: Any, exact_bounds: None, transforms: None) -> None:
    made = case(np.float32, (1, 5, 6, 6), (4, 5, 3, 3), {})
    inputs = [cp.asarray(each) for each in made.inputs]
    for constants, again in ((True, 1), (False, 2)):
        kernel = Conv(cp, operation_of(made, constants=constants))
        assert (kernel.workspace(inputs) == 0) == constants
        workspace = cp.empty(max(kernel.workspace(inputs), 1), np.uint8)
        counts, results = [], []
        for _ in range(2):
            device.counters(clear=True)
            results.append(cp.asnumpy(kernel.launch(inputs, None, workspace)[0]))
            counts.append(device.counters()["launches"])
        assert counts == [2, again]
        for result in results:
            assert_same([result], made.expected, 1e-4, 1e-4)


@pytest.mark.parametrize("channels", [16, 256])
@pytest.mark.parametrize("mean", [0.0, 10.0])
def test_error(channels: int, mean: float, device: Any, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest error, as part of the largest result, is not twice that of products of the elements themselves, plus an ulp."""
    x, w = normal(1, channels, 13, 14) + np.float32(mean), normal(32, channels, 3, 3)
    exact = conv(np, x.astype(np.float64), w.astype(np.float64), pads=[1, 1, 1, 1])
    inputs, errors = [cp.asarray(x), cp.asarray(w)], []
    for is_chosen in (True, False):
        monkeypatch.setattr(convolution_tiles, "_is_faster", lambda *_, answer=is_chosen: answer)
        kernel = Conv(cp, operation_of(Case("Conv", [x, w], {"pads": [1, 1, 1, 1]}, opset=22, expected=[])))
        wanted = kernel.workspace(inputs)
        result = kernel.launch(inputs, None, cp.empty(wanted, np.uint8) if wanted else None)[0]
        errors.append(np.abs(cp.asnumpy(result) - exact).max() / np.abs(exact).max())
    assert errors[0] <= 2 * errors[1] + np.finfo(np.float32).eps


def test_where_windows_are_transformed() -> None:
    padded: dict[str, Any] = {"pads": [1, 1, 1, 1]}
    assert chosen((1, 64, 56, 56), (64, 64, 3, 3), **padded)
    assert chosen((8, 256, 14, 14), (256, 256, 3, 3), **padded)
    assert not chosen((8, 3, 224, 224), (64, 3, 3, 3), **padded), "the sums of so few channels are soon made"
    assert not chosen((1, 512, 7, 7), (512, 512, 3, 3), **padded), "half of the tiles would be empty, and there are more weights to read"
    for item_bytes in (2, 8):
        assert not chosen((8, 256, 14, 14), (256, 256, 3, 3), item_bytes, **padded)
    assert not chosen((8, 256, 14, 14), (256, 256, 3, 3), strides=[2, 1])
    assert not chosen((8, 256, 14, 14), (256, 256, 3, 3), dilations=[1, 2])
    assert not chosen((8, 256, 14, 14), (256, 128, 3, 3), group=2)
    assert not chosen((8, 256, 14, 14), (256, 256, 3, 5))
    assert not chosen((8, 256, 14), (256, 256, 3))


@pytest.mark.parametrize("graphs", [0, 1])
def test_sessions(graphs: int, device: Any) -> None:
    """The kept weights are those of all runs: launched anew, repeated, and in a graph."""
    assert chosen((1, 32, 9, 9), (48, 32, 3, 3), pads=[1, 1, 1, 1])
    body = "g (float[1,32,9,9] x) => (float[1,48,9,9] y) { a = Conv <pads = [1, 1, 1, 1]> (x, w, b) y = Relu (a) }"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {body}')
    weights = {"w": normal(48, 32, 3, 3), "b": normal(48)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    options = {"enable_cudnn": 0, "enable_cublas": 0, "enable_cuda_graph": graphs}
    ours = ort.InferenceSession(model, providers=[("CUDAExecutionProvider", options), "CPUExecutionProvider"])
    reference = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    for _ in range(5):
        x = normal(1, 32, 9, 9)
        np.testing.assert_allclose(ours.run(None, {"x": x})[0], reference.run(None, {"x": x})[0], rtol=1e-4, atol=1e-4)
