"""How engines are built and kept, and what is said where they cannot be."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu.errors import EPFail, InvalidArgument, ModelLoadCanceled
from onnxgpu.providers.segments.cache import head_of
from onnxgpu.providers.tensorrt import stand_in
from tests.models import perceptron
from tests.tensorrt.sessions import SEGMENT, built, check, on_cpu, rows, session, steps

pytestmark = pytest.mark.usefixtures("tensorrt")


def test_weights_are_handed_over_where_they_lie() -> None:
    session(perceptron(2))
    calls = [call.member for call in stand_in.recorded()]
    assert calls.count("load_initializer") >= 2 and "parse_model_proto" in calls and "parse" not in calls


def test_engines_are_kept_and_found_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(tmp_path), "trt_engine_cache_prefix": "mine"}
    check(session(perceptron(2), **options), perceptron(2), {"x": rows(2)})
    assert built() == 1
    (kept,) = tmp_path.glob("mine_*.engine")
    check(session(perceptron(2), **options), perceptron(2), {"x": rows(2)})
    assert built() == 1
    session(perceptron(2), trt_builder_optimization_level=4, **options)
    assert built() == 2 and kept.exists()


def test_engines_without_weights_get_them_from_the_model(tmp_path: Path) -> None:
    sizes = []
    for stripped in (False, True):
        folder = tmp_path / str(stripped)
        options: dict[str, Any] = {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(folder),
            "trt_weight_stripped_engine_enable": stripped,
        }
        for _ in range(2):
            check(session(perceptron(2), **options), perceptron(2), {"x": rows(2)})
        sizes.append(sum(file.stat().st_size for file in folder.glob("*.engine")))
    assert sizes[1] < sizes[0] / 4
    assert built() == 2


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
        self.reports.error("IBuilder::buildSerializedNetwork", "Could not find any implementation for node {first}", "INTERNAL_ERROR")

    monkeypatch.setattr(Builder, "build_serialized_network", fails)
    with pytest.raises(EPFail, match=r"does not build an engine for .*Could not find any implementation for node \{first\}"):
        session(perceptron(2))


def test_another_process_finds_the_engines(tmp_path: Path) -> None:
    program = """if True:
        import sys
        from tests.models import perceptron
        from tests.tensorrt.sessions import built, check, rows, session

        check(session(perceptron(2), trt_engine_cache_enable=True, trt_engine_cache_path=sys.argv[1]), perceptron(2), {"x": rows(2)})
        print(built())
    """
    command = [sys.executable, "-c", program, str(tmp_path)]
    ran = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    assert [text.split() for text in ran] == [["1"], ["0"]]


def test_an_engine_is_built_in_a_process_of_its_own() -> None:
    made = session(perceptron(2), trt_build_in_process=True)
    assert built() == 0
    check(made, perceptron(2), {"x": rows(2)})


def test_weights_are_streamed_within_a_budget() -> None:
    made = session(perceptron(2), trt_weight_streaming_budget=16384)
    check(made, perceptron(2), {"x": rows(2)}, runs=2)
    assert [call.text for call in stand_in.recorded() if call.member == "weight_streaming_budget_v2" and call.text] == [" = 16384"]


def test_an_engine_with_streamed_weights_is_in_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.tensorrt.stand_in import gpu

    captured: list[int] = []
    plain = gpu.is_capturing

    def is_capturing(stream: int) -> bool:
        if plain(stream):
            captured.append(stream)
        return plain(stream)

    monkeypatch.setattr(gpu, "is_capturing", is_capturing)
    made = session(perceptron(2), trt_weight_streaming_budget=16384, trt_cuda_graph_enable=True)
    check(made, perceptron(2), {"x": rows(2)}, runs=5)
    assert not captured
    made = session(perceptron(2), trt_weight_streaming_budget=1 << 30, trt_cuda_graph_enable=True)
    check(made, perceptron(2), {"x": rows(2)}, runs=5)
    assert captured


def test_an_engine_without_weights_has_no_budget() -> None:
    text = "g (float[2,3] x) => (float[2,3] y) { a = Relu (x)  y = Neg (a) }"
    check(session(text, trt_weight_streaming_budget=16384), text, {"x": rows(2, 3)})
    assert not [call for call in stand_in.recorded() if call.member == "weight_streaming_budget_v2"]


def test_a_budget_that_tensorrt_does_not_take_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.tensorrt.stand_in.engine import Engine

    monkeypatch.setattr(Engine, "get_weight_streaming_automatic_budget", lambda self: -5)
    with pytest.raises(InvalidArgument, match=r"'trt_weight_streaming_budget': -5 of .* bytes for .*: .*is negative"):
        session(perceptron(2), trt_weight_streaming_budget=-1)


def test_operators_of_plugins(tmp_path: Path) -> None:
    library = tmp_path / "libplugin.so"
    library.write_text('<opset_import: ["" : 18], domain: "trt.plugins"> MyRelu (x) => (y) { y = Relu (x) }')
    proto = perceptron(2)
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "MyRelu", "trt.plugins"
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("b", 1, [2, 64]))
    proto.opset_import.append(onnx.helper.make_opsetid("trt.plugins", 1))
    with pytest.raises(onnxgpu.OnnxGpuError, match=r"trt\.plugins"):
        session(proto)
    made = session(proto, trt_extra_plugin_lib_paths=str(library))
    assert steps(made) == ["transfer Tensorrt", SEGMENT, "transfer Tensorrt"]
    np.testing.assert_allclose(made.run(None, {"x": rows(2)})[0], on_cpu(perceptron(2), {"x": rows(2)})[0], rtol=1e-5, atol=1e-5)


def test_a_gpu_without_dla_says_so_and_runs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "onnxgpu"):
        made = session(perceptron(2), trt_dla_enable=True, trt_dla_core=1)
    assert any("this device has 0 DLA cores: the GPU runs all" in record.getMessage() for record in caplog.records)
    check(made, perceptron(2), {"x": rows(2)})


def test_options_reach_the_builder(tensorrt: ModuleType) -> None:
    session(
        perceptron(2),
        trt_max_workspace_size=1 << 20,
        trt_builder_optimization_level=2,
        trt_auxiliary_streams=1,
        trt_engine_hw_compatible=True,
        trt_sparsity_enable=True,
        trt_tactic_sources="-JIT_CONVOLUTIONS",
        trt_preview_features="ALIASED_PLUGIN_IO_10_03",
        trt_detailed_build_log=True,
    )
    calls = {str(call) for call in stand_in.recorded() if call.type == "IBuilderConfig"}
    detailed = int(tensorrt.ProfilingVerbosity.DETAILED)
    for expected in (
        "IBuilderConfig.set_memory_pool_limit(<MemoryPoolType.WORKSPACE: 0>, 1048576)",
        "IBuilderConfig.builder_optimization_level = 2",
        "IBuilderConfig.max_aux_streams = 1",
        "IBuilderConfig.hardware_compatibility_level = <HardwareCompatibilityLevel.AMPERE_PLUS: 1>",
        f"IBuilderConfig.profiling_verbosity = <ProfilingVerbosity.DETAILED: {detailed}>",
    ):
        assert expected in calls
    assert {text.split("<")[1].split(":")[0] for text in calls if ".set_flag" in text} == {"BuilderFlag.SPARSE_WEIGHTS"}
    assert any("set_tactic_sources" in text for text in calls) and any("set_preview_feature" in text for text in calls)


def test_what_tensorrt_does_not_read_is_built_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(tmp_path)}
    session(perceptron(2), **options)
    (file,) = tmp_path.glob("*.engine")
    file.write_bytes(head_of(b"of another TensorRT") + b"of another TensorRT")
    with caplog.at_level(logging.WARNING, "onnxgpu"):
        check(session(perceptron(2), **options), perceptron(2), {"x": rows(2)})
    assert built() == 2
    assert any("does not read the engine of perceptron:first: " in record.getMessage() for record in caplog.records)


def test_a_build_that_is_cancelled_ends_at_tensorrts_next_step() -> None:
    from onnxgpu.model_file.operation_proto import CutModel
    from onnxgpu.providers.cuda import device
    from onnxgpu.providers.tensorrt.build import BuildRequest, build
    from onnxgpu.providers.tensorrt.settings import BuildSettings

    reported: list[tuple[str, int, int]] = []

    def report(phase: str, step: int, steps: int) -> bool:
        reported.append((phase, step, steps))
        return len(reported) < 3

    device.cupy()
    with pytest.raises(ModelLoadCanceled, match="the build of it was cancelled"):
        build(BuildRequest("it", CutModel(perceptron(2), {}), (), BuildSettings()), report)
    assert len(reported) == 3 and all(0 <= step <= steps for _, step, steps in reported)


def test_an_interrupt_ends_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.providers.segments import builds

    def interrupted(self: builds.Build[Any], deadline: float | None = None) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(builds.Build, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session(perceptron(2))
    for thread in tuple(builds._running):
        thread.join(30)
        assert not thread.is_alive()
