"""SessionOptions and RunOptions: every field and method, side by side with onnxruntime."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import onnxgpu
from onnxgpu.ep_context import OrtEpContextData, OrtEpContextDataBuffer
from onnxgpu.ep_devices import get_ep_devices
from onnxgpu.errors import EPFail, Fail, InvalidArgument, ModelLoadCanceled, NotImplemented
from onnxgpu.options import OrtExecutionProviderDevicePolicy
from onnxgpu.providers.cpu import denormals
from onnxgpu.providers.cpu.threads import share, thread_count
from tests.models import model
from tests.side_by_side import CPU, assert_same, ort, session

ADD = "g (float[N,3] x) => (float[N,3] y) { y = Add(x, x) }"
X = np.ones((2, 3), np.float32)


def public_names(value: Any) -> set[str]:
    return {name for name in dir(value) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["SessionOptions", "RunOptions"])
def test_no_field_or_method_is_missing(name: str) -> None:
    theirs = public_names(getattr(ort, name)())
    assert theirs <= public_names(getattr(onnxgpu, name)())


@pytest.mark.parametrize("name", ["SessionOptions", "RunOptions"])
def test_defaults_are_the_same(name: str) -> None:
    theirs, ours = getattr(ort, name)(), getattr(onnxgpu, name)()
    for field in public_names(theirs):
        if not callable(getattr(theirs, field)):
            assert str(getattr(ours, field)) == str(getattr(theirs, field)), field


@pytest.mark.parametrize("key", ["", "k" * 1024, "k" * 1025])
def test_lengths_of_configuration_keys(key: str) -> None:
    def set_and_get(options: Any, kind: str) -> Any:
        getattr(options, f"add_{kind}_config_entry")(key, "v" * 5000)
        return getattr(options, f"get_{kind}_config_entry")(key)

    assert_same(lambda module: set_and_get(module.SessionOptions(), "session"))
    assert_same(lambda module: set_and_get(module.RunOptions(), "run"))


def test_options_are_copied_and_pickled_whole() -> None:
    options = onnxgpu.SessionOptions()
    options.intra_op_num_threads = 3
    options.graph_optimization_level = onnxgpu.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("a", "b")
    options.add_free_dimension_override_by_name("N", 2)
    options.add_free_dimension_override_by_denotation("DATA_BATCH", 2)
    options.add_provider("CPUExecutionProvider", {"use_arena": "1"})
    options.add_external_initializers_from_files_in_memory(["w"], [b"1234"], [2])
    for made in (copy.deepcopy(options), copy.copy(options), pickle.loads(pickle.dumps(options))):
        assert (made.intra_op_num_threads, made.graph_optimization_level) == (3, 1)
        assert (made.config_entries, made.dimension_overrides, made.denotation_overrides) == ({"a": "b"}, {"N": 2}, {"DATA_BATCH": 2})
        assert made.providers == (("CPUExecutionProvider", {"use_arena": "1"}),)
        assert bytes(made.supplied_data.files["w"]) == b"12"
    made = copy.deepcopy(options)
    made.add_session_config_entry("c", "d")
    assert options.config_entries == {"a": "b"}


def with_denotation() -> Any:
    proto = model("g (float[N,3] x, float[N,3] z) => (float[N,3] y) { y = Add(x, z) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    return proto


@pytest.mark.parametrize(("by_name", "by_denotation"), [(None, 4), (5, None), (5, 4), (4, 4)])
def test_free_dimension_overrides(by_name: int | None, by_denotation: int | None) -> None:
    def shapes(module: ModuleType) -> Any:
        options = module.SessionOptions()
        if by_name:
            options.add_free_dimension_override_by_name("N", by_name)
        if by_denotation:
            options.add_free_dimension_override_by_denotation("DATA_BATCH", by_denotation)
        made = module.InferenceSession(with_denotation().SerializeToString(), options, providers=CPU)
        return [made.get_inputs()[0].shape, made.get_outputs()[0].shape]

    assert_same(shapes)


def test_a_canceled_load_ends() -> None:
    def canceled(module: ModuleType) -> Any:
        options = module.SessionOptions()
        options.set_load_cancellation_flag(True)
        return module.InferenceSession(model(ADD).SerializeToString(), options, providers=CPU)

    assert_same_class(canceled)


def assert_same_class(program: Callable[[ModuleType], Any]) -> None:
    """The same class of error from both; the texts differ by source positions of onnxruntime."""
    with pytest.raises(Exception) as theirs:
        program(ort)
    with pytest.raises(Exception) as ours:
        program(onnxgpu)
    assert type(ours.value).__name__ == type(theirs.value).__name__


def test_a_load_is_canceled_from_another_thread() -> None:
    """The flag is set while the second of two foldable nodes waits to be folded."""
    options = onnxgpu.SessionOptions()
    calls: list[int] = []
    reached = threading.Event()
    canceled = threading.Event()
    check = type(options).check_load_not_canceled

    class Watched(onnxgpu.SessionOptions):
        def check_load_not_canceled(self) -> None:
            calls.append(1)
            if len(calls) == 3:
                reached.set()
                assert canceled.wait(10)
            check(self)

    watched = Watched()

    def cancel() -> None:
        assert reached.wait(10)
        watched.set_load_cancellation_flag(True)
        canceled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(ModelLoadCanceled, match="Graph loading canceled due to user request"):
        onnxgpu.InferenceSession(model(ADD), watched, providers=CPU)
    thread.join()
    assert len(calls) == 3
    watched.set_load_cancellation_flag(False)
    assert onnxgpu.InferenceSession(model(ADD), watched, providers=CPU).run(None, {"x": X})[0].tolist() == (X * 2).tolist()


def test_custom_operator_libraries(tmp_path: Path) -> None:
    assert_same(lambda module: module.SessionOptions().register_custom_ops_library("nope.so"))
    library = tmp_path / "ops.so"
    library.write_bytes(b"\x7fELF")
    with pytest.raises(NotImplemented, match=r"compiled against onnxruntime's C API.*Write them as a provider"):
        onnxgpu.SessionOptions().register_custom_ops_library(str(library))


def test_providers_in_the_options() -> None:
    def added(module: ModuleType) -> Any:
        options = module.SessionOptions()
        before = options.has_providers()
        options.add_provider("CPUExecutionProvider", {})
        made = module.InferenceSession(model(ADD).SerializeToString(), options)
        return [before, options.has_providers(), made.get_providers()]

    assert_same(added)
    assert_same(lambda module: module.SessionOptions().add_provider("Foo", {}))


def test_providers_given_twice_are_a_warning() -> None:
    options = onnxgpu.SessionOptions()
    options.add_provider("LoopbackExecutionProvider", {})
    with pytest.warns(UserWarning, match="SessionOptions has already been configured with providers"):
        made = onnxgpu.InferenceSession(model(ADD), options, providers=CPU)
    assert made.get_providers() == CPU


def test_options_of_an_added_provider_are_checked() -> None:
    options = onnxgpu.SessionOptions()
    options.add_provider("LoopbackExecutionProvider", {"fraction": "0"})
    assert onnxgpu.InferenceSession(model(ADD), options).get_provider_options()["LoopbackExecutionProvider"]["fraction"] == "0.0"
    options.add_provider("CPUExecutionProvider", {"nope": "1"})
    with pytest.raises(InvalidArgument, match="has no option 'nope'"):
        onnxgpu.InferenceSession(model(ADD), options)


def test_providers_by_device() -> None:
    def chosen(module: ModuleType) -> Any:
        options = module.SessionOptions()
        devices = [device for device in module.get_ep_devices() if device.ep_name == "CPUExecutionProvider"]
        options.add_provider_for_devices(devices, {})
        made = module.InferenceSession(model(ADD).SerializeToString(), options)
        return [str(devices[0].device.type), options.has_providers(), made.get_providers()]

    assert_same(chosen)
    assert_same(lambda module: module.SessionOptions().add_provider_for_devices([], {}))


@pytest.mark.parametrize("policy", ["DEFAULT", "PREFER_CPU", "PREFER_NPU", "PREFER_GPU", "MAX_EFFICIENCY"])
def test_selection_policies(policy: str) -> None:
    def chosen(module: ModuleType) -> Any:
        options = module.SessionOptions()
        options.set_provider_selection_policy(getattr(module.OrtExecutionProviderDevicePolicy, policy))
        made = module.InferenceSession(model(ADD).SerializeToString(), options)
        return [options.has_providers(), made.get_providers()[-1]]

    assert_same(chosen)


def test_a_policy_of_another_type() -> None:
    with pytest.raises(TypeError, match="OrtExecutionProviderDevicePolicy"):
        onnxgpu.SessionOptions().set_provider_selection_policy(3)  # type: ignore[arg-type]
    assert OrtExecutionProviderDevicePolicy(3).name == "PREFER_GPU"


def test_a_delegate_chooses() -> None:
    def chosen(module: ModuleType) -> Any:
        seen: list[Any] = []

        def delegate(devices: Any, metadata: Any, runtime: Any, most: int) -> Any:
            seen.extend([metadata["graph_name"], dict(runtime), most])
            return [device for device in devices if device.ep_name == "CPUExecutionProvider"]

        options = module.SessionOptions()
        options.set_provider_selection_policy_delegate(delegate)
        return [module.InferenceSession(model(ADD).SerializeToString(), options).get_providers(), *seen]

    assert_same(chosen)


@pytest.mark.parametrize("answer", [[], 5], ids=str)
def test_a_delegate_that_fails(answer: Any) -> None:
    def chosen(module: ModuleType, delegate: Any) -> Any:
        options = module.SessionOptions()
        options.set_provider_selection_policy_delegate(delegate)
        return module.InferenceSession(model(ADD).SerializeToString(), options)

    assert_same_class(lambda module: chosen(module, lambda *_: answer))

    def fail(*_: Any) -> Any:
        raise ValueError("no choice")

    assert_same_class(lambda module: chosen(module, fail))
    with pytest.raises(Fail, match="EP selection delegate failed: ValueError: no choice"):
        chosen(onnxgpu, fail)


def test_ep_devices_name_the_available_providers() -> None:
    assert [device.ep_name for device in get_ep_devices()] == onnxgpu.get_available_providers()


def thread_names(seen: set[int]) -> Callable[[int, int], None]:
    return lambda start, stop: seen.add(threading.get_ident())


def test_one_thread_does_everything() -> None:
    """Inside the session's settings, work that claims to take a second stays on the calling thread."""
    options = onnxgpu.SessionOptions()
    options.intra_op_num_threads = 1
    made = onnxgpu.InferenceSession(model(ADD), options, providers=CPU)
    seen: set[int] = set()
    with made._surroundings.entered():
        assert thread_count() == 1
        share(thread_names(seen), 64, seconds=1.0)
    assert seen == {threading.get_ident()}


