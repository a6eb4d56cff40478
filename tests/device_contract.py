"""What a GPU has to do whatever library it is reached through, as tests for the folders that have one: emulated, or of this machine.

They take the fixtures `made`, which makes a device of a number with options, `fill`, which sets the bytes of an array as a kernel would,
and `cp`, which is CuPy on it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from onnxgpu.dlpack import Borrowed
from onnxgpu.errors import InvalidArgument, NotImplemented, OutOfMemory
from onnxgpu.provider import Spec
from onnxgpu.providers.cuda import copies
from onnxgpu.providers.cuda.copies import STAGED_BYTES
from onnxgpu.providers.cuda.cupy_device import CupyDevice
from onnxgpu.providers.cuda.gpu import Gpu
from tests.threads import in_threads

Made = Callable[..., Gpu]
Fill = Callable[[Gpu, Any, int], None]
FLOATS = Spec((4, 6), np.dtype(np.float32))
BYTES = Spec((256,), np.dtype(np.uint8))


def some(seed: int = 0, spec: Spec = FLOATS) -> np.ndarray:
    return np.random.default_rng(seed).random(spec.shape).astype(spec.dtype)


def fill_by_cupy(gpu: Gpu, array: Any, value: int) -> None:
    """Set bytes, on the stream that the thread launches on."""
    from cupy.cuda import runtime

    with gpu.current():
        runtime.memsetAsync(gpu.pointer(array), value, array.nbytes, gpu.current_stream())


class Arrays:
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


class Streams:
    @pytest.mark.parametrize("options", [{}, {"do_copy_in_default_stream": 1}], ids=["apart", "one stream"])
    def test_a_run(self, made: Made, fill: Fill, options: dict[str, Any]) -> None:
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

    def test_memory_that_is_taken_anew(self, made: Made, fill: Fill) -> None:
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

    def test_outputs_are_complete_when_a_run_ends(self, made: Made, fill: Fill) -> None:
        gpu = made()
        array = gpu.allocate(BYTES)
        with gpu.launching():
            fill(gpu, array, 9)
            gpu.completed()
        stranger = made()
        np.testing.assert_array_equal(stranger.download(stranger.wrap(gpu.pointer(array), BYTES, array)), np.full(256, 9))

    @pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
    def test_outputs_that_are_large(self, made: Made, fill: Fill, monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
        """They are the program's, to keep and to change, wherever they lie, and however many it keeps."""
        monkeypatch.setattr(copies, "LENT_BYTES", 3 * copies.SMALLEST_LENT)
        gpu = made()
        spec = Spec((copies.SMALLEST_LENT // np.dtype(dtype).itemsize // 8, 8), np.dtype(dtype))
        kept: list[np.ndarray] = []
        for run in range(8):
            with gpu.launching():
                array = gpu.upload(np.full(spec.shape, run, spec.dtype))
                kept.append(gpu.download_later(array))
                fill(gpu, array, 0)
                gpu.settle()
            kept[-1] += 10
            if run == 5:
                del kept[:2]
        assert [(output.shape, output.dtype) for output in kept] == [(spec.shape, spec.dtype)] * 6
        for run, output in zip(range(2, 8), kept, strict=True):
            np.testing.assert_array_equal(output.astype(np.float32), np.full(spec.shape, run + 10, np.float32))

    def test_a_run_that_fails_leaves_nothing_behind(self, made: Made, fill: Fill) -> None:
        gpu = made()
        array = gpu.upload(np.full(256, 3, np.uint8))
        with pytest.raises(ValueError, match="too many"), gpu.launching():
            _, _ = [gpu.download_later(array) for _ in range(3)]
        with gpu.launching():
            fill(gpu, array, 4)
            later = gpu.download_later(array)
            gpu.settle()
        assert later[0] == 4

    def test_threads(self, made: Made, fill: Fill) -> None:
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

        in_threads(work, range(4))
        assert not wrong

    def test_it_waits_for_the_streams_of_others(self, made: Made, cp: Any) -> None:
        gpu, stream = made(), cp.cuda.Stream(non_blocking=True)
        with stream:
            x = cp.full(256, 7, np.uint8)
        gpu.wait_for_stream(1)
        gpu.wait_for_stream(stream.ptr)
        with gpu.launching():
            np.testing.assert_array_equal(gpu.download(gpu.wrap(x.data.ptr, BYTES, x)), np.full(256, 7))


class Memory:
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

    @pytest.mark.parametrize(
        "options", [{"arena_extend_strategy": "kFast"}, {"gpu_mem_limit": -1}], ids=lambda options: next(iter(options))
    )
    def test_options_that_are_none(self, made: Made, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument, match=next(iter(options))):
            made(**options).allocate(BYTES)


class Several:
    """Of two devices that reach each other."""

    def test_from_one_to_the_other(self, made: Made, fill: Fill) -> None:
        gpus = [made(index) for index in (0, 1)]
        assert gpus[0].reaches(gpus[1]) and gpus[1].reaches(gpus[0]) and gpus[1].reaches(gpus[0])
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

    def test_each_works_whichever_is_current(self, made: Made, fill: Fill) -> None:
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
