"""Whole segments in TensorRT's stand-in: what is claimed, where tensors lie, and that results are right."""

from __future__ import annotations

import gc
import sys
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu.demo import FOLDER
from onnxgpu.errors import OutOfMemory, RuntimeException
from onnxgpu.explain import explanation
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.provider import Spec
from onnxgpu.providers.tensorrt import stand_in
from tests.emulated import PLAIN
from tests.models import perceptron
from tests.tensorrt.sessions import CPU, CUDA, SEGMENT, TENSORRT, built, check, on_cpu, rows, session, steps
from tests.threads import in_threads

pytestmark = pytest.mark.usefixtures("tensorrt")


@pytest.mark.parametrize("count", [1, 5])
def test_a_model_is_one_engine_and_right(count: int) -> None:
    made = session(perceptron(count))
    assert steps(made) == ["transfer Tensorrt", SEGMENT, "transfer Tensorrt"]
    assert built() == 1
    check(made, perceptron(count), {"x": rows(count)}, runs=4)


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


def test_threads_share_a_session() -> None:
    made = session(perceptron(), trt_profile_min_shapes="x:1x64", trt_profile_opt_shapes="x:4x64", trt_profile_max_shapes="x:8x64")

    def work(count: int) -> None:
        for _ in range(5):
            check(made, perceptron(), {"x": rows(count)})

    in_threads(work, (1, 4, 8))


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


def test_all_that_the_parser_has_errors_of_is_refused_at_once() -> None:
    text = """g (float[1,2,9,9] x) => (float[1,2,h,w] y) {
      a = Relu (x)
      b = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (a)
      c = Neg (b)
      d = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (c)
      y = Neg (d)
    }"""
    made = session(text)
    assert steps(made) == ["transfer Tensorrt", SEGMENT, "MaxPool CUDA", SEGMENT, "MaxPool CUDA", SEGMENT, "transfer Tensorrt"]
    assert sum(call.member == "supports_model_v2" for call in stand_in.recorded()) == 4  # the whole, and each part
    check(made, text, {"x": rows(18, 9).reshape(1, 2, 9, 9)})


def test_elements_of_half_a_byte_stay_inside_or_outside() -> None:
    text = "g (int4[4] x) => (float[4] y) { a = Cast <to = 1> (x)  y = Neg (a) }"
    made = session(text)
    assert steps(made) == ["transfer Tensorrt", "Cast CUDA", SEGMENT, "transfer Tensorrt"]
    (cast,) = [node for node in explanation(made)["nodes"] if node["operator"] == "Cast"]
    assert [each["reason"] for each in cast["not"]] == [
        "engines take and give no elements of less than a byte, as inside of them two are in one"
    ]


def test_a_segment_that_is_too_large_for_the_parser_goes_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.tensorrt import network

    monkeypatch.setattr(network, "MOST_EMBEDDED_BYTES", 10_000)
    monkeypatch.setattr(network, "takes_references", lambda parser: False)
    made = session(perceptron(2))
    assert all(node["provider"] == CUDA for node in explanation(made)["nodes"])
    (reason, *_) = [node["not"][0]["reason"] for node in explanation(made)["nodes"]]
    assert "a segment has 32,768 bytes of weights" in reason and "use TensorRT 10.13 or later" in reason


def test_a_parser_that_takes_less_than_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.tensorrt import support

    monkeypatch.setattr(support, "unsupported", lambda model: {})
    text = """g (int64[3,4] x) => (float[3,4] y) {
      axis = Constant <value_int = 1> ()  b = CumSum (x, axis)  c = Cast <to = 1> (b)  y = Sqrt (c)
    }"""
    made = session(text)
    assert steps(made)[1:] == ["CumSum CUDA", SEGMENT, "transfer Tensorrt"]
    check(made, text, {"x": np.arange(12).reshape(3, 4)}, runs=2)


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


def test_one_graph_has_the_launches_of_both(emulated: Any) -> None:
    """Engine, kernel and engine stay in one CUDA graph, as they share the device and its stream."""
    text = """g (float[4,8] x) => (float[4,8] y) {
      s = Softmax (x) a = Relu (s)  b = Neg (a)  c = Erf (b)  d = Abs (c)  e = Sqrt (d)  f = Erf (e)  y = Softmax (f)
    }"""
    made = session(text, trt_op_types_to_exclude="Erf", trt_cuda_graph_enable=True)
    for seed in range(6):
        emulated.counters(clear=True)
        check(made, text, {"x": np.random.default_rng(seed).standard_normal((4, 8)).astype(np.float32)})
    counted = emulated.counters()
    assert steps(made).count("Segment Tensorrt") == 3
    assert counted["graph_launches"] == 1


