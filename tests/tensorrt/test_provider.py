"""Whole segments in TensorRT's stand-in: what is claimed, built, kept and run, and what is said where it cannot."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxgpu.errors import EPFail, InvalidArgument
from onnxgpu.explain import explanation
from onnxgpu.providers.tensorrt import stand_in
from tests.tensorrt.sessions import CUDA, TENSORRT, check, perceptron, rows, session, steps

pytestmark = pytest.mark.usefixtures("tensorrt")

SEGMENT = "Segment Tensorrt"
NONZERO = """finds (float[4,6] x) => (int64[2,k] y) { a = Relu (x)  y = NonZero (a) }"""


def built() -> int:
    """How many engines the stand-in built."""
    return sum(call.member == "build_serialized_network" for call in stand_in.recorded())


@pytest.mark.parametrize("count", [1, 5])
def test_a_model_is_one_engine_and_right(count: int) -> None:
    made = session(perceptron(count))
    assert steps(made) == ["transfer Tensorrt", SEGMENT, "transfer Tensorrt"]
    assert built() == 1
    check(made, perceptron(count), {"x": rows(count)}, runs=4)


def test_weights_are_handed_over_where_they_lie() -> None:
    session(perceptron(2))
    calls = [call.member for call in stand_in.recorded()]
    assert calls.count("load_initializer") >= 2 and "parse_model_proto" in calls and "parse" not in calls


def test_explain_tells_of_tensorrt() -> None:
    told = explanation(session(perceptron(2)))
    assert [(node["name"], node["provider"], node["place"]) for node in told["nodes"]] == [
        (name, TENSORRT, "cuda:0") for name in ("first", "middle", "last")
    ]


def test_results_are_the_callers_own() -> None:
    made = session(perceptron(2))
    first = made.run(None, {"x": rows(2)})[0]
    before = first.copy()
    for value in range(4):
        made.run(None, {"x": np.full((2, 64), value, np.float32)})
    np.testing.assert_array_equal(first, before)


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


def test_an_empty_tensor_has_an_address() -> None:
    made = session(perceptron(), trt_build_on_request=True)
    check(made, perceptron(), {"x": rows(0)}, runs=3)


def test_threads_share_a_session() -> None:
    made = session(perceptron(), trt_profile_min_shapes="x:1x64", trt_profile_opt_shapes="x:4x64", trt_profile_max_shapes="x:8x64")
    failures: list[BaseException] = []

    def work(count: int) -> None:
        try:
            for _ in range(5):
                check(made, perceptron(), {"x": rows(count)})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(count,)) for count in (1, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_engines_are_kept_and_found_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(tmp_path), "trt_engine_cache_prefix": "mine"}
    check(session(perceptron(2), **options), perceptron(2), {"x": rows(2)})
    assert built() == 1
    (kept,) = tmp_path.glob("mine_*.engine")
    check(session(perceptron(2), **options), perceptron(2), {"x": rows(2)})
    assert built() == 1
    session(perceptron(2), trt_builder_optimization_level=4, **options)
    assert built() == 2 and kept.exists()


def test_an_engine_of_another_version_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from onnxgpu.providers.segments.cache import EngineCache

    options: dict[str, Any] = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(tmp_path)}
    monkeypatch.setattr(EngineCache, "_read", lambda self, key: b"not an engine")
    with caplog.at_level(logging.WARNING, "onnxgpu"):
        check(session(perceptron(2), **options), perceptron(2), {"x": rows(2)})
    assert built() == 1
    assert any("does not read the engine" in record.getMessage() for record in caplog.records)


def test_measured_times_are_kept(tmp_path: Path) -> None:
    options: dict[str, Any] = {"trt_timing_cache_enable": True, "trt_timing_cache_path": str(tmp_path)}
    session(perceptron(2), **options)
    (file,) = tmp_path.glob("TensorrtExecutionProvider_cache_sm*.timing")
    first = file.read_bytes()
    session(perceptron(3), **options)
    assert len(file.read_bytes()) > len(first) > 0


def test_tf32_is_off_unless_asked() -> None:
    def about_tf32() -> list[str]:
        return [call.member for call in stand_in.recorded() if "BuilderFlag.TF32" in call.text]

    session(perceptron(2))
    assert about_tf32() == ["clear_flag"]
    stand_in.clear()
    session(perceptron(2), trt_tf32_enable=True)
    assert about_tf32() == ["set_flag"]


def test_what_tensorrt_does_not_take_goes_to_cuda_without_a_copy() -> None:
    text = "g (float[4,8] x) => (float[4,8] y) { a = Relu (x)  b = Abs (a)  c = Erf (b)  y = Neg (c) }"
    made = session(text, trt_op_types_to_exclude="Erf")
    assert steps(made) == ["transfer Tensorrt", SEGMENT, "Erf CUDA", SEGMENT, "transfer Tensorrt"]
    check(made, text, {"x": rows(4, 8)}, runs=3)
    erf = next(node for node in explanation(made)["nodes"] if node["operator"] == "Erf")
    assert erf["not"] == [{"provider": TENSORRT, "reason": "trt_op_types_to_exclude names Erf"}]


def test_the_parsers_words_are_the_reason() -> None:
    text = "g (float[4,8] x) => (double[4,8] y, float[4,8] z) { a = Relu (x)  y = Cast <to = 11> (a)  z = Neg (a) }"
    made = session(text)
    (cast,) = [node for node in explanation(made)["nodes"] if node["operator"] == "Cast"]
    assert cast["not"] == [{"provider": TENSORRT, "reason": "TensorRT has no tensors of double"}]
    check(made, text, {"x": rows(4, 8)}, runs=2)


def test_one_node_that_tensorrt_does_not_take_keeps_the_others_from_nothing() -> None:
    text = """g (int64[3,4] x) => (float[3,4] y) {
      axis = Constant <value_int = 1> ()
      a = Mul (x, x)
      b = CumSum (a, axis)
      c = Cast <to = 1> (b)
      y = Sqrt (c)
    }"""
    made = session(text)
    assert steps(made) == ["transfer Tensorrt", SEGMENT, "CumSum CUDA", SEGMENT, "transfer Tensorrt"]
    (refused,) = [node for node in explanation(made)["nodes"] if node["provider"] != TENSORRT]
    assert refused["not"] == [{"provider": TENSORRT, "reason": "Found invalid input type of INT64 (UNSUPPORTED_NODE_DATATYPE)"}]
    check(made, text, {"x": np.arange(12).reshape(3, 4)}, runs=3)


def test_nodes_are_offered_again_no_more_often_than_asked() -> None:
    text = """g (int64[3,4] x) => (float[3,4] y) {
      axis = Constant <value_int = 1> ()
      a = Mul (x, x)
      b = CumSum (a, axis)
      y = Cast <to = 1> (b)
    }"""
    made = session(text, trt_max_partition_iterations=0)
    assert {node["not"][0]["reason"] for node in explanation(made)["nodes"]} == {
        "TensorRT refused nodes of it in more than 0 rounds (trt_max_partition_iterations)"
    }


def test_small_segments_are_left_to_others() -> None:
    made = session(perceptron(2), trt_min_subgraph_size=4)
    assert TENSORRT not in {node["provider"] for node in explanation(made)["nodes"]}
    assert built() == 0


def test_control_flow_has_segments_inside() -> None:
    text = """g (bool c, float[4,8] x) => (float[4,8] y) {
      y = If (c) <then_branch = t () => (float[4,8] a) { b = Relu (x)  a = Neg (b) }, else_branch = e () => (float[4,8] d) { d = Abs (x) }>
    }"""
    made = session(text)
    for flag in (True, False, True):
        check(made, text, {"c": np.array(flag), "x": rows(4, 8)}, runs=2)


def test_a_graph_is_captured_once_its_shapes_ran() -> None:
    made = session(perceptron(2), trt_cuda_graph_enable=True)
    stand_in.clear()
    for _ in range(8):
        check(made, perceptron(2), {"x": rows(2)})
    launches = sum(call.member == "execute_async_v3" for call in stand_in.recorded())
    assert launches < 8, "a graph is launched in place of the engine"


def test_two_segments_and_cuda_in_one_session_with_graphs() -> None:
    text = "g (float[4,8] x) => (float[4,8] y) { a = Relu (x)  b = Neg (a)  c = Erf (b)  d = Abs (c)  y = Sqrt (d) }"
    made = session(text, trt_op_types_to_exclude="Erf", trt_cuda_graph_enable=True)
    for seed in (1, 2, 3, 4, 5, 6):
        check(made, text, {"x": np.random.default_rng(seed).standard_normal((4, 8)).astype(np.float32)})


def test_a_segment_is_written_for_who_wants_to_see_it(tmp_path: Path) -> None:
    session(perceptron(2), trt_dump_subgraphs=True, trt_engine_cache_path=str(tmp_path))
    (file,) = tmp_path.glob("*.onnx")
    onnx.checker.check_model(str(file), full_check=True)
    assert [node.name for node in onnx.load(file).graph.node] == ["first", "middle", "last"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trt_tactic_sources": "-NOTHING"}, "'trt_tactic_sources': TensorRT .* has no 'NOTHING'; it has .*JIT_CONVOLUTIONS"),
        ({"trt_preview_features": "NOTHING"}, "'trt_preview_features': TensorRT .* has no 'NOTHING'"),
        ({"trt_extra_plugin_lib_paths": "/nowhere/plugin.so"}, "'trt_extra_plugin_lib_paths': TensorRT does not load '/nowhere/plugin.so'"),
        (
            {"trt_profile_min_shapes": "z:1", "trt_profile_opt_shapes": "z:1", "trt_profile_max_shapes": "z:1"},
            "'z' is no input of the model",
        ),
    ],
)
def test_an_ill_option_refuses_the_session(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        session(perceptron(2), **options)


def test_a_failed_build_has_tensorrts_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.tensorrt.stand_in.builder import Builder

    def fails(self: Any, network: Any, config: Any, kernel_text: Any = None) -> None:
        self._reports.error("IBuilder::buildSerializedNetwork", "Could not find any implementation for node {first}", "INTERNAL_ERROR")

    monkeypatch.setattr(Builder, "build_serialized_network", fails)
    with pytest.raises(EPFail, match=r"does not build an engine for .*Could not find any implementation for node \{first\}"):
        session(perceptron(2))


def _wait_for_builds() -> None:
    from onnxgpu.providers.segments import builds

    for thread in tuple(builds._running):
        thread.join(60)