def test_sessions_do_not_disturb_each_other() -> None:
    """A session with one thread runs in one Python thread while another, in its own, may use all."""
    options = onnxgpu.SessionOptions()
    options.intra_op_num_threads = 1
    limited = onnxgpu.InferenceSession(model(ADD), options, providers=CPU)
    everything = thread_count()
    counts: list[int] = []
    with limited._surroundings.entered():
        other = threading.Thread(target=lambda: counts.append(thread_count()))
        other.start()
        other.join()
        counts.append(thread_count())
    assert counts == [everything, 1]
    assert thread_count() == everything


@pytest.mark.parametrize("threads", [-1, 0, 1, 200])
def test_any_number_of_threads_runs(threads: int) -> None:
    def result(module: ModuleType) -> Any:
        options = module.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        return module.InferenceSession(model(ADD).SerializeToString(), options, providers=CPU).run(None, {"x": X})

    assert_same(result)


def test_global_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxgpu.surroundings._global_threads", None)
    options = onnxgpu.SessionOptions()
    options.use_per_session_threads = False
    with pytest.raises(Fail, match=r"call set_global_thread_pool_sizes\(\) first"):
        onnxgpu.InferenceSession(model(ADD), options, providers=CPU)
    onnxgpu.set_global_thread_pool_sizes(1, 1)
    made = onnxgpu.InferenceSession(model(ADD), options, providers=CPU)
    with made._surroundings.entered():
        assert thread_count() == 1
    with pytest.raises(Fail, match="Global thread pools have already been created"):
        onnxgpu.set_global_thread_pool_sizes(2)
    with pytest.raises(TypeError):
        onnxgpu.set_global_thread_pool_sizes("two")  # type: ignore[arg-type]