def test_cuda_has_graphs_beside_engines_that_have_none(emulated: Any) -> None:
    text = """g (float[4,8] x) => (float[4,8] y) {
      a = Relu (x)  b = Neg (a)  c = Erf (b)  d = Softmax (c)  e = Erf (d)  f = Abs (e)  y = Sqrt (f)
    }"""
    without: Any = [(CUDA, {"enable_cuda_graph": 0}), CPU]
    made = session(text, behind=without, trt_op_types_to_exclude="Erf,Softmax")
    assert not any(count_graphs(emulated, made, text))
    made = session(text, behind=[CUDA, CPU], trt_op_types_to_exclude="Erf,Softmax")
    assert count_graphs(emulated, made, text)[-1] == 1


def count_graphs(emulated: Any, made: onnxgpu.InferenceSession, text: str) -> list[int]:
    """Launches of graphs in each of some runs, all of them right."""
    found = []
    for seed in range(5):
        emulated.counters(clear=True)
        check(made, text, {"x": np.random.default_rng(seed).standard_normal((4, 8)).astype(np.float32)})
        found.append(emulated.counters()["graph_launches"])
    return found


def test_inputs_and_outputs_stay_where_they_are() -> None:
    made = session(perceptron(2))
    x = onnxgpu.OrtValue.ortvalue_from_numpy(rows(2), "cuda", 0)
    y = onnxgpu.OrtValue.ortvalue_from_shape_and_type([2, 64], np.float32, "cuda", 0)
    binding = made.io_binding()
    binding.bind_ortvalue_input("x", x)
    binding.bind_ortvalue_output("y", y)
    for _ in range(4):
        stand_in.clear()
        made.run_with_iobinding(binding)
    addresses = [call.text for call in stand_in.recorded() if call.member == "set_tensor_address"]
    assert all(str(value.data_ptr()) in "".join(addresses) for value in (x, y)) or not addresses
    np.testing.assert_allclose(y.numpy(), on_cpu(perceptron(2), {"x": rows(2)})[0], rtol=1e-5, atol=1e-5)


def test_an_array_of_the_callers_that_is_off_tensorrts_alignment() -> None:
    import cupy

    memory = cupy.zeros(2 * 64 + 1, np.float32)
    memory[1:] = cupy.asarray(rows(2)).ravel()
    made = session(perceptron(2))
    for _ in range(3):
        (y,) = made.run(None, {"x": memory[1:].reshape(2, 64)})
        np.testing.assert_allclose(y, on_cpu(perceptron(2), {"x": rows(2)})[0], rtol=1e-5, atol=1e-5)


def test_a_view_with_strides_is_made_dense() -> None:
    text = """g (float[4,8] x) => (float[4,3] y) {
      starts = Constant <value_ints = [2]> ()  ends = Constant <value_ints = [8]> ()  axes = Constant <value_ints = [1]> ()
      by = Constant <value_ints = [2]> ()
      a = Slice (x, starts, ends, axes, by)
      b = Neg (a)
      y = Exp (b)
    }"""
    made = session(text, trt_op_types_to_exclude="Slice")
    assert steps(made)[1:] == ["Slice CUDA", SEGMENT, "transfer Tensorrt"]
    check(made, text, {"x": rows(4, 8)}, runs=4)


def test_a_stream_of_the_users() -> None:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    made = session(perceptron(2), user_compute_stream=str(stream.ptr))
    stand_in.clear()
    check(made, perceptron(2), {"x": rows(2)}, runs=3)
    launched = {call.text for call in stand_in.recorded() if call.member == "execute_async_v3"}
    assert launched == {f"({stream.ptr})"}


