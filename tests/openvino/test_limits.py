"""Each rule against OpenVINO, with the case that shows why: OpenVINO alone gives another answer than onnx, or none."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxgpu.session import InferenceSession
from onnxgpu.testing import SuiteCase, suite_cases
from tests.models import model

openvino = pytest.importorskip("openvino")

PROVIDERS = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
SHOWN = {
    "Attention": "test_attention_local_window",
    "BitShift": "test_bitshift_right_int32_negative_input",
    "DFT": "test_dft_irfft_opset19",
    "DynamicQuantizeLinear": "test_dynamicquantizelinear",
    "NonMaxSuppression": "test_nonmaxsuppression_iou_threshold_boundary",
    "ReduceMax": "test_reduce_max_empty_set",
    "TopK": "test_top_k_same_values_2d",
    "GRU": "test_gru_batchwise",
    "LSTM": "test_lstm_with_peepholes",
    "MaxPool": "test_maxpool_2d_ceil_output_size_reduce_by_one",
    "QuantizeLinear, Round": "test_dynamicquantizelinear_expanded",
    "RNN": "test_simple_rnn_batchwise",
    "Resize": "test_resize_downsample_scales_linear_antialias",
    "RoiAlign": "test_roialign_mode_max",
    "SpaceToDepth": "test_spacetodepth_crd_mode_example",
    "Tile": "test_tile",
}


CASES = [case for case in suite_cases() if case.name in SHOWN.values()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_rule_is_needed(case: SuiteCase) -> None:
    """If this fails, OpenVINO has become right, and the rule can go."""
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(case.model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (feeds, expected), *_ = case.feeds()
    names = [next(iter(port.get_names())) for port in compiled.inputs]
    results = compiled([feeds[name] for name in names])
    with pytest.raises((AssertionError, RuntimeError)):
        case.check(expected, [results[i] for i in range(len(expected))])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_rule_says_why(case: SuiteCase) -> None:
    session = InferenceSession(case.model.SerializeToString(), providers=PROVIDERS)
    reasons = [reason for assignment in session.placement for name, reason in assignment.refusals if name == "OpenVINOExecutionProvider"]
    assert any(re.search("OpenVINO('s)? ", reason) for reason in reasons)


def test_a_tensor_without_dimensions_is_not_padded() -> None:
    proto = model("g (float x, int64[0] p) => (float y) { y = Pad (x, p) }")
    core = openvino.Core()
    with pytest.raises(RuntimeError, match="Pad"):
        core.compile_model(core.read_model(proto.SerializeToString()), "CPU")([np.float32(3), np.zeros(0, np.int64)])
    session = InferenceSession(proto.SerializeToString(), providers=PROVIDERS)
    assert session.run(None, {"x": np.float32(3), "p": np.zeros(0, np.int64)}) == [3.0]
    assert dict(next(iter(session.placement)).refusals)[PROVIDERS[0]] == "OpenVINO has no way to pad a tensor without dimensions"


OLD = '<ir_version: 8, opset_import: ["" : {}]> '
TWO = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 8
UNLIKE: dict[str, tuple[str, list[Any]]] = {
    "ConvInteger": ("g (uint8[1,600,4,4] x, uint8[2,600,3,3] w) => (int32[1,2,2,2] y) { y = ConvInteger (x, w) }", [(255,), (255,)]),
    "MatMulInteger": ("g (uint8[1,70000] x, uint8[70000,1] w) => (int32[1,1] y) { y = MatMulInteger (x, w) }", [(255,), (255,)]),
    "Compress": (
        "g (float[2,3,4] x, bool[8] c) => (float[n,3,4] y) { y = Compress <axis = 0> (x, c) }",
        [TWO, np.array([1, 0, 1, 1, 0, 0, 0, 1], bool)],
    ),
    "Range away": ("g (int64 a, int64 b, int64 d) => (int64[n] y) { y = Range (a, b, d) }", [(5,), (1,), (1,)]),
    "Softmax 11": (OLD.format(11) + "g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax <axis = 1> (x) }", [TWO]),
    "Hardmax": ("g (float[2,40] x) => (float[2,40] y) { y = Hardmax (x) }", [np.tile(np.array([1, 3, 2, 3, 3], np.float32), (2, 8))]),
    "Dropout 10": (OLD.format(10) + "g (float[2,3,4] x) => (float[2,3,4] y, bool[2,3,4] m) { y, m = Dropout (x) }", [TWO]),
    "Selu 1": (OLD.format(5) + "g (float[2,3,4] x) => (float[2,3,4] y) { n = Neg (x) y = Selu (n) }", [TWO]),
    "Erf": ("g (int32[3] x) => (int32[3] y) { y = Erf (x) }", [(1,)]),
    "Resize": (
        'g (float[1,1,30,14] x) => (float[1,1,39,17] y) <int64[4] s = {1,1,39,17}> { y = Resize <mode = "nearest"> (x, , , s) }',
        [np.random.default_rng(0).random((1, 1, 30, 14), np.float32)],
    ),
    "ConvTranspose": (
        """g (float[1,1,5,5] x, float[1,1,3,3] w) => (float[1,1,10,9] y) {
            y = ConvTranspose <strides = [2, 2], output_shape = [10, 9], auto_pad = "SAME_UPPER"> (x, w) }""",
        [np.random.default_rng(n).random((1, 1, n, n), np.float32) for n in (5, 3)],
    ),
    "LSTM": (
        """g (float[3,1,2] x, float[1,8,2] w, float[1,8,2] r) => (float[3,1,1,2] y) {
            y = LSTM <hidden_size = 2, input_forget = 1> (x, w, r) }""",
        [np.random.default_rng(n).random(n, np.float32) for n in ((3, 1, 2), (1, 8, 2), (1, 8, 2))],
    ),
    "RNN": (
        """g (float[3,1,2] x, float[1,2,2] w, float[1,2,2] r) => (float[3,1,1,2] y) {
            y = RNN <hidden_size = 2, activations = ["HardSigmoid"]> (x, w, r) }""",
        [np.random.default_rng(n).random(n, np.float32) - 0.5 for n in ((3, 1, 2), (1, 2, 2), (1, 2, 2))],
    ),
}
"""Models, with an input's elements or the one that all of its elements are, which OpenVINO computes otherwise."""