@pytest.mark.skipif(not denormals.can_flush(), reason="the control register is not known on this machine")
def test_denormals_as_zero() -> None:
    """1e-40 is a denormal of float32; after the run it is one again."""
    tiny = np.full((2, 3), 1e-40, np.float32)

    def doubled(module: ModuleType, flag: str) -> Any:
        options = module.SessionOptions()
        options.add_session_config_entry("session.set_denormal_as_zero", flag)
        options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
        made = module.InferenceSession(model(ADD).SerializeToString(), options, providers=CPU)
        return [made.run(None, {"x": tiny})[0] for _ in range(3)]

    assert_same(lambda module: doubled(module, "0"))
    assert all((result == 0).all() for result in doubled(onnxgpu, "1"))
    assert (tiny + tiny).all()


def test_models_in_onnxruntimes_format_are_refused() -> None:
    options = onnxgpu.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ORT")
    with pytest.raises(NotImplemented, match=r"does not read onnxruntime's \.ort format"):
        onnxgpu.InferenceSession(model(ADD), options, providers=CPU)


def test_disabled_optimizers_by_configuration() -> None:
    text = "g (float[3] x) => (float[3] y) { t = Identity(x)\n y = Neg(t) }"
    options = onnxgpu.SessionOptions()
    options.add_session_config_entry("optimization.disable_specified_optimizers", "EliminateIdentity;remove_identity")
    assert "Identity" in str(onnxgpu.InferenceSession(model(text), options, providers=CPU).plan)
    assert "Identity" not in str(onnxgpu.InferenceSession(model(text), providers=CPU).plan)


