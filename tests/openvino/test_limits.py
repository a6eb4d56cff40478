"""Each rule against OpenVINO, with the case that shows why: OpenVINO alone gives another answer than onnx, or none."""

from __future__ import annotations

import re

import numpy as np
import pytest

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