@pytest.mark.parametrize("name", UNLIKE)
def test_what_openvino_computes_otherwise_goes_to_the_next(name: str) -> None:
    text, values = UNLIKE[name]
    proto = model(text)
    feeds = {}
    for info, value in zip(proto.graph.input, values, strict=True):
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        feeds[info.name] = np.full(shape, value[0], dtype) if isinstance(value, tuple) else value
    ours, reference = (InferenceSession(proto.SerializeToString(), providers=p) for p in (PROVIDERS, PROVIDERS[1:]))
    expected = reference.run(None, feeds)
    assert any("OpenVINO" in dict(a.refusals).get(PROVIDERS[0], "") for a in ours.placement)
    for found, wanted in zip(ours.run(None, feeds), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    with pytest.raises((AssertionError, RuntimeError)):
        in_openvino_alone(proto, feeds, expected)


def in_openvino_alone(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], expected: list[np.ndarray]) -> None:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(proto.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for found, wanted in zip(compiled(list(feeds.values())).values(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_tensors_without_elements_are_not_given_to_it() -> None:
    """Their gathering ends the process."""
    proto = model("g (float[3,0] x, int64[2] i) => (float[2,0] y) { y = Gather (x, i) }")
    session = InferenceSession(proto.SerializeToString(), providers=PROVIDERS)
    assert session.run(None, {"x": np.zeros((3, 0), np.float32), "i": np.array([0, 1])})[0].shape == (2, 0)


@pytest.mark.parametrize(("operator", "element"), [("ReduceMax", -np.inf), ("ReduceMin", np.inf)])
def test_the_extreme_of_infinities_is_infinite(operator: str, element: float) -> None:
    proto, x = model(f"g (float[2,3] x) => (float[2,1] y) {{ y = {operator}<axes=[1]>(x) }}"), np.full((2, 3), element, np.float32)
    del proto.opset_import[:]
    proto.opset_import.add(domain="", version=13)
    core = openvino.Core()
    assert np.isfinite(core.compile_model(core.read_model(proto.SerializeToString()), "CPU")(x)[0]).all(), "the rule can go"
    session = InferenceSession(proto.SerializeToString(), providers=PROVIDERS)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.full((2, 1), element, np.float32))
    assert "starts from the" in next(iter(session.placement)).refusals[0][1]


def test_the_least_int32_is_true() -> None:
    proto, x = model("g (int32[3] x) => (bool[3] y) { y = Cast<to=9>(x) }"), np.array([-(2**31), 0, 7], np.int32)
    core = openvino.Core()
    assert not core.compile_model(core.read_model(proto.SerializeToString()), "CPU")(x)[0][0], "the rule can go"
    session = InferenceSession(proto.SerializeToString(), providers=PROVIDERS)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], [True, False, True])
    assert next(iter(session.placement)).refusals[0][1] == "OpenVINO makes false of the least int32"


def test_int64_wraps_around_where_openvino_would_not() -> None:
    text = "g (int64[100] x) => (int64[100] y) { y = Mul(x, x) }"
    session = InferenceSession(model(text).SerializeToString(), providers=PROVIDERS)
    x = np.arange(100, dtype=np.int64) * 2**33
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x * x)
    (assignment,) = session.placement
    assert assignment.refusals == (("OpenVINOExecutionProvider", "OpenVINO holds int64 in int32, and it is not known that 'x' fits"),)
