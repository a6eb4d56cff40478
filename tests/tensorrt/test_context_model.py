"""Engines in models: written once, and run by sessions that neither build nor have the weights."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu.errors import EPFail, InvalidArgument, ModelRequiresCompilation
from onnxgpu.providers.tensorrt import stand_in
from onnxgpu.session import InferenceSession
from tests.context_models import attributes, changed
from tests.models import perceptron
from tests.tensorrt.sessions import CPU, CUDA, TENSORRT, check, rows, steps

PROFILES = {f"trt_profile_{end}_shapes": f"x:{count}x64" for end, count in (("min", 1), ("opt", 4), ("max", 8))}
BEHIND = [CUDA, CPU]


@pytest.fixture(autouse=True)
def in_a_folder(tensorrt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def session(source: Any, entries: dict[str, str] | None = None, **options: Any) -> InferenceSession:
    settings = onnxgpu.SessionOptions()
    for key, value in (entries or {}).items():
        settings.add_session_config_entry(key, value)
    return InferenceSession(source, settings, providers=[(TENSORRT, options), *BEHIND])


def saved(proto: onnx.ModelProto, embed: str = "0", **options: Any) -> InferenceSession:
    """A session that wrote `m_ctx.onnx`; the model it was made of is gone then."""
    onnx.save(proto, "m.onnx")
    made = session("m.onnx", {"ep.context_enable": "1", "ep.context_embed_mode": embed}, **options)
    Path("m.onnx").unlink()
    return made


def loaded(source: Any = "m_ctx.onnx", **options: Any) -> InferenceSession:
    return session(source, {"session.disable_model_compile": "1"}, **options)


def built() -> int:
    """How many engines the stand-in built."""
    return sum(call.member == "build_serialized_network" for call in stand_in.recorded())


@pytest.mark.parametrize("embed", ["0", "1"])
def test_an_engine_runs_without_a_build(embed: str) -> None:
    check(saved(perceptron(4), embed), perceptron(4), {"x": rows(4)})
    proto = onnx.load("m_ctx.onnx")
    assert [node.op_type for node in proto.graph.node] == ["EPContext"] and not proto.graph.initializer
    assert attributes(proto)["source"] == TENSORRT.encode()
    before = built()
    made = loaded()
    assert steps(made) == ["transfer Tensorrt", "EPContext Tensorrt", "transfer Tensorrt"]
    check(made, perceptron(4), {"x": rows(4)}, runs=4)
    assert built() == before


def test_profiles_are_those_of_the_engine() -> None:
    saved(perceptron("n"), **PROFILES)
    made = loaded()
    for count in (1, 4, 8, 3):
        check(made, perceptron("n"), {"x": rows(count)}, runs=2)
    with pytest.raises(InvalidArgument, match="no profile of segment"):
        made.run(None, {"x": rows(9)})


def test_an_engine_that_is_built_in_the_background_is_waited_for() -> None:
    saved(perceptron(4), trt_build_in_background=True)
    check(loaded(), perceptron(4), {"x": rows(4)})


def test_buckets_are_no_one_engine() -> None:
    with pytest.raises(EPFail, match=r"an engine for each bucket.*give profiles"):
        saved(perceptron("n"))
    assert not Path("m_ctx.onnx").exists()


def test_values_that_are_read_on_the_host() -> None:
    """A shape that is an input stays on the host for the engine out of a model too."""
    proto = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        reshaped (float[2,6] x, int64[2] shape) => (float[a,b] y) { r = Relu (x)  y = Reshape (r, shape) }""")
    options = {f"trt_profile_{end}_shapes": f"x:2x6,shape:{values}" for end, values in (("min", "1x1"), ("opt", "3x4"), ("max", "12x12"))}
    made = saved(proto, **options)
    feeds: dict[str, np.ndarray] = {"x": np.arange(-6, 6, dtype=np.float32).reshape(2, 6), "shape": np.array([3, 4], np.int64)}
    check(made, proto, feeds)
    again = loaded()
    assert "EPContext Tensorrt" in steps(again)
    check(again, proto, feeds, runs=2)
    check(again, proto, feeds | {"shape": np.array([4, 3], np.int64)})
    (step,) = [step for step in again.plan.steps if step.operation.operator == "EPContext"]
    assert [str(again.plan.slots[slot].place) for slot in step.inputs] == ["cuda:0", "host"]


