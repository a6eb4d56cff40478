"""Builds of the stand-in: what a builder refuses, tells and keeps, and what becomes of an engine's bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from tests.emulated import PLAIN
from tests.tensorrt.engines import Profile, Run, Trt, model_of

EXP = "g (float[4] x) => (float[4] y) { t = Exp (x)\n y = Neg (t) }"


def add(weights: np.ndarray) -> onnx.ModelProto:
    model = model_of(f"g (float[2,{weights.shape[1]}] x) => (float[2,{weights.shape[1]}] y) {{ t = Add (x, w)\n y = Neg (t) }}")
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return model


def monitor_of(trt: Trt, *, cancel_at: str = "", fails: bool = False) -> Any:
    module: Any = trt.module

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.open: list[str] = []
            self.told: list[tuple[str, str | None, int]] = []
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            assert parent_phase == (self.open[-1] if self.open else None) and num_steps > 0
            self.open.append(phase_name)
            self.told.append((phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            assert phase_name == self.open[-1] and step == self.steps.get(phase_name, 0)
            self.steps[phase_name] = step + 1
            if fails and phase_name == cancel_at:
                raise ValueError("stop")
            return phase_name != cancel_at

        def phase_finish(self, phase_name: str) -> None:
            assert self.open.pop() == phase_name

    return Monitor()


def test_phases_are_nested(trt: Trt) -> None:
    monitor = monitor_of(trt)
    assert trt.serialized(model_of(EXP), configure=lambda config: setattr(config, "progress_monitor", monitor)) is not None
    assert not monitor.open and len(monitor.told) > 2
    assert all(monitor.steps[name] == steps for name, _, steps in monitor.told)


@pytest.mark.parametrize("fails", [False, True])
def test_a_monitor_ends_a_build(trt: Trt, fails: bool) -> None:
    monitor = monitor_of(trt, cancel_at="Timing Runners", fails=fails)
    assert trt.serialized(model_of(EXP), configure=lambda config: setattr(config, "progress_monitor", monitor)) is None
    assert not monitor.open and monitor.steps["Timing Runners"] == 1
    assert "canceled" in trt.errors()[-1]


def test_the_timing_cache_is_filled_and_kept(trt: Trt) -> None:
    kept: list[Any] = []

    def configure(config: Any) -> None:
        cache = config.create_timing_cache(b"" if not kept else kept[0])
        assert config.set_timing_cache(cache, False)
        kept.append(cache)

    trt.serialized(model_of(EXP), configure=configure)
    kept[:] = [bytes(kept[0].serialize())]

    def must_hit(config: Any) -> None:
        configure(config)
        config.set_flag(trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)

    assert trt.serialized(model_of(EXP), configure=must_hit) is None, "the flag is part of a key"
    config = trt.Builder(trt.logger).create_builder_config()
    cache = config.create_timing_cache(kept[0])
    keys = cache.queryKeys()
    assert len(keys) == 2 and cache.query(keys[0]).timingMSec > 0
    assert str(trt.TimingCacheKey.parse(str(keys[0]))) == str(keys[0])
    other = config.create_timing_cache(b"")
    assert other.combine(cache, False) and len(other.queryKeys()) == 2 and other.reset() and not other.queryKeys()
    assert config.create_timing_cache(b"rubbish") is None and trt.errors()


def test_a_timing_cache_of_another_gpu(trt: Trt, emulated: Any) -> None:
    config = trt.Builder(trt.logger).create_builder_config()
    content = bytes(config.create_timing_cache(b"").serialize())
    emulated.configure(replace(PLAIN, capability=80))
    cache = config.create_timing_cache(content)
    assert not config.set_timing_cache(cache, False) and "capability 9.0" in trt.errors()[-1]
    assert config.set_timing_cache(cache, True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["EXCLUDE_LEAN_RUNTIME"], "EXCLUDE_LEAN_RUNTIME needs VERSION_COMPATIBLE"),
        (["REFIT", "REFIT_IDENTICAL"], "exclude each other"),
    ],
)
def test_flags_that_do_not_go_together(trt: Trt, flags: list[str], words: str) -> None:
    def configure(config: Any) -> None:
        for name in flags:
            config.set_flag(getattr(trt.BuilderFlag, name))

    assert trt.serialized(model_of(EXP), configure=configure) is None
    assert words in trt.errors()[0]


def test_precision_flags_of_strongly_typed_networks(trt: Trt) -> None:
    if trt.version != "10.13":
        assert not hasattr(trt.BuilderFlag, "FP16")
        return
    assert trt.serialized(model_of(EXP), configure=lambda config: config.set_flag(trt.BuilderFlag.FP16)) is None
    assert "not allowed for strongly typed networks" in trt.errors()[0]


def test_defaults(trt: Trt) -> None:
    config = trt.Builder(trt.logger).create_builder_config()
    assert config.get_flag(trt.BuilderFlag.TF32), "which TensorRT has on unless it is told otherwise"
    config.clear_flag(trt.BuilderFlag.TF32)
    assert config.flags == 0 and config.builder_optimization_level == 3
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 20)
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 1 << 20
    config.set_memory_pool_limit(trt.MemoryPoolType.DLA_MANAGED_SRAM, 5000)
    assert "no power of 2" in trt.errors()[0]
    assert not config.set_tactic_sources(1 << 20) and trt.errors()
    config.set_preview_feature(trt.PreviewFeature.RUNTIME_ACTIVATION_RESIZE_10_10, True)
    assert config.get_preview_feature(trt.PreviewFeature.RUNTIME_ACTIVATION_RESIZE_10_10)
    config.reset()
    assert config.get_flag(trt.BuilderFlag.TF32)


def test_profiles_that_do_not_fit(trt: Trt) -> None:
    model = model_of("g (float[n,3] x) => (float[n,3] y) { y = Neg (x) }")
    assert trt.serialized(model, Profile({"x": ((1, 4), (1, 4), (1, 4))})) is None
    assert "does not match network definition [-1, 3]" in trt.errors()[0]
    assert trt.serialized(model, Profile({"x": ((1, 3),) * 3, "z": ((1,),) * 3})) is None
    assert "names no input" in trt.errors()[0]
    profile = trt.Builder(trt.logger).create_optimization_profile()
    with pytest.raises(RuntimeError, match=r"Shape provided for opt is inconsistent with other shapes."):
        profile.set_shape("x", (2, 3), (1, 3), (4, 3))
    assert not profile and trt.errors() and profile.get_shape("x") == []


# ---- bytes


def test_other_bytes_are_refused(trt: Trt) -> None:
    content = bytes(trt.serialized(model_of(EXP)))
    for wrong, words in ((b"", "Magic tag"), (content[:-3], "Trying to read"), (content[:-3] + b"abc", "damaged")):
        assert trt.runtime.deserialize_cuda_engine(wrong) is None
        assert words in trt.errors()[0]


def test_an_engine_of_another_version(trt: Trt) -> None:
    content = bytes(trt.serialized(model_of(EXP)))
    number = trt.module.__version__.encode()
    assert trt.runtime.deserialize_cuda_engine(content.replace(number, number[:-1] + b"7", 1)) is None
    (line,) = trt.errors()
    assert "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match." in line


@pytest.mark.parametrize(("level", "runs_on"), [("NONE", {90}), ("AMPERE_PLUS", {80, 90}), ("SAME_COMPUTE_CAPABILITY", {90})])
def test_an_engine_of_another_gpu(trt: Trt, emulated: Any, level: str, runs_on: set[int]) -> None:
    def configure(config: Any) -> None:
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)

    serialized = trt.serialized(model_of(EXP), configure=configure)
    for capability in (75, 80, 90):
        emulated.configure(replace(PLAIN, capability=capability))
        assert (trt.runtime.deserialize_cuda_engine(serialized) is not None) == (capability in runs_on)
    assert any("expecting compute 9.0 got compute 8.0" in line or level == "AMPERE_PLUS" for line in trt.errors())


def test_an_engine_from_a_stream(trt: Trt) -> None:
    content = bytes(trt.serialized(model_of(EXP)))

    module: Any = trt.module

    class Reader(module.IStreamReaderV2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IStreamReaderV2.__init__(self)
            self.at = 0

        def read(self, num_bytes: int, stream: int) -> bytes:
            part = content[self.at : self.at + min(100, num_bytes)]
            self.at += len(part)
            return part

        def seek(self, offset: int, where: Any) -> bool:
            self.at = offset
            return True

    engine = trt.runtime.deserialize_cuda_engine(Reader())
    assert engine is not None and bytes(engine.serialize()) == content


def test_layers_as_far_as_the_verbosity_goes(trt: Trt) -> None:
    def configure(config: Any) -> None:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED

    engine = trt.engine(model_of(EXP), configure=configure)
    inspector = engine.create_engine_inspector()
    assert '"LayerType": "Exp"' in inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    assert "Neg" in inspector.get_layer_information(1, trt.LayerInformationFormat.ONELINE)
    assert engine.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    names_only = trt.engine(model_of(EXP)).create_engine_inspector()
    assert "Exp" not in names_only.get_layer_information(0, trt.LayerInformationFormat.JSON)


# ---- weights


WEIGHTS = np.arange(6000, dtype=np.float32).reshape(2, 3000)


def refittable(config: Any) -> None:
    import tensorrt

    config.set_flag(tensorrt.BuilderFlag.REFIT)


def test_weights_are_changed(trt: Trt) -> None:
    engine = trt.engine(add(WEIGHTS), configure=refittable)
    assert engine.refittable
    run = Run(trt, engine, {"x": np.zeros((2, 3000), np.float32)})
    assert (run.results()[0] == -WEIGHTS).all()
    refitter = trt.Refitter(engine, trt.logger)
    assert refitter.get_all_weights() == ["w"] and refitter.get_missing_weights() == []
    prototype = refitter.get_weights_prototype("w")
    assert (prototype.dtype, prototype.size) == (trt.DataType.FLOAT, 6000) and refitter.get_weights_prototype("v").size == -1
    assert not refitter.set_named_weights("w", trt.Weights(np.zeros(3, np.float32))) and not refitter.set_named_weights("v", WEIGHTS)
    trt.errors()
    other = WEIGHTS + 1
    assert refitter.set_named_weights("w", trt.Weights(other))
    assert (run.results()[0] == -WEIGHTS).all()
    assert refitter.refit_cuda_engine()
    assert (run.results()[0] == -other).all()
    again = trt.runtime.deserialize_cuda_engine(engine.serialize())
    assert (Run(trt, again, {"x": np.zeros((2, 3000), np.float32)}).results()[0] == -other).all()


def test_stripped_weights_come_back_from_the_model(trt: Trt) -> None:
    full = trt.serialized(add(WEIGHTS))
    stripped = trt.serialized(add(WEIGHTS), configure=lambda config: config.set_flag(trt.BuilderFlag.STRIP_PLAN))
    assert stripped.nbytes < full.nbytes - WEIGHTS.nbytes // 2
    engine = trt.runtime.deserialize_cuda_engine(stripped)
    refitter = trt.Refitter(engine, trt.logger)
    assert refitter.get_missing_weights() == ["w"]
    parser = trt.OnnxParserRefitter(refitter, trt.logger)
    assert parser.refit_from_bytes(add(WEIGHTS).SerializeToString()), trt.errors()
    assert refitter.refit_cuda_engine()
    assert (Run(trt, engine, {"x": np.zeros((2, 3000), np.float32)}).results()[0] == -WEIGHTS).all()
    again = trt.runtime.deserialize_cuda_engine(engine.serialize())
    assert again.refittable == (trt.version == "10.13")
    assert (Run(trt, again, {"x": np.zeros((2, 3000), np.float32)}).results()[0] == -WEIGHTS).all()
    if hasattr(trt.SerializationFlag, "INCLUDE_REFIT"):
        config = engine.create_serialization_config()
        config.set_flag(trt.SerializationFlag.INCLUDE_REFIT)
        assert trt.runtime.deserialize_cuda_engine(engine.serialize_with_config(config)).refittable


def test_stripped_weights_come_back_by_reference(trt: Trt) -> None:
    engine = trt.engine(add(WEIGHTS), configure=lambda config: config.set_flag(trt.BuilderFlag.STRIP_PLAN))
    model = add(WEIGHTS)
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    refitter = trt.Refitter(engine, trt.logger)
    parser = trt.OnnxParserRefitter(refitter, trt.logger)
    assert parser.load_model_proto(model.SerializeToString())
    assert parser.load_initializer("w", WEIGHTS.ctypes.data, WEIGHTS.nbytes) and parser.refit_model_proto(), trt.errors()
    run = Run(trt, engine, {"x": np.zeros((2, 3000), np.float32)})
    assert refitter.refit_cuda_engine_async(run.stream.ptr)
    assert (run.results()[0] == -WEIGHTS).all()


def test_another_model_does_not_refit(trt: Trt) -> None:
    engine = trt.engine(add(WEIGHTS), configure=refittable)
    parser = trt.OnnxParserRefitter(trt.Refitter(engine, trt.logger), trt.logger)
    assert not parser.refit_from_bytes(add(WEIGHTS[:, :7]).SerializeToString())
    assert parser.get_error(0).code() == trt.ErrorCode.REFIT_FAILED


def test_serialised_without_weights(trt: Trt) -> None:
    engine = trt.engine(add(WEIGHTS), configure=refittable)
    config = engine.create_serialization_config()
    config.set_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
    bare = engine.serialize_with_config(config)
    assert bare.nbytes < engine.serialize().nbytes - WEIGHTS.nbytes // 2
    assert trt.Refitter(trt.runtime.deserialize_cuda_engine(bare), trt.logger).get_missing_weights() == ["w"]


def test_streamed_weights(trt: Trt) -> None:
    engine = trt.engine(add(WEIGHTS), configure=lambda config: config.set_flag(trt.BuilderFlag.WEIGHT_STREAMING))
    assert engine.streamable_weights_size == WEIGHTS.nbytes == engine.weight_streaming_budget_v2
    before = engine.device_memory_size_v2
    engine.weight_streaming_budget_v2 = 1000
    assert engine.weight_streaming_budget_v2 == 1000 and engine.device_memory_size_v2 > before
    assert (Run(trt, engine, {"x": np.zeros((2, 3000), np.float32)}).results()[0] == -WEIGHTS).all()
