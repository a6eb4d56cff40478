"""What programs touch on a session beside running it: providers, fallback, assignment, tuning, the native side; plug-ins."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxgpu as ort
from onnxgpu import discovery
from onnxgpu.capi import onnxruntime_inference_collection as collection
from onnxgpu.capi import onnxruntime_pybind11_state as state
from onnxgpu.doctor import diagnosis
from onnxgpu.errors import EPFail, Fail, InvalidArgument
from onnxgpu.explain import explanation
from tests.models import model

CPU, LOOPBACK, CUDA = "CPUExecutionProvider", "LoopbackExecutionProvider", "CUDAExecutionProvider"
MODEL = model("g (float[2] x) => (float[2] y) { h = Exp(x) y = Neg(h) }")
X = np.array([0.0, 1.0], np.float32)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("ONNXGPU_STRICT", "ONNXGPU_PROVIDERS", "ONNXGPU_PROVIDERS_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in discovery.registered():
        discovery.unregister(name)


def session(providers: Any = None, **config: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    for key, value in config.items():
        options.add_session_config_entry(f"session.{key}", value)
    return ort.InferenceSession(MODEL.SerializeToString(), options, providers)


def test_class_relation() -> None:
    assert issubclass(ort.InferenceSession, collection.Session) and isinstance(session(), collection.Session)


def test_providers_are_set_anew_and_stay_if_that_fails() -> None:
    made = session([CPU])
    made.set_providers([(LOOPBACK, {"fraction": 1.0})])
    assert made.get_providers() == [LOOPBACK, CPU] == made._providers
    assert made.get_provider_options() == {LOOPBACK: {"fraction": "1.0"}, CPU: {}} == made._provider_options
    with pytest.raises(InvalidArgument):
        made.set_providers(["Nope"])
    assert made.get_providers() == [LOOPBACK, CPU]
    np.testing.assert_allclose(made.run(None, {"x": X})[0], -np.exp(X), rtol=1e-6)
    made.set_providers()
    assert made.get_providers() == session(None).get_providers()


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    """A provider that is not available on any machine."""
    cls = discovery.providers()[CUDA]
    monkeypatch.setattr(cls, "unavailable", classmethod(lambda _: "no such device"))
    return CUDA


def test_disabled_fallback_is_no_silent_cpu(absent: str) -> None:
    with pytest.warns(ort.ProviderFallbackWarning, match="no such device"):
        made = session([absent, CPU])
    with pytest.raises(EPFail, match=f"{absent} is not available: no such device"):
        made.disable_fallback()
    with pytest.raises(EPFail):
        made.set_providers([absent, CPU])
    made.enable_fallback()
    with pytest.warns(ort.ProviderFallbackWarning):
        made.set_providers([absent, CPU])
    with pytest.raises(EPFail):
        ort.InferenceSession(MODEL, providers=[absent, CPU], enable_fallback=0)
    session([CPU]).disable_fallback()


def test_session_explanation_and_doctor_agree(absent: str) -> None:
    with pytest.warns(ort.ProviderFallbackWarning) as caught:
        made = session([absent, CPU])
    assert len(caught) == 1
    told = explanation(made)
    entry = next(entry for entry in diagnosis()["providers"] if entry["name"] == absent)
    assert made.unavailable_providers == ((absent, "no such device"),)
    assert entry["available"] is False and entry["cause"] == "no such device" and entry["cause"] in str(caught[0].message)
    assert absent not in ort.get_available_providers() and absent in ort.get_all_providers()
    named = {item["name"] if isinstance(item, dict) else item for item in told["providers"]}
    assert set(made.get_providers()) <= named
    assert {node["provider"] for node in told["nodes"]} == {CPU} == set(made.placement.providers())


def test_graph_assignment() -> None:
    with pytest.raises(Fail, match='must be set to "1" to retrieve EP graph assignment information'):
        session([CPU]).get_provider_graph_assignment_info()
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.add_session_config_entry("onnxgpu.placement", "op:Neg=CPUExecutionProvider!; mode=listed")
    made = ort.InferenceSession(MODEL, options, [LOOPBACK, CPU])
    subgraphs = made.get_provider_graph_assignment_info()
    assert [(part.ep_name, [(n.name, n.domain, n.op_type) for n in part.get_nodes()]) for part in subgraphs] == [
        (LOOPBACK, [("", "", "Exp")]),
        (CPU, [("", "", "Neg")]),
    ]
    assert isinstance(subgraphs[0], ort.OrtEpAssignedSubgraph) and isinstance(subgraphs[0].get_nodes()[0], ort.OrtEpAssignedNode)


def test_tuning_dynamic_options_and_captured_graphs(caplog: pytest.LogCaptureFixture) -> None:
    made = session([CPU])
    assert made.get_tuning_results() == []
    made.set_tuning_results([])
    with caplog.at_level(logging.WARNING, "onnxgpu"):
        made.set_tuning_results([{"ep": "X", "results": {}, "validators": {}}])
        made.set_ep_dynamic_options({"a": "b"})
    assert "X has no tuning results" in caplog.text and "no provider of this session knows a" in caplog.text
    with pytest.raises(RuntimeError, match="Error in execution"):
        made.set_tuning_results([{"ep": "X", "results": {}, "validators": {}}], error_on_invalid=True)
    with pytest.raises(RuntimeError, match="No options were provided"):
        made.set_ep_dynamic_options({})
    made.release_captured_graph()
    with pytest.raises(TypeError):
        made.release_captured_graph("a")  # type: ignore[arg-type]


def test_native_side(tmp_path: Path) -> None:
    made = session([CPU])
    native = made._sess
    assert isinstance(native, state.InferenceSession) and native == made._sess
    assert [a.name for a in native.inputs_meta] == ["x"] and native.get_providers() == [CPU]
    np.testing.assert_array_equal(native.run(["y"], {"x": X}, None)[0], made.run(None, {"x": X})[0])
    binding = made.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_output("y")
    native.run_with_iobinding(binding._iobinding, None)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], made.run(None, {"x": X})[0])
    values = native.run_with_ort_values({"x": ort.OrtValue.ortvalue_from_numpy(X)._ortvalue}, ["y"], None)
    np.testing.assert_array_equal(values[0].numpy(), made.run(None, {"x": X})[0])
    assert made._model_path is None and made._model_bytes == MODEL.SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(MODEL.SerializeToString())
    assert ort.InferenceSession(path)._model_path == str(path)
    own = state.InferenceSession(state.get_default_session_options(), str(path), True, False)
    with pytest.raises(Fail, match="initialize_session"):
        own.run(None, {"x": X})
    own.initialize_session([CPU], [{}], set())
    assert own.get_providers() == [CPU] and own.is_webgpu_graph_capture_enabled() is False


PLUGIN = """
from onnxgpu.host_provider import HostProvider
from onnxgpu.provider import Refusal