def test_strict_fallback_entry_reaches_added_providers() -> None:
    options = onnxgpu.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider("CoreMLExecutionProvider", {})
    with pytest.raises(EPFail, match="CoreMLExecutionProvider"):
        onnxgpu.InferenceSession(model(ADD), options)


@pytest.mark.parametrize("size", [0, 5, -5])
def test_functions_for_compiled_data(size: int) -> None:
    def registered(module: ModuleType, function: Any) -> Any:
        options = module.SessionOptions()
        options.set_ep_context_data_read_func(read_func=function, max_data_size=size)
        options.clear_ep_context_data_read_func()

    def program(function: Any) -> Callable[[ModuleType], Any]:
        return lambda module: registered(module, function)

    for function in (lambda name, buffer: None, None, 3):
        assert_same_or_both_raise(program(function))


def assert_same_or_both_raise(program: Callable[[ModuleType], Any]) -> None:
    try:
        program(ort)
    except Exception:
        assert_same_class(program)
    else:
        program(onnxgpu)


def test_compiled_data_is_lent_in_ranges() -> None:
    data = OrtEpContextData(b"0123456789")
    with data.lent():
        assert (data.size, data.read(), data.read(2, 3), data.read(8)) == (10, b"0123456789", b"234", b"89")
        with pytest.raises(ValueError, match="5 bytes from 8 are not within the 10"):
            data.read(8, 5)
    with pytest.raises(ValueError, match="only during the callback"):
        data.read()


def test_compiled_data_is_written_once() -> None:
    buffer = OrtEpContextDataBuffer(4)
    with pytest.raises(ValueError, match="allocate"):
        buffer.write(b"1")
    with pytest.raises(ValueError, match="5 bytes were asked for"):
        buffer.allocate(5)
    buffer.allocate(3)
    buffer.write(np.frombuffer(b"bc", np.uint8), offset=1)
    buffer.write(b"a")
    assert (buffer.is_allocated, buffer.size, buffer.max_size) == (True, 3, 4)
    with pytest.raises(ValueError, match="called once"):
        buffer.allocate(1)
    with pytest.raises(ValueError, match="not within"):
        buffer.write(b"xy", offset=2)
    assert buffer.finish() == b"abc"


def test_a_session_without_settings_of_its_own_enters_nothing() -> None:
    assert session(onnxgpu, model(ADD))._is_plain
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert onnxgpu.InferenceSession(model(ADD), providers=CPU)._is_plain