@pytest.mark.parametrize("said_by", ["get_tensor_location", "is_shape_inference_io"])
def test_what_says_that_values_are_read_on_the_host(tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, said_by: str) -> None:
    """`isShapeInferenceIO` speaks of the shapes of results alone; the place of an input need not follow from it."""
    from onnxgpu.providers.tensorrt.stand_in.engine import Engine

    proto = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        back (float[2,6] x, int64[2] shape) => (float[2,6] y) {
          to = Constant <value_ints = [2, 6]> ()  a = Reshape (x, shape)  b = Relu (a)  y = Reshape (b, to)
        }""")
    options = {f"trt_profile_{end}_shapes": f"x:2x6,shape:{values}" for end, values in (("min", "1x1"), ("opt", "3x4"), ("max", "12x12"))}
    saved(proto, **options)
    if said_by == "get_tensor_location":
        monkeypatch.setattr(Engine, "is_shape_inference_io", lambda self, name: False)
    else:
        monkeypatch.setattr(Engine, "get_tensor_location", lambda self, name: tensorrt.TensorLocation.DEVICE)
    made = loaded()
    for shape in ([3, 4], [12, 1]):
        check(made, proto, {"x": rows(2, 6), "shape": np.array(shape, np.int64)}, runs=2)


def test_an_engine_that_is_kept_without_weights_has_them_in_a_model() -> None:
    saved(perceptron(4), "1", trt_weight_stripped_engine_enable=True)
    check(loaded(), perceptron(4), {"x": rows(4)}, runs=2)


def test_results_whose_shapes_depend_on_the_data() -> None:
    proto = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        finds (float[4,6] x) => (float[4,6] a, int64[2,k] y) { a = Relu (x)  y = NonZero (a) }""")
    saved(proto)
    made = loaded()
    for seed in range(3):
        check(made, proto, {"x": rows(4, 6) - seed})


def test_the_compiler_and_the_options_of_the_provider() -> None:
    onnx.save(perceptron(2), "m.onnx")
    options = onnxgpu.SessionOptions()
    options.add_provider(TENSORRT, {"trt_engine_hw_compatible": "1"})
    options.add_provider(CUDA, {})
    onnxgpu.ModelCompiler(options, "m.onnx", embed_compiled_data_into_model=True, flags=1).compile_to_file("c.onnx")
    assert attributes(onnx.load("c.onnx"))["hardware_architecture"] == b"80+"
    check(loaded("c.onnx"), perceptron(2), {"x": rows(2)})
    Path("out").mkdir()
    for _ in range(2):
        session("m.onnx", trt_dump_ep_context_model=True, trt_ep_context_file_path="out", trt_ep_context_embed_mode=1)
        assert [path.name for path in Path("out").iterdir()] == ["m_ctx.onnx"]
    check(loaded("out/m_ctx.onnx"), perceptron(2), {"x": rows(2)})
    with pytest.raises(ModelRequiresCompilation):
        loaded("m.onnx")


def test_an_engine_of_another_version_or_device_is_refused(tensorrt: ModuleType) -> None:
    saved(perceptron(2), "1")
    told = attributes(onnx.load("m_ctx.onnx"))
    assert told["ep_sdk_version"].decode() == tensorrt.__version__
    with pytest.raises(EPFail, match=rf"compiled by version 9\.1 of its library, and here is {tensorrt.__version__}"):
        loaded(changed(ep_sdk_version="9.1"))
    here = told["hardware_architecture"].decode()
    for architecture in ("35", "999+"):
        with pytest.raises(EPFail, match=rf"was compiled for {architecture[:-1]}.*, and here is {here}"):
            loaded(changed(hardware_architecture=architecture))
    loaded(changed(hardware_architecture="80+"))


def test_what_tensorrt_does_not_read_is_refused() -> None:
    saved(perceptron(2), "1")
    whole = attributes(onnx.load("m_ctx.onnx"))["ep_cache_context"]
    for content in (b"junk" * 40, whole[: len(whole) // 2]):
        with pytest.raises(EPFail, match=r"does not read the engine of segment 'perceptron:first'"):
            loaded(changed(ep_cache_context=content, notes=None))


def test_a_node_as_onnxruntimes_provider_writes_it() -> None:
    """Four attributes: no source, no version, nothing to check the engine by."""
    saved(perceptron("n"), **PROFILES)
    proto = changed(**dict.fromkeys(("source", "notes", "ep_sdk_version", "partition_name", "main_context")))
    assert sorted(attributes(proto)) == ["embed_mode", "ep_cache_context", "hardware_architecture", "onnx_model_filename"]
    onnx.save(proto, "theirs.onnx")
    check(loaded("theirs.onnx"), perceptron("n"), {"x": rows(3)}, runs=2)


def test_an_engine_of_another_node_is_refused() -> None:
    saved(perceptron(2), "1")
    renamed = changed(notes=None)
    renamed.graph.input[0].name = renamed.graph.node[0].input[0] = "other"
    with pytest.raises(EPFail, match=r"reads \['x'\], and its node has \['other'\]"):
        loaded(renamed)
    retyped = changed(notes=None)
    retyped.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    with pytest.raises(EPFail, match="gives y as float32, and its node declares float16"):
        loaded(retyped)
