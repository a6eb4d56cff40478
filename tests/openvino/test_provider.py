"""Whole segments in OpenVINO: results, shapes, threads, precision, the cache, and what is said where it cannot."""

from __future__ import annotations

import weakref
from collections import deque
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import onnxgpu
from onnxgpu.errors import InvalidArgument
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.openvino import engine, kernel
from onnxgpu.providers.segments.cache import head_of
from onnxgpu.session import InferenceSession
from tests.models import model, perceptron
from tests.threads import in_threads

pytest.importorskip("openvino")

NAME = "OpenVINOExecutionProvider"
PROVIDERS = [NAME, "CPUExecutionProvider"]


def session(text: str | onnx.ModelProto, **options: Any) -> InferenceSession:
    proto = model(text) if isinstance(text, str) else text
    settings = {key: str(value) for key, value in options.items()}
    return InferenceSession(proto.SerializeToString(), providers=[(NAME, settings), "CPUExecutionProvider"])


def expected(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds))


@pytest.mark.parametrize("rows", [5, "n"], ids=["fixed", "dynamic"])
def test_a_model_is_one_step_and_right(rows: int | str) -> None:
    made = session(perceptron(rows))
    assert [step.operation.operator for step in made.plan.steps] == ["Segment"]
    for count in (5, 5, 5) if rows == 5 else (5, 1, 5, 17, 5, 0, 1):
        x = np.random.default_rng(count).standard_normal((count, 64)).astype(np.float32)
        np.testing.assert_allclose(made.run(None, {"x": x})[0], expected(perceptron(rows), {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_results_are_the_callers_own() -> None:
    made = session(perceptron(2))
    first = made.run(None, {"x": np.ones((2, 64), np.float32)})[0]
    before = first.copy()
    for value in range(4):
        made.run(None, {"x": np.full((2, 64), value, np.float32)})
    np.testing.assert_array_equal(first, before)


def test_inputs_of_any_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(perceptron(3))
    x = np.random.default_rng(3).standard_normal((3, 64)).astype(np.float32)
    wanted = made.run(None, {"x": x})[0]
    frozen = x.copy()
    frozen.flags.writeable = False
    for given in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], frozen):
        np.testing.assert_array_equal(made.run(None, {"x": given})[0], wanted)


def test_the_dense_copy_of_an_input_lives_as_long_as_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request holds addresses alone: a copy that is gone while it runs is memory that anything may have."""
    made = session(perceptron("n"))
    copies: list[weakref.ref[np.ndarray]] = []

    def dense(array: np.ndarray) -> np.ndarray:
        copy = np.ascontiguousarray(array)
        copies.append(weakref.ref(copy))
        return copy

    class Request:
        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def infer(self, *arguments: Any) -> None:
            assert copies and all(copy() is not None for copy in copies)
            self._real.infer(*arguments)

    step_kernel = made.plan.steps[0].kernel
    monkeypatch.setattr(kernel, "_dense", dense)
    step_kernel._writing.append(Request(step_kernel.compiled.create_infer_request()))  # type: ignore[attr-defined]
    x = np.random.default_rng(3).standard_normal((5, 64)).astype(np.float32)
    np.testing.assert_allclose(made.run(None, {"x": np.asfortranarray(x)})[0], expected(perceptron("n"), {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_an_input_whose_rank_is_not_known_goes_to_the_next_provider() -> None:
    proto = model("g (float[2,3] x) => (float[2,3] z) { y = Neg(x)\n z = Relu(y) }")
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    made = session(proto)
    assert [a.provider.name for a in made.placement.nodes()] == ["CPUExecutionProvider", "CPUExecutionProvider"]
    assert "number of dimensions is not known" in next(iter(made.placement)).refusals[0][1]


def test_many_threads_share_a_session() -> None:
    made = session(perceptron("n"))
    inputs = [np.random.default_rng(i).standard_normal((1 + i % 5, 64)).astype(np.float32) for i in range(16)]
    wanted = [made.run(None, {"x": x})[0] for x in inputs]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(50):
            if not np.array_equal(made.run(None, {"x": inputs[index]})[0], wanted[index]):
                wrong.append(index)

    in_threads(work, range(len(inputs)))
    assert not wrong


def test_another_thread_takes_the_last_idle_request() -> None:
    class Taken(deque[Any]):
        """Has a request until it is asked for it."""

        def __bool__(self) -> bool:
            return True

    made = session(perceptron())
    step_kernel = made.plan.steps[0].kernel
    step_kernel._writing, step_kernel._returning = Taken(), Taken()  # type: ignore[attr-defined]
    x = np.ones((2, 64), np.float32)
    np.testing.assert_allclose(made.run(None, {"x": x})[0], expected(perceptron(), {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_an_output_that_is_an_input() -> None:
    made = session("g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Dropout(x)\n z = Relu(x) }")
    x = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)
    for _ in range(3):
        y, z = made.run(None, {"x": x})
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(z, np.maximum(x, 0))


def test_float32_is_computed_in_float32() -> None:
    """A sum whose terms bfloat16 or TF32 would lose."""
    x = np.full((1, 64), 1 + 2**-12, np.float32)
    proto = perceptron(1)
    identity = np.eye(64, dtype=np.float32)
    for tensor in proto.graph.initializer:
        tensor.raw_data = identity.tobytes()
    np.testing.assert_array_equal(session(proto).run(None, {"x": x})[0], x)


def test_reduced_precision_is_a_wish_of_the_user() -> None:
    made = session(perceptron(2), precision="BF16")
    assert made.placement.providers() == (NAME,)
    with pytest.raises(InvalidArgument, match="precision 'FP8' of OpenVINOExecutionProvider: expected one of"):
        session(perceptron(2), precision="FP8")


def test_load_config_is_json_or_a_file_with_it(tmp_path: Path) -> None:
    config = '{"CPU": {"NUM_STREAMS": "1"}}'
    (tmp_path / "config.json").write_text(config)
    for given in (config, str(tmp_path / "config.json")):
        assert session(perceptron(2), load_config=given).placement.providers() == (NAME,)
    with pytest.raises(InvalidArgument, match=r"load_config of OpenVINOExecutionProvider is neither JSON of the form"):
        session(perceptron(2), load_config="{broken")


def test_an_operator_that_openvino_lacks_goes_to_the_cpu() -> None:
    made = session("g (float[2,4,4] x) => (float[2] y) { a = Relu(x)\n b = Det(a)\n y = Relu(b) }")
    assert [a.provider.name for a in made.placement.nodes()] == [NAME, "CPUExecutionProvider", NAME]
    (_, determinant, _) = made.placement.nodes()
    assert determinant.refusals == ((NAME, "OpenVINO does not take it: No conversion rule found for operations: Det-18"),)


def test_the_second_start_takes_the_engine_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    first = session(perceptron("n"), cache_dir=tmp_path).run(None, {"x": x})[0]
    assert len(list(tmp_path.glob("*.engine"))) == 1

    def never(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(engine, "compiled", never)
    made = session(perceptron("n"), cache_dir=tmp_path)
    np.testing.assert_array_equal(made.run(None, {"x": x})[0], first)
    for count in (1, 9):
        y = np.ones((count, 64), np.float32)
        np.testing.assert_allclose(made.run(None, {"x": y})[0], expected(perceptron("n"), {"x": y})[0], rtol=1e-5, atol=1e-6)


def test_other_weights_are_another_engine(tmp_path: Path) -> None:
    session(perceptron(1), cache_dir=tmp_path)
    other = perceptron(1)
    other.graph.initializer[0].raw_data = np.eye(64, dtype=np.float32).tobytes()
    session(other, cache_dir=tmp_path)
    assert len(list(tmp_path.glob("*.engine"))) == 2


def test_an_engine_that_openvino_does_not_take_is_compiled_again(tmp_path: Path) -> None:
    """A whole file of ours with something inside that is no engine: an engine of another version, say."""
    x = np.ones((1, 64), np.float32)
    wanted = session(perceptron(1), cache_dir=tmp_path).run(None, {"x": x})[0]
    (file,) = tmp_path.glob("*.engine")
    inside = b"an engine of another version"
    file.write_bytes(head_of(inside) + inside)
    np.testing.assert_array_equal(session(perceptron(1), cache_dir=tmp_path).run(None, {"x": x})[0], wanted)


def test_threads_of_the_session_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    options = onnxgpu.SessionOptions()
    options.intra_op_num_threads = 1
    made = InferenceSession(perceptron(1).SerializeToString(), options, providers=PROVIDERS)
    compiled = made.plan.steps[0].kernel.compiled  # type: ignore[attr-defined]
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_weights_are_handed_over_where_they_lie() -> None:
    """OpenVINO's reader copies them; a model holds none of these copies."""
    generator = np.random.default_rng(0)
    proto = perceptron(1)
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(generator.standard_normal((64, 64)).astype(ml_dtypes.bfloat16), "w1"))
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(generator.standard_normal((64, 64)).astype(np.float32), "w0"))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for tensor in proto.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
    del proto.graph.node[1:]
    proto.graph.node.append(helper.make_node("Cast", ["w1"], ["z"], to=onnx.TensorProto.FLOAT))
    proto.graph.node.append(helper.make_node("Add", ["a", "z"], ["y"]))
    converted = engine.convert(CutModel(proto, weights))
    constants = [node for node in converted.get_ops() if node.get_type_name() == "Constant" and node.data.nbytes > 1024]
    assert {node.data.ctypes.data for node in constants} == {array.ctypes.data for array in weights.values()}


