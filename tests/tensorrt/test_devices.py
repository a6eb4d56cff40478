"""TensorRT on several GPUs in one session, and on a GPU whose arrays are PyCUDA's (a stand-in of it)."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import onnxgpu
from onnxgpu import knobs
from onnxgpu.devices import memory_at
from onnxgpu.providers.cuda.provider import CUDAProvider
from onnxgpu.providers.cuda.pycuda_device import PycudaDevice
from onnxgpu.providers.tensorrt.provider import TensorrtProvider
from tests.emulated import PLAIN
from tests.models import model
from tests.pycuda_stand_in import MODULES
from tests.tensorrt.sessions import CPU, CUDA, TENSORRT

LAYERS = """g (float[n,40] x) => (float[n,40] y, float[n,40] z) {
    [a] a = Softmax (x) [b] b = Relu (a) [c] c = Neg (b) [d] d = Add (c, a) [y] y = Softmax (d) [z] z = Sigmoid (c) }"""


def layers(seed: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((5, 40)).astype(np.float32)}


def session(providers: list[Any], placement: str = "") -> onnxgpu.InferenceSession:
    options = onnxgpu.SessionOptions()
    options.add_free_dimension_override_by_name("n", 5)
    options.add_session_config_entry("onnxgpu.placement", f"{placement}; mode=listed")
    return onnxgpu.InferenceSession(model(LAYERS).SerializeToString(), options, providers=providers)


def check(made: onnxgpu.InferenceSession, place: int) -> None:
    """Results are the CPU's, those left on a device as well."""
    reference = onnxgpu.InferenceSession(model(LAYERS).SerializeToString(), providers=[CPU])
    for seed in range(4):
        expected = reference.run(None, layers(seed))
        binding = made.io_binding()
        binding.bind_ortvalue_input("x", onnxgpu.OrtValue.ortvalue_from_numpy(layers(seed)["x"], "cuda", place))
        for name in ("y", "z"):
            binding.bind_output(name, "cuda", place)
        made.run_with_iobinding(binding)
        for found in (made.run(None, layers(seed)), [value.numpy() for value in binding.get_outputs()]):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=[False, True], ids=["eager", "lazy"])
def lazy(request: pytest.FixtureRequest, tensorrt: Any, emulated: Any) -> Any:
    emulated.configure(replace(PLAIN, lazy=request.param))
    return emulated


@pytest.mark.parametrize("graphs", [False, True])
def test_two_gpus(lazy: Any, graphs: bool) -> None:
    options = {"trt_cuda_graph_enable": graphs}
    providers = [(TENSORRT, options), (TENSORRT, {"device_id": 1, **options}), CUDA, CPU]
    made = session(providers, f"name:c={TENSORRT}:1!; name:z={TENSORRT}:1")
    assert [step.provider.label for step in made.plan.steps if not step.is_transfer].count(f"{TENSORRT}:1") == 1
    assert {str(slot.place) for slot in made.plan.slots} >= {"cuda:0", "cuda:1"}
    for place in (0, 1):
        check(made, place)


def test_a_session_on_one_with_values_on_the_other(lazy: Any) -> None:
    check(session([(TENSORRT, {"device_id": 1}), CPU]), 0)


@pytest.fixture
def pycuda(lazy: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, module in MODULES.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv(knobs.CUDA_LIBRARY.name, "pycuda")
    memory_at.cache_clear()  # a process has one library
    yield
    memory_at.cache_clear()
    gc.collect()
    lazy.library.cudaSetDevice(0)  # its contexts stay current where they were entered


@pytest.mark.usefixtures("pycuda")
class TestPycuda:
    @pytest.mark.parametrize("index", [0, 1])
    def test_a_session(self, index: int) -> None:
        made = session([(TENSORRT, {"device_id": index}), CPU])
        (segment,) = [step for step in made.plan.steps if not step.is_transfer]
        assert isinstance(segment.provider, TensorrtProvider) and isinstance(segment.provider.device, PycudaDevice)
        for place in (0, 1):
            check(made, place)

    def test_two_gpus(self) -> None:
        check(session([TENSORRT, f"{TENSORRT}:1", CPU], f"name:c={TENSORRT}:1!; name:z={CPU}"), 1)

    def test_what_is_there(self) -> None:
        assert TensorrtProvider.unavailable() is None
        assert CUDAProvider.unavailable() is not None
        assert "pycuda" in {library.name for library in TensorrtProvider.libraries()}
