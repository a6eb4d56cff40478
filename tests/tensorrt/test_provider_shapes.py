"""Engines for shapes: profiles, buckets, what serves meanwhile, and shapes that values or data decide."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from onnxgpu.errors import InvalidArgument
from onnxgpu.explain import explanation
from onnxgpu.providers.tensorrt import stand_in
from tests.models import perceptron
from tests.tensorrt.sessions import CUDA, SEGMENT, built, check, rows, session, steps

pytestmark = pytest.mark.usefixtures("tensorrt")

NONZERO = """finds (float[4,6] x) => (int64[2,k] y) { a = Relu (x)  y = NonZero (a) }"""


def test_profiles_that_are_given_are_built_at_once_and_nothing_else() -> None:
    options: dict[str, Any] = {
        "trt_profile_min_shapes": "x:1x64,x:9x64",
        "trt_profile_opt_shapes": "x:4x64,x:16x64",
        "trt_profile_max_shapes": "x:8x64,x:32x64",
    }
    made = session(perceptron(), **options)
    assert built() == 1
    for count in (1, 8, 9, 32, 8, 3, 3, 3):
        check(made, perceptron(), {"x": rows(count)})
    with pytest.raises(InvalidArgument, match=r"no profile of .* holds x: \[33, 64\].*trt_profile_max_shapes"):
        made.run(None, {"x": rows(33)})
    check(made, perceptron(), {"x": rows(8)})
    assert built() == 1


def test_engines_of_buckets_are_built_on_request_if_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    made = session(perceptron(), trt_build_on_request=True)
    assert built() == 0
    with caplog.at_level(logging.WARNING, "onnxgpu"):
        for count in (5, 8, 6, 5, 2, 2, 2):
            check(made, perceptron(), {"x": rows(count)})
    assert built() == 2
    assert sum("a run waits for an engine" in record.getMessage() for record in caplog.records) == 2


def test_the_next_provider_serves_shapes_that_have_no_engine_yet() -> None:
    made = session(perceptron())
    check(made, perceptron(), {"x": rows(5)})
    meanwhile = {node["meanwhile"] for node in explanation(made)["nodes"]}
    assert meanwhile == {CUDA}
    _wait_for_builds()
    assert built() == 1
    stand_in.clear()
    check(made, perceptron(), {"x": rows(5)}, runs=3)
    check(made, perceptron(), {"x": rows(7)}, runs=3)
    assert sum(call.member == "execute_async_v3" for call in stand_in.recorded()) == 6
    assert built() == 0


def test_an_engine_may_be_built_in_the_background() -> None:
    made = session(perceptron(3), trt_build_in_background=True)
    check(made, perceptron(3), {"x": rows(3)})
    _wait_for_builds()
    stand_in.clear()
    check(made, perceptron(3), {"x": rows(3)}, runs=3)
    assert sum(call.member == "execute_async_v3" for call in stand_in.recorded()) == 3


def test_shapes_that_depend_on_the_data() -> None:
    made = session(NONZERO)
    assert steps(made)[1] == SEGMENT
    for count in (0, 1, 24, 7, 7):
        x = np.zeros((4, 6), np.float32)
        x.flat[:count] = 1
        check(made, NONZERO, {"x": x}, runs=2)


def test_a_context_is_given_one_allocator_for_all_runs() -> None:
    made = session(NONZERO)
    for _ in range(3):
        check(made, NONZERO, {"x": rows(4, 6)}, runs=2)
    given = [call for call in stand_in.recorded() if call.member == "set_output_allocator"]
    contexts = [call for call in stand_in.recorded() if call.member == "create_execution_context"]
    assert len(given) == len(contexts) == 1  # the bindings keep each as long as the context


def test_an_empty_tensor_has_an_address() -> None:
    made = session(perceptron(), trt_build_on_request=True)
    check(made, perceptron(), {"x": rows(0)}, runs=3)


def test_an_input_whose_values_decide_shapes_stays_on_the_host() -> None:
    text = "g (float[4,6] x, int64[2] shape) => (float[a,b] y) { r = Relu (x)  z = Reshape (r, shape)  y = Neg (z) }"
    made = session(text, trt_build_on_request=True)
    assert steps(made) == ["transfer Tensorrt", SEGMENT, "transfer Tensorrt"]
    for shape in ((4, 6), (3, 8), (2, -1), (3, 8), (3, 8), (3, 8)):
        check(made, text, {"x": rows(4, 6), "shape": np.array(shape)}, runs=2)


def test_profiles_of_values_that_decide_shapes() -> None:
    text = "g (float[24] x, int64[2] shape) => (float[a,b] y) { r = Relu (x)  y = Reshape (r, shape) }"
    made = session(text, trt_profile_min_shapes="shape:1x1", trt_profile_opt_shapes="shape:4x6", trt_profile_max_shapes="shape:24x24")
    assert built() == 1
    for shape in ((4, 6), (24, 1), (3, 8), (3, 8), (3, 8)):
        check(made, text, {"x": rows(24, 1).ravel(), "shape": np.array(shape)})
    assert built() == 1
    with pytest.raises(InvalidArgument, match="no profile"):
        made.run(None, {"x": rows(24, 1).ravel(), "shape": np.array([-1, 8])})


def test_values_of_which_nothing_is_known_decide_shapes_elsewhere() -> None:
    text = "g (float[4,6] x, int64[2] shape) => (float[a,b] y) { r = Relu (x)  z = Reshape (r, shape)  y = Neg (z) }"
    made = session(text)
    assert steps(made)[1:3] == [SEGMENT, "Reshape CUDA"]
    (reshape,) = [node for node in explanation(made)["nodes"] if node["operator"] == "Reshape"]
    assert reshape["not"][0]["reason"].startswith("the values of 'shape' decide shapes, and nothing says between which they lie")
    for shape in ((4, 6), (3, 8), (2, -1)):
        check(made, text, {"x": rows(4, 6), "shape": np.array(shape)}, runs=2)


def test_numbers_with_a_fraction_decide_no_shapes_of_tensorrts() -> None:
    text = "g (float s, float l, float d) => (float[n] y) { r = Range (s, l, d)  y = Neg (r) }"
    made = session(text, trt_build_on_request=True)
    (numbers,) = [node for node in explanation(made)["nodes"] if node["operator"] == "Range"]
    assert "must be of type INT32 or INT64" in numbers["not"][0]["reason"]
    check(made, text, {name: np.array(value, np.float32) for name, value in zip("sld", (0, 2, 0.5), strict=True)}, runs=3)


def _wait_for_builds() -> None:
    from onnxgpu.providers.segments import builds

    for thread in tuple(builds._running):
        thread.join(60)


def test_values_that_decide_shapes_wait_for_their_engine_in_the_background_too() -> None:
    text = "g (float[4,6] x, int64[2] shape) => (float[a,b] y) { r = Relu (x)  z = Reshape (r, shape)  y = Neg (z) }"
    made = session(text, trt_build_on_request=True, trt_build_in_background=True)
    for shape in ((4, 6), (3, 8), (4, 6)):
        check(made, text, {"x": rows(4, 6), "shape": np.array(shape)}, runs=2)
    assert built() == 2


def test_as_many_values_as_a_run_has_decide_shapes_elsewhere() -> None:
    text = "g (float[4,6] x, int64[rank] shape) => (float y) { r = Relu (x)  z = Reshape (r, shape)  y = ReduceSum <keepdims = 0> (z) }"
    made = session(text, trt_build_on_request=True)
    reshape = next(node for node in explanation(made)["nodes"] if node["operator"] == "Reshape")
    assert "TensorRT wants to know beforehand how many there are" in reshape["not"][0]["reason"]
    for shape in ((4, 6), (2, 3, 4)):
        check(made, text, {"x": rows(4, 6), "shape": np.array(shape)}, runs=2)


@pytest.mark.parametrize(("dtype", "refused"), [(np.float32, True), (np.bool_, True), (np.int32, False), (np.int64, False)])
def test_values_that_decide_shapes_are_integers(dtype: type, refused: bool) -> None:
    from onnxgpu.provider import Operation, ValueInfo
    from onnxgpu.providers.tensorrt.network import NetworkInput
    from onnxgpu.providers.tensorrt.shape_inputs import NO_INTEGERS, readers
    from onnxgpu.segment_provider import Segment

    limit, result = ValueInfo("limit", np.dtype(dtype), ()), ValueInfo("y", np.dtype(dtype), (None,))
    segment = Segment("numbers", (Operation("Range", (limit,), (result,)),), (limit,), (result,))
    reasons = readers(segment, [NetworkInput("limit", (), True)], are_told=True)
    assert reasons == ({0: NO_INTEGERS.format("limit")} if refused else {})