@pytest.mark.parametrize("changes", [{"lazy": True}, {"checked": True, "lazy": True}], ids=["lazy", "checked"])
@pytest.mark.parametrize("graphs", [False, True], ids=["", "graphs"])
def test_nothing_is_read_before_it_is_there(emulated: Any, changes: dict[str, bool], graphs: bool) -> None:
    emulated.configure(replace(PLAIN, **changes))
    text = """g (float[4,8] x) => (float[4,8] y, float[4,8] z) {
      a = Relu (x)  b = Neg (a)  c = Erf (b)  d = Abs (c)  y = Sqrt (d)  z = Exp (b)
    }"""
    made = session(text, trt_op_types_to_exclude="Erf", trt_cuda_graph_enable=graphs)
    for seed in range(5):
        check(made, text, {"x": np.random.default_rng(seed).standard_normal((4, 8)).astype(np.float32)})


def test_two_sessions_one_after_the_other_leave_nothing() -> None:
    made = session(perceptron(2))
    gone = weakref.ref(made)
    made.run(None, {"x": rows(2)})
    del made
    gc.collect()
    assert gone() is None


def test_a_built_engine_keeps_no_weights_on_the_host() -> None:
    gc.collect()
    before = sum(isinstance(each, CutModel) for each in gc.get_objects())
    made = session(perceptron(2))
    gc.collect()
    assert sum(isinstance(each, CutModel) for each in gc.get_objects()) == before
    check(made, perceptron(2), {"x": rows(2)})


def test_handwritten_digits() -> None:
    with np.load(FOLDER / "digits.npz") as data:
        images, labels = data["images"][:64], data["labels"][:64]
    made = session(onnx.load(FOLDER / "digits.onnx"), trt_build_on_request=True)
    assert steps(made) == ["transfer Tensorrt", SEGMENT, "transfer Tensorrt"]
    (scores,) = made.run(None, {"images": images.astype(np.float32)[:, None]})
    assert (scores.argmax(axis=1) == labels).mean() > 0.95


def test_a_run_that_fails_says_why_in_tensorrts_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.tensorrt.stand_in.context import ExecutionContext

    made = session(perceptron(2))
    check(made, perceptron(2), {"x": rows(2)})
    plain = ExecutionContext.execute_async_v3

    def fails(self: Any, stream_handle: int) -> bool:
        self.reports.error("IExecutionContext::enqueueV3", "Cask convolution execution", "INTERNAL_ERROR")
        return False

    monkeypatch.setattr(ExecutionContext, "execute_async_v3", fails)
    with pytest.raises(RuntimeException, match=r"TensorRT failed in segment 'perceptron:first' of 3 nodes: .*Cask convolution execution"):
        made.run(None, {"x": rows(2)})
    monkeypatch.setattr(ExecutionContext, "execute_async_v3", plain)
    check(made, perceptron(2), {"x": rows(2)}, runs=3)


def test_memory_that_an_output_cannot_have_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.cuda.cupy_device import CupyDevice

    text = "finds (float[4,6] x) => (int64[2,k] y) { a = Relu (x)  y = NonZero (a) }"
    made = session(text)
    check(made, text, {"x": rows(4, 6)})
    plain = CupyDevice.allocate

    def allocate(self: CupyDevice, spec: Spec) -> Any:
        if spec.dtype == np.uint8 and sys._getframe(1).f_code.co_name == "reallocate_output":
            raise OutOfMemory(f"{spec.nbytes} bytes are not to be had")
        return plain(self, spec)

    monkeypatch.setattr(CupyDevice, "allocate", allocate)
    with pytest.raises(OutOfMemory, match="bytes are not to be had"):
        made.run(None, {"x": rows(4, 6)})


def test_an_output_that_tensorrt_asked_no_memory_for_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.tensorrt.stand_in import execution, gpu

    text = "finds (float[4,6] x) => (int64[2,k] y) { a = Relu (x)  y = NonZero (a) }"
    made = session(text)
    monkeypatch.setattr(execution, "_reallocated", lambda allocator, name, current, size, stream: gpu.allocate(size))
    with pytest.raises(RuntimeException, match=r"TensorRT asked for no memory for output 'y' of .*, 384 bytes"):
        made.run(None, {"x": np.ones((4, 6), np.float32)})


def test_another_gpu_of_the_machine() -> None:
    made = session(perceptron(2), behind=[CPU], device_id=1)
    assert {str(step.provider.place) for step in made.plan.steps} == {"cuda:1"}
    check(made, perceptron(2), {"x": rows(2)}, runs=3)
