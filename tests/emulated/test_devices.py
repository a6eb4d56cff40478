"""What providers have of a GPU, through CuPy and through PyCUDA (a stand-in of it): one set of tests for both."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import onnxgpu as ort
from onnxgpu import knobs
from onnxgpu.devices import memory_at
from onnxgpu.dlpack import Borrowed
from onnxgpu.doctor import diagnosis
from onnxgpu.errors import DeviceReset, InvalidArgument, NotImplemented, OutOfMemory
from onnxgpu.provider import Spec
from onnxgpu.providers.cuda import cupy_device, weights
from onnxgpu.providers.cuda import device as cuda_device
from onnxgpu.providers.cuda.copies import STAGED_BYTES
from onnxgpu.providers.cuda.cupy_device import CupyDevice
from onnxgpu.providers.cuda.device_provider import DeviceProvider
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.cuda.provider import CUDAProvider
from onnxgpu.providers.cuda.pycuda_device import PycudaDevice
from tests.emulated import PLAIN
from tests.emulated.test_provider import CPU, CUDA, model
from tests.pycuda_stand_in import MODULES

Made = Callable[..., Gpu]
FLOATS = Spec((4, 6), np.dtype(np.float32))
BYTES = Spec((256,), np.dtype(np.uint8))


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


def some(seed: int = 0, spec: Spec = FLOATS) -> np.ndarray:
    return np.random.default_rng(seed).random(spec.shape).astype(spec.dtype)


def fill(gpu: Gpu, array: Any, value: int) -> None:
    """What a kernel would do: set bytes, on the stream that the thread launches on."""
    from onnxgpu.providers.cuda.emulator import install

    with gpu.current():
        code = install().library.cudaMemsetAsync(
            ctypes.c_void_p(gpu.pointer(array)), value, ctypes.c_size_t(array.nbytes), ctypes.c_void_p(gpu.current_stream())
        )
    assert code == 0


class TestArrays:
    @pytest.mark.parametrize("shape", [(4, 6), (), (1,), (0, 3)])
    @pytest.mark.parametrize("dtype", [np.float32, np.int64, bool, np.complex64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
    def test_there_and_back(self, made: Made, shape: tuple[int, ...], dtype: Any) -> None:
        gpu, values = made(), np.asarray(np.random.default_rng(0).random(shape) * 8).astype(dtype)
        array = gpu.upload(values)
        assert (tuple(array.shape), array.dtype, array.nbytes, array.size) == (shape, np.dtype(dtype), values.nbytes, values.size)
        assert array.flags.c_contiguous
        back = gpu.download(array)
        assert (back.dtype, back.shape) == (values.dtype, values.shape)
        np.testing.assert_array_equal(back.astype(np.complex64), values.astype(np.complex64))

    def test_strided_arrays_of_the_host(self, made: Made) -> None:
        gpu, values = made(), some(0, Spec((6, 8), np.dtype(np.float32)))
        np.testing.assert_array_equal(gpu.download(gpu.upload(values.T[::2])), values.T[::2])

    def test_more_than_is_staged(self, made: Made) -> None:
        gpu, values = made(), np.arange(STAGED_BYTES // 4 + 3, dtype=np.uint32)
        array = gpu.upload(values)
        values += 1
        np.testing.assert_array_equal(gpu.download(array) + 1, values)

    def test_copies_into_what_is_there(self, made: Made) -> None:
        gpu, first, second = made(), some(1), some(2)
        target = gpu.allocate(FLOATS)
        for source in (first, gpu.upload(second)):
            gpu.copy_into(target, source)
            np.testing.assert_array_equal(gpu.download(target), first if source is first else second)
        host = np.empty_like(first)
        gpu.download_into(host, target)
        np.testing.assert_array_equal(host, second)

    def test_views_and_who_shares_memory(self, made: Made) -> None:
        gpu, values = made(), np.arange(64, dtype=np.float32)
        memory = gpu.upload(values.view(np.uint8))
        first, second, third = (gpu.view(memory, offset, Spec((8,), np.dtype(np.float32))) for offset in (0, 16, 64))
        np.testing.assert_array_equal(gpu.download(second), values[4:12])
        assert gpu.pointer(second) == gpu.pointer(memory) + 16
        assert gpu.shares_memory(first, second) and gpu.shares_memory(memory, third)
        assert not gpu.shares_memory(first, third)
        assert not gpu.shares_memory(values, first) and not gpu.shares_memory(first, gpu.upload(values))

    def test_memory_of_others(self, made: Made) -> None:
        gpu, values = made(), some(3)
        array = gpu.upload(values)
        over = gpu.wrap(gpu.pointer(array), FLOATS, array)
        del array
        gc.collect()
        gpu.allocate(FLOATS)
        np.testing.assert_array_equal(gpu.download(over), values)
        assert gpu.index_at(gpu.pointer(over)) == 0

    @pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
    def test_dlpack(self, made: Made, dtype: Any) -> None:
        gpu, values = made(), some(4).astype(dtype)
        array = gpu.upload(values)
        borrowed = Borrowed(gpu.to_dlpack(array))
        assert (borrowed.device, borrowed.spec.shape, borrowed.spec.dtype) == ((2, 0), (4, 6), np.dtype(dtype))
        assert borrowed.pointer == gpu.pointer(array)
        over = gpu.wrap(borrowed.pointer, borrowed.spec, borrowed)
        del array
        gc.collect()
        np.testing.assert_array_equal(gpu.download(over).astype(np.float32), values.astype(np.float32))

    def test_arrays_that_are_not_dense(self, made: Made) -> None:
        """CuPy copies them; PyCUDA cannot."""
        gpu, values = made(), some(5)
        array = gpu.upload(values)
        if isinstance(gpu, CupyDevice):
            np.testing.assert_array_equal(gpu.download(array.T), values.T)
            return
        from pycuda.gpuarray import GPUArray

        with gpu.current():
            turned = GPUArray((6, 4), np.float32, base=array, gpudata=array.ptr, strides=(4, 24))
        with pytest.raises(NotImplemented, match="only arrays that are dense"):
            gpu.download(turned)

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


class TestStreams:
    @pytest.mark.parametrize("options", [{}, {"do_copy_in_default_stream": 1}], ids=["apart", "one stream"])
    def test_a_run(self, made: Made, options: dict[str, Any]) -> None:
        """Copies and kernels are in order, however late they are; nobody waits but for the outputs."""
        gpu = made(**options)
        first, second, third = (gpu.allocate(BYTES) for _ in range(3))
        for run in range(4):
            with gpu.launching():
                gpu.upload_into(first, np.full(256, run, np.uint8))
                gpu.copy_into(second, first)
                fill(gpu, first, 100 + run)
                gpu.copy_into(third, second)
                fill(gpu, second, 200)
                outputs = [gpu.download_later(array) for array in (first, third)]
                fill(gpu, third, 201)
                gpu.settle()
            assert [int(output[7]) for output in outputs] == [100 + run, run]

    def test_memory_that_is_taken_anew(self, made: Made) -> None:
        """Kernels may not be done with what it held before."""
        gpu = made()
        kept = gpu.allocate(BYTES)
        with gpu.launching():
            for run in range(5):
                array = gpu.allocate(BYTES)
                fill(gpu, array, 100 + run)
                gpu.copy_into(kept, array)
                pointer = gpu.pointer(array)
                del array
                again = gpu.allocate(BYTES)
                assert gpu.pointer(again) == pointer
                gpu.upload_into(again, np.full(256, run, np.uint8))
                found = gpu.download(kept)
                np.testing.assert_array_equal((found, gpu.download(again)), (np.full(256, 100 + run), np.full(256, run)))
                del again

    def test_outputs_are_complete_when_a_run_ends(self, made: Made) -> None:
        gpu = made()
        array = gpu.allocate(BYTES)
        with gpu.launching():
            fill(gpu, array, 9)
            gpu.completed()
        stranger = made()
        np.testing.assert_array_equal(stranger.download(stranger.wrap(gpu.pointer(array), BYTES, array)), np.full(256, 9))

    def test_a_run_that_fails_leaves_nothing_behind(self, made: Made) -> None:
        gpu = made()
        array = gpu.upload(np.full(256, 3, np.uint8))
        with pytest.raises(ValueError, match="too many"), gpu.launching():
            _, _ = [gpu.download_later(array) for _ in range(3)]
        with gpu.launching():
            fill(gpu, array, 4)
            later = gpu.download_later(array)
            gpu.settle()
        assert later[0] == 4

    def test_threads(self, made: Made) -> None:
        gpu = made()
        wrong: list[int] = []

        def work(number: int) -> None:
            for run in range(10):
                values = np.full(300, 10 * number + run % 10, np.uint8)
                with gpu.launching():
                    array = gpu.upload(values)
                    copied = gpu.allocate(Spec((300,), np.dtype(np.uint8)))
                    gpu.copy_into(copied, array)
                    fill(gpu, array, 255)
                    later = gpu.download_later(copied)
                    gpu.settle()
                if not np.array_equal(later, values):
                    wrong.append(number)
                del array, copied

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_it_waits_for_the_streams_of_others(self, made: Made, cp: Any) -> None:
        gpu, stream = made(), cp.cuda.Stream(non_blocking=True)
        with stream:
            x = cp.full(256, 7, np.uint8)
        gpu.wait_for_stream(1)
        gpu.wait_for_stream(stream.ptr)
        with gpu.launching():
            np.testing.assert_array_equal(gpu.download(gpu.wrap(x.data.ptr, BYTES, x)), np.full(256, 7))

    def test_everything_is_waited_for(self, made: Made) -> None:
        gpu = made()
        array = gpu.allocate(BYTES)
        with gpu.working():
            fill(gpu, array, 5)
        gpu.synchronize()
        pointer = ctypes.c_void_p(gpu.pointer(array))
        assert ctypes.string_at(pointer, 256) == bytes([5]) * 256


class TestSeveral:
    @pytest.mark.parametrize("peers", [True, False])
    def test_from_one_to_the_other(self, made: Made, device: Any, peers: bool) -> None:
        device.configure(replace(PLAIN, lazy=True, peers=peers))
        gpus = [made(index) for index in (0, 1)]
        assert gpus[0].reaches(gpus[1]) == gpus[1].reaches(gpus[0]) == gpus[1].reaches(gpus[0]) == peers
        if not peers:
            return
        here, there, kept = (gpu.allocate(BYTES) for gpu in (*gpus, gpus[1]))
        for run in range(4):
            with ExitStack() as stack:
                for gpu in gpus:
                    stack.enter_context(gpu.launching())
                fill(gpus[0], here, run)
                fill(gpus[1], there, 90)
                gpus[1].copy_across(there, here, gpus[0])
                fill(gpus[0], here, 100 + run)
                gpus[1].copy_into(kept, there)
                outputs = [gpus[0].download_later(here), gpus[1].download_later(kept)]
                for gpu in gpus:
                    gpu.settle()
            assert [int(output[9]) for output in outputs] == [100 + run, run]

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

    def test_each_works_whichever_is_current(self, made: Made) -> None:
        gpus = [made(index) for index in (0, 1)]
        with gpus[0].launching(), gpus[1].launching():
            arrays = [gpu.upload(np.full(256, gpu.index, np.uint8)) for gpu in gpus]
            for gpu, array in zip(gpus, arrays, strict=True):
                fill(gpu, array, 10 + gpu.index)
            assert [int(gpu.download(array)[0]) for gpu, array in zip(gpus, arrays, strict=True)] == [10, 11]
        used = [gpu.memory_statistics().used for gpu in gpus]
        assert all(256 <= size < 4096 for size in used), used

    def test_there_is_none_of_that_number(self, made: Made) -> None:
        with pytest.raises(InvalidArgument, match="option 'device_id' is 2; this machine has 2 CUDA devices"):
            made(2).check()

    def test_what_it_is(self, made: Made) -> None:
        assert made(1).identity() == ("onnxgpu emulated device", 90)


class TestMemory:
    def test_statistics(self, made: Made) -> None:
        gpu = made()
        before = gpu.memory_statistics()
        array = gpu.allocate(Spec((1 << 20,), np.dtype(np.uint8)))
        after = gpu.memory_statistics()
        assert after.used - before.used == 1 << 20 <= after.held
        assert (gpu.memory_available() or 0) <= after.total
        del array
        assert gpu.memory_statistics().used == before.used

    @pytest.mark.parametrize("options", [{}, {"arena_extend_strategy": "kNextPowerOfTwo"}], ids=["as asked", "powers of two"])
    def test_a_limit(self, made: Made, options: dict[str, Any]) -> None:
        gpu = made(gpu_mem_limit=1 << 20, **options)
        arrays = [gpu.allocate(Spec((200_000,), np.dtype(np.uint8))) for _ in range(3)]
        with pytest.raises(
            OutOfMemory, match=r"allocating 600,000 bytes on cuda:0.*does not suffice: there are .* gpu_mem_limit 1,048,576"
        ):
            gpu.allocate(Spec((600_000,), np.dtype(np.uint8)))
        arrays.clear()
        gpu.allocate(Spec((600_000,), np.dtype(np.uint8)))
        assert gpu.memory_statistics().held <= 1 << 20

    def test_a_device_that_is_full(self, made: Made, device: Any) -> None:
        device.configure(replace(PLAIN, memory=1 << 20))
        with pytest.raises(OutOfMemory, match="does not suffice"):
            made().allocate(Spec((1 << 21,), np.dtype(np.uint8)))

    @pytest.mark.parametrize(
        "options", [{"arena_extend_strategy": "kFast"}, {"gpu_mem_limit": -1}], ids=lambda options: next(iter(options))
    )
    def test_options_that_are_none(self, made: Made, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument, match=next(iter(options))):
            made(**options).allocate(BYTES)

    def test_it_goes_with_the_device(self, made: Made, device: Any) -> None:
        gc.collect()
        before = device.memory_used()
        gpu = made()
        array = gpu.allocate(Spec((1 << 20,), np.dtype(np.uint8)))
        assert device.memory_used() >= before + (1 << 20)
        del array, gpu
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


class TestStandIn:
    """The stand-in refuses what PyCUDA refuses."""

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
            with pytest.raises(ValueError, match="cannot include dtype"):
                pycuda.memcpy_htod(memory, np.zeros(4, ml_dtypes.bfloat16))

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
