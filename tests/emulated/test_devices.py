"""What providers have of a GPU, through CuPy and through PyCUDA (a stand-in of it): one set of tests for both."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxgpu as ort
from onnxgpu import knobs
from onnxgpu.devices import memory_at
from onnxgpu.doctor import diagnosis
from onnxgpu.errors import DeviceReset, InvalidArgument, OutOfMemory
from onnxgpu.provider import Spec
from onnxgpu.providers.cuda import copies, cupy_device, pycuda_driver, weights
from onnxgpu.providers.cuda import device as cuda_device
from onnxgpu.providers.cuda.cupy_device import CupyDevice
from onnxgpu.providers.cuda.device_provider import DeviceProvider
from onnxgpu.providers.cuda.provider import CUDAProvider
from onnxgpu.providers.cuda.pycuda_device import PycudaDevice
from tests.device_contract import BYTES, Arrays, Fill, Made, Memory, Several, Streams, fill_by_cupy, some
from tests.emulated import PLAIN
from tests.emulated.test_provider import CPU, CUDA, model
from tests.pycuda_programs import ENDINGS, PROGRAMS
from tests.pycuda_stand_in import MODULES
from tests.threads import in_threads

OUTCOMES = Path(__file__).parents[1] / "pycuda_stand_in" / "outcomes.json"


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch, device: Any) -> Iterator[Any]:
    """PyCUDA, as the program sees it that imports it; its contexts stay current where they were entered, and the next test begins anew."""
    for name, module in MODULES.items():
        monkeypatch.setitem(sys.modules, name, module)
    import pycuda.driver as driver

    yield driver
    gc.collect()
    device.library.cudaSetDevice(0)


@pytest.fixture(params=[CupyDevice, PycudaDevice], ids=["cupy", "pycuda"])
def made(request: pytest.FixtureRequest, device: Any, pycuda: Any) -> Iterator[Made]:
    """Makes a device: its number, and options."""
    device.configure(replace(PLAIN, lazy=True))
    yield lambda index=0, **options: request.param(index, options)
    gc.collect()


@pytest.fixture
def fill(cp: Any) -> Fill:
    return fill_by_cupy


class TestArrays(Arrays):
    def test_constants_lie_on_the_device_once(self, made: Made, device: Any) -> None:
        values = np.arange(weights.SMALLEST_SHARED, dtype=np.float32)
        first, other = made(), made()
        held = first.upload_constant(values)
        device.counters(clear=True)
        assert other.upload_constant(values.copy()) is held
        assert device.counters()["bytes_to_device"] == 0
        changed = values.copy()
        changed[777] = -1
        np.testing.assert_array_equal(other.download(other.upload_constant(changed)), changed)


class TestStreams(Streams):
    def test_large_outputs_are_not_copied_while_programs_hold_few(self, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(copies, "LENT_BYTES", 2 * copies.SMALLEST_LENT)
        gpu = made()
        array = gpu.upload(np.zeros(copies.SMALLEST_LENT, np.uint8))
        kept = []
        with gpu.launching():
            for _ in range(3):
                kept.append(gpu.download_later(array))
            gpu.settle()
        lends = isinstance(gpu, CupyDevice)
        assert [output.flags.owndata for output in kept] == [not lends, not lends, True]
        del kept[0]
        gc.collect()
        with gpu.launching():
            kept.append(gpu.download_later(array))
            gpu.settle()
        assert kept[-1].flags.owndata != lends

    def test_everything_is_waited_for(self, made: Made, fill: Fill) -> None:
        gpu = made()
        array = gpu.allocate(BYTES)
        with gpu.working():
            fill(gpu, array, 5)
        gpu.synchronize()
        pointer = ctypes.c_void_p(gpu.pointer(array))
        assert ctypes.string_at(pointer, 256) == bytes([5]) * 256


class TestSeveral(Several):
    def test_that_do_not_reach_each_other(self, made: Made, device: Any) -> None:
        device.configure(replace(PLAIN, lazy=True, peers=False))
        gpus = [made(index) for index in (0, 1)]
        assert not gpus[0].reaches(gpus[1]) and not gpus[1].reaches(gpus[0])

    def test_one_that_has_as_many_peers_as_it_may(
        self, made: Made, cp: Any, pycuda: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refused(*arguments: Any) -> None:
            raise pycuda.LogicError("too many peers") if arguments[0] not in (0, 1) else cp.cuda.runtime.CUDARuntimeError(711)

        monkeypatch.setattr(cupy_device, "_enabled", set())
        monkeypatch.setattr(cp.cuda.runtime, "deviceEnablePeerAccess", refused)
        monkeypatch.setattr(pycuda.Context, "enable_peer_access", staticmethod(refused))
        gpus = [made(index) for index in (0, 1)]
        assert not gpus[0].reaches(gpus[1])
        assert "cuda:0 cannot access the memory of cuda:1, so copies between them go through the host" in caplog.text

    def test_what_it_is(self, made: Made) -> None:
        assert made(1).identity() == ("onnxgpu emulated device", 90)


class TestMemory(Memory):
    def test_a_device_that_is_full(self, made: Made, device: Any) -> None:
        device.configure(replace(PLAIN, memory=1 << 20))
        with pytest.raises(OutOfMemory, match="does not suffice"):
            made().allocate(Spec((1 << 21,), np.dtype(np.uint8)))

    def test_it_goes_with_the_device(self, made: Made, device: Any) -> None:
        gc.collect()
        before = device.memory_used()
        gpu = made()
        array = gpu.allocate(Spec((1 << 20,), np.dtype(np.uint8)))
        assert device.memory_used() >= before + (1 << 20)
        del array, gpu
        gc.collect()
        assert device.memory_used() <= before

    def test_it_goes_with_arrays_that_outlive_the_device(self, made: Made, device: Any) -> None:
        gc.collect()
        before = device.memory_used()
        gpu = made()
        array = gpu.allocate(Spec((1 << 20,), np.dtype(np.uint8)))
        del gpu
        gc.collect()
        assert device.memory_used() >= before + (1 << 20)
        del array
        gc.collect()
        assert device.memory_used() <= before

    def test_a_fault_is_told(self, made: Made, cp: Any, device: Any) -> None:
        gpu = made()
        array = gpu.allocate(BYTES)
        kernel = cp.RawKernel('extern "C" __global__ void wild(float* x) { x[1 << 20] = 1; }', "wild")
        device.configure(replace(PLAIN, checked=True))
        try:
            kernel((1,), (1,), (cp.zeros(4, np.float32),))
            with pytest.raises(DeviceReset, match=r"(?s)on cuda:0.*the device is of no more use to this process"):
                gpu.download(array)
        finally:
            device.forget_error()


class TestPycuda:
    def test_a_stream_of_the_users(self, pycuda: Any) -> None:
        with pytest.raises(InvalidArgument, match="'user_compute_stream': PyCUDA works on no stream that it did not make"):
            PycudaDevice(0, {"user_compute_stream": 4096}).allocate(BYTES)

    def test_threads_that_are_the_first_have_one_context(self, pycuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """PyCUDA takes two for two devices, one of which is out of reach."""
        monkeypatch.setattr(pycuda_driver, "_contexts", {})
        both, found = threading.Barrier(2, timeout=10), []

        class Late(pycuda_driver.Context):
            def __init__(self, index: int) -> None:
                super().__init__(index)
                both.wait()

        monkeypatch.setattr(pycuda_driver, "Context", Late)
        in_threads(lambda _: found.append(pycuda_driver.context(0)), range(2))
        assert found[0] is found[1]

    def test_what_cannot_be_let_go_of_is_kept(self, pycuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A device that is of no more use may refuse its context, without which PyCUDA would end the process."""
        array = PycudaDevice(0, {}).upload(some())
        gc.collect()
        monkeypatch.setattr(pycuda_driver.Context, "__enter__", lambda self: pycuda.Device(-1))
        del array
        gc.collect()

    def test_it_captures_no_graphs(self, pycuda: Any) -> None:
        assert PycudaDevice(0, {"enable_cuda_graph": 1}).recorder() is None

    def test_it_leaves_the_programs_contexts_as_they_are(self, pycuda: Any) -> None:
        """The primary context that a program is in is the one that is used; else the program is in none afterwards."""
        gpu = PycudaDevice(0, {})
        assert pycuda.Context.get_current() is None
        with gpu.launching():
            gpu.upload(some())
        assert pycuda.Context.get_current() is None
        own = pycuda.Device(0).retain_primary_context()
        own.push()
        try:
            gpu.download(gpu.upload(some()))
            assert pycuda.Context.get_current() is own
        finally:
            pycuda.Context.pop()

    def test_it_is_used_where_cupy_is_not_installed(self, pycuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        assert cuda_device.library() == "cupy"
        monkeypatch.setattr(cuda_device, "find_spec", lambda name: None if name == "cupy" else find_spec(name))
        assert cuda_device.library() == "pycuda"
        monkeypatch.setenv(knobs.CUDA_LIBRARY.name, "cupy")
        assert cuda_device.library() == "cupy"

    def test_operators_need_cupy(self, pycuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(knobs.CUDA_LIBRARY.name, "pycuda")
        assert (
            CUDAProvider.unavailable()
            == "ONNXGPU_CUDA_LIBRARY=pycuda leaves out CuPy, which its operators need; only TensorRT runs without"
        )
        with pytest.warns(ort.ProviderFallbackWarning, match="only TensorRT runs without"):
            ort.InferenceSession(model("g (float[2] x) => (float[2] y) { y = Neg (x) }"), providers=[CUDA, CPU])
        monkeypatch.setenv(knobs.CUDA_LIBRARY.name, "numba")
        with pytest.raises(InvalidArgument, match="expected `cupy` or `pycuda`"):
            CUDAProvider.unavailable()

    def test_providers_of_other_kinds_have_its_memory(self, pycuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(knobs.CUDA_LIBRARY.name, "pycuda")

        class Segments(DeviceProvider):
            name = "SegmentsExecutionProvider"

        provider = Segments({"device_id": 1})
        assert isinstance(provider.device, PycudaDevice)
        np.testing.assert_array_equal(provider.download(provider.upload(some())), some())
        provider.join([])

    @pytest.mark.parametrize("is_here", [True, False])
    def test_doctor_tells(self, pycuda: Any, monkeypatch: pytest.MonkeyPatch, is_here: bool) -> None:
        if not is_here:
            monkeypatch.delitem(sys.modules, "pycuda")
        (told,) = [item for item in diagnosis()["providers"] if item["name"] == CUDA]
        (library,) = [item for item in told["libraries"] if item["name"] == "pycuda"]
        assert (library["found"], library["needed"]) == ("stand-in" if is_here else None, False)
        assert is_here or library["remedy"].startswith('pip install "onnxgpu[pycuda]"')

    def test_its_arrays_are_inputs_of_sessions(self, pycuda: Any, device: Any) -> None:
        """Through the CUDA array interface, on any device and without a copy."""
        from pycuda.gpuarray import to_gpu

        text = model("g (float[4,6] x) => (float[4,6] y) { y = Softmax (x) }")
        reference = ort.InferenceSession(text, providers=[CPU])
        for index in (0, 1):
            ours = ort.InferenceSession(text, providers=[(CUDA, {"device_id": index}), CPU])
            context = pycuda.Device(index).retain_primary_context()
            context.push()
            try:
                for seed in range(4):
                    x = to_gpu(some(seed))
                    device.counters(clear=True)
                    (y,) = ours.run(None, {"x": x})
                    assert (device.counters()["bytes_to_device"], device.counters()["bytes_to_host"]) == (0, y.nbytes)
                    np.testing.assert_allclose(y, reference.run(None, {"x": some(seed)})[0], rtol=1e-5)
                    value = ort.OrtValue.ortvalue_from_numpy(some(seed), "cuda", index)
                    assert memory_at(CUDA, index).place.index == value._get_c_value().memory.place.index == index
                    del x
            finally:
                pycuda.Context.pop()


STAND_IN = """
import sys
from dataclasses import replace
from onnxgpu.providers.cuda.emulator import install
from tests.emulated import PLAIN
from tests.pycuda_stand_in import MODULES
install().configure(replace(PLAIN, memory=256 << 20))
sys.modules.update(MODULES)
"""


def with_the_stand_in(statements: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, on two devices of 256 MiB."""
    command, places = [sys.executable, "-c", STAND_IN + statements], os.environ | {"ONNXGPU_CUDA": "emulated"}
    return subprocess.run(command, env=places, capture_output=True, text=True, timeout=120)


def test_the_interpreter_ends_with_arrays_on_the_device() -> None:
    """In no context, where PyCUDA's objects must not be destroyed."""
    found = with_the_stand_in(
        "import numpy as np\n"
        "from onnxgpu.providers.cuda.pycuda_device import PycudaDevice\n"
        "gpu = PycudaDevice(0, {})\narray = gpu.upload(np.zeros(4))\ndel gpu"
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    """Of the programs, on the stand-in."""
    found = with_the_stand_in("from tests.pycuda_programs import outcomes\nprint(outcomes())")
    assert not found.returncode, found.stderr
    return dict(json.loads(found.stdout))


class TestStandIn:
    """The stand-in refuses what PyCUDA refuses."""

    @pytest.mark.parametrize("program", [*PROGRAMS, *ENDINGS])
    def test_it_does_what_pycuda_does(self, outcomes: dict[str, Any], program: str) -> None:
        """Which `packaging/pycuda_bindings.py` wrote down."""
        expected = json.loads(OUTCOMES.read_text("utf-8"))
        assert outcomes[program] == expected[program]

    @pytest.mark.parametrize("name", ["memcpy_h2d", "Graph", "stream_flags"])
    def test_names_that_pycuda_does_not_have(self, pycuda: Any, name: str) -> None:
        with pytest.raises(AttributeError, match=name):
            getattr(pycuda, name)

    def test_names_that_it_does_not_have_itself(self, pycuda: Any) -> None:
        with pytest.raises(NotImplementedError, match=r"PyCUDA has pycuda\.driver\.memset_d8, its stand-in has not"):
            pycuda.memset_d8  # noqa: B018

    def test_arguments(self, pycuda: Any) -> None:
        with PycudaDevice(0, {}).current():
            memory = pycuda.mem_alloc(64)
            with pytest.raises(TypeError, match=r"memcpy_htod_async did not match C\+\+ signature"):
                pycuda.memcpy_htod_async(memory, np.zeros(4), on=None)
            with pytest.raises(TypeError, match="wait_for_event"):
                pycuda.Stream().wait_for_event()
            with pytest.raises(TypeError, match="no CUdeviceptr"):
                pycuda.memcpy_htod(np.zeros(4), np.zeros(4))
            with pytest.raises(TypeError, match="pycuda::stream"):
                pycuda.memcpy_htod_async(memory, np.zeros(4), 0)

    def test_without_a_context(self, pycuda: Any) -> None:
        with pytest.raises(pycuda.LogicError, match="cuMemAlloc failed: invalid device context"):
            pycuda.mem_alloc(64)
        with pytest.raises(pycuda.LogicError, match="invalid device context"):
            pycuda.Context.pop()

    def test_what_another_thread_cannot_clean_up(self, pycuda: Any) -> None:
        with PycudaDevice(0, {}).current():
            streams = [pycuda.Stream()]
            caught: list[str] = []

            def work() -> None:
                import warnings

                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    streams.clear()
                caught.extend(str(item.message) for item in told)

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert caught == ["stream in out-of-thread context could not be cleaned up"]