class Mine(HostProvider):
    name = "MineExecutionProvider"

    def claim(self, operation):
        return Refusal("runs nothing")


PROVIDER = Mine
"""


def test_plug_in_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "provider.py"
    path.write_text(PLUGIN)
    ort.register_execution_provider_library("mine", str(path))
    assert "MineExecutionProvider" in ort.get_available_providers()
    assert "MineExecutionProvider" in [device.ep_name for device in ort.get_ep_devices()]
    made = session(["MineExecutionProvider", CPU])
    assert made.get_providers() == ["MineExecutionProvider", CPU] and made.placement.providers() == (CPU,)
    with pytest.raises(Fail, match="already registered under mine"):
        ort.register_execution_provider_library("mine", str(path))
    with pytest.raises(Fail, match="MineExecutionProvider is already registered"):
        ort.register_execution_provider_library("other", str(path))
    ort.unregister_execution_provider_library("mine")
    assert "MineExecutionProvider" not in ort.get_all_providers()
    np.testing.assert_allclose(made.run(None, {"x": X})[0], -np.exp(X), rtol=1e-6)
    with pytest.raises(Fail, match="mine was not registered"):
        ort.unregister_execution_provider_library("mine")


@pytest.mark.parametrize(
    ("location", "error", "words"),
    [
        ("/nowhere/lib.so", Fail, "Failed to load library /nowhere/lib.so with error: .*cannot open shared object file"),
        ("/nowhere/provider.py", Fail, "no such file"),
        ("no_such_module_here", Fail, "No module named"),
        ("onnxgpu.errors:Fail", InvalidArgument, "expected a subclass of onnxgpu.provider.Provider"),
    ],
)
def test_plug_ins_that_are_none(location: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ort.register_execution_provider_library("bad", location)
    assert "bad" not in discovery.registered()


def test_a_compiled_library_is_no_plug_in(tmp_path: Path) -> None:
    (tmp_path / "lib.so").touch()
    with pytest.raises(InvalidArgument, match="a provider here is a Python class"):
        ort.register_execution_provider_library("bad", str(tmp_path / "lib.so"))


def test_devices_and_compatibility(absent: str) -> None:
    (host,) = [device for device in state.get_hardware_devices() if device.type == ort.OrtHardwareDeviceType.CPU]
    details = state.get_hardware_device_ep_incompatibility_details
    assert details(CPU, host) == {"reasons_bitmask": 0, "notes": None, "error_code": 0}
    assert details(absent, host) == {"reasons_bitmask": 4, "notes": "no such device", "error_code": 0}
    with pytest.raises(InvalidArgument, match="No valid factory found"):
        details("Nope", host)
    device = next(device for device in ort.get_ep_devices() if device.ep_name == CPU)
    assert state.get_model_compatibility_for_ep_devices([device], "x") == state.OrtCompiledModelCompatibility.EP_NOT_APPLICABLE
    with pytest.raises(RuntimeError):
        state.get_model_compatibility_for_ep_devices([], "x")
    assert state.get_compatibility_info_from_model_bytes(MODEL.SerializeToString(), CPU) is None


def test_kernels_and_schemas() -> None:
    kernels = state.get_all_opkernel_def()
    softmax = [kernel for kernel in kernels if kernel.op_name == "Softmax" and kernel.domain == "" and kernel.provider == CPU]
    assert softmax[-1].version_range[1] == 2**31 - 1 and "tensor(float)" in softmax[-1].type_constraints["T"]
    assert all(kernel.version_range[0] <= kernel.version_range[1] for kernel in kernels)
    assert {kernel.provider for kernel in state.get_registered_ep_kernel_defs(CPU)} == {CPU}
    with pytest.raises(RuntimeError, match="No devices found for EP 'Nope'"):
        state.get_registered_ep_kernel_defs("Nope")
    schemas = state.get_all_operator_schema()
    assert any(schema.name == "Softmax" and schema.since_version == 13 for schema in schemas)
    assert isinstance(schemas[0], state.schemadef.OpSchema) and isinstance(kernels[0], state.opkernel.KernelDef)


class Derived(ort.InferenceSession):
    """As programs derive from it: another constructor, attributes of names that we have, and pickling of their own."""

    def __init__(self, folder: str, **others: Any) -> None:
        super().__init__(str(Path(folder) / "m.onnx"), **others)
        for name, value in (("model_path", folder), ("plan", "mine"), ("_sess", "mine")):
            setattr(self, name, value)

    def __getstate__(self) -> Any:
        return {"folder": self.model_path}

    def __setstate__(self, state: Any) -> None:
        self.__init__(state["folder"], providers=[CPU])  # type: ignore[misc]


def test_a_derived_class_may_set_any_attribute_and_pickle_itself(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(MODEL.SerializeToString())
    made: Any = Derived(str(tmp_path), providers=[CPU])
    every: list[Any] = [made, pickle.loads(pickle.dumps(made)), copy.deepcopy(made)]
    for one in every:
        seen: list[Any] = [type(one), one.model_path, one.plan, one._sess]
        assert seen == [Derived, str(tmp_path), "mine", "mine"]
        np.testing.assert_allclose(one.run(None, {"x": X})[0], -np.exp(X), rtol=1e-6)
        one.set_providers([LOOPBACK, CPU])
        assert one.get_providers() == [LOOPBACK, CPU]


class Plain(ort.InferenceSession):
    """A derived class that leaves pickling to us."""


def test_a_derived_class_stays_one_when_it_is_pickled() -> None:
    made = pickle.loads(pickle.dumps(Plain(MODEL, providers=[CPU])))
    assert type(made) is Plain and made.get_providers() == [CPU]