def test_shapes_are_told_without_weights() -> None:
    proto = perceptron("n")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for tensor in proto.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
    outline = engine.outline(CutModel(proto, weights))
    assert {name for port in outline.inputs for name in port.get_names()} == {"x", "w0", "w1"}
    outline.reshape({"x": [7, 64]})
    assert list(outline.outputs[0].shape) == [7, 64]


def test_sums_of_products_of_8_bits_do_not_saturate() -> None:
    """Two neighbours among the products exceed 16 bits: on x86 without VNNI, OpenVINO's integers would be clipped there."""
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[2,64] x, float s, uint8 z, float[8] t, int8 zero) => (float[2,8] y) {
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) e = DequantizeLinear <axis = 1> (w, t) y = MatMul (d, e) }"""
    proto = onnx.parser.parse_model(text)
    constants = {"s": np.float32(1), "z": np.uint8(0), "t": np.ones(8, np.float32), "w": np.full((64, 8), 127, np.int8)}
    del proto.graph.input[1:]
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    assert session(proto).run(None, {"x": np.full((2, 64), 255, np.float32)})[0].tolist() == [[255.0 * 127 * 64] * 8] * 2


@pytest.mark.parametrize(
    ("machine", "said", "exact"),
    [
        ("x86_64", "flags\t\t: sse4_2 avx2\n", False),
        ("x86_64", "model name : vnni\nflags\t\t: avx512_vnni\n", True),
        ("AMD64", "flags\t\t: avx_vnni\n", True),
        ("x86_64", None, False),
        ("aarch64", None, True),
    ],
)
def test_which_processors_sum_exactly(tmp_path: Path, machine: str, said: str | None, exact: bool) -> None:
    path = tmp_path / "cpuinfo"
    if said is not None:
        path.write_text(said)
    assert engine.sums_are_exact(path, machine) == exact
