"""Faults put into our own kernels, copies and plans, a line each: every one of them is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxgpu as ort
from onnxgpu.providers.cuda import generated, kernels
from onnxgpu.providers.cuda.provider import CUDAProvider
from tests.emulated import PLAIN

DIGITS = str(files("onnxgpu.demo") / "digits.onnx")
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
MODES = (PLAIN, replace(PLAIN, schedule=7), replace(PLAIN, checked=True, schedule=7))


@dataclass(frozen=True)
class Fault:
    """One edit of a kernel's source."""

    name: str
    file: str
    old: str
    new: str
    operator: str


SOFTMAX_LOOP = "for (int i = threadIdx.x; i < count; i += blockDim.x)"
FAULTS = [
    Fault(
        "missing barrier: before the warps' values are read",
        "reduce.cuh",
        "scratch[warp] = value;\n    __syncthreads();",
        "scratch[warp] = value;",
        "Softmax",
    ),
    Fault(
        "missing barrier: before scratch is used again",
        "reduce.cuh",
        "neutral, combine);\n    __syncthreads();",
        "neutral, combine);",
        "Softmax",
    ),
    Fault(
        "missing barrier: left by half of the block",
        "reduce.cuh",
        "    __syncthreads();\n    value = reduce_warp(lane",
        "    if (warp % 2 == 0) __syncthreads();\n    value = reduce_warp(lane",
        "Softmax",
    ),
    Fault("uninitialised shared memory: one warp too many", "reduce.cuh", "lane < warps ?", "lane <= warps ?", "Softmax"),
    Fault("warp: a mask without all lanes", "reduce.cuh", "0xffffffffu", "0x0fffffffu", "Softmax"),
    Fault("warp: half of the lanes are left out", "reduce.cuh", "offset = WARP / 2", "offset = WARP / 4", "Softmax"),
    Fault(
        "off by one: read behind the row", "softmax.cu", f"{SOFTMAX_LOOP} sum +=", f"{SOFTMAX_LOOP.replace('<', '<=')} sum +=", "Softmax"
    ),
    Fault(
        "off by one: write behind the row",
        "softmax.cu",
        f"{SOFTMAX_LOOP} {{\n        const A shifted",
        f"{SOFTMAX_LOOP.replace('<', '<=')} {{\n        const A shifted",
        "Softmax",
    ),
    Fault(
        "off by one: the row's first element",
        "softmax.cu",
        f"{SOFTMAX_LOOP} sum +=",
        f"{SOFTMAX_LOOP.replace('threadIdx.x;', 'threadIdx.x + 1;', 1)} sum +=",
        "Softmax",
    ),
    Fault(
        "index: rows of a strided axis overlap",
        "softmax.cu",
        "blockIdx.x / inner * inner * count",
        "blockIdx.x / inner * count",
        "Softmax strided",
    ),
    Fault(
        "race: every thread writes the mean, one another value",
        "normalization.cu",
        "    if (threadIdx.x == 0) {\n        if (mean) mean[blockIdx.x] = average;",
        "    {\n        if (mean) mean[blockIdx.x] = average + threadIdx.x;",
        "LayerNormalization",
    ),
    Fault("off by one: scale of the next column", "normalization.cu", "widen(scale[i])", "widen(scale[i + 1])", "LayerNormalization"),
    Fault(
        "tail: one element too many",
        "elementwise.cuh",
        "for (long long i = vectors * width + thread_index(); i < count;",
        "for (long long i = vectors * width + thread_index(); i <= count;",
        "Add",
    ),
    Fault(
        "tail: the first elements are left out",
        "elementwise.cuh",
        "long long i = vectors * width + thread_index()",
        "long long i = (vectors + 1) * width + thread_index()",
        "Add",
    ),
    Fault("alignment: vectors from any address", "elementwise.cuh", "is_aligned ? count / width : 0", "count / width", "Add shifted"),
    Fault("index: the wrong size of an axis", "elementwise.cuh", "index = rest % size;", "index = rest % (size + 1);", "Add broadcast"),
]


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Fault], None]]:
    """Kernels are compiled from a copy of their folder, with one edit."""

    def edit(fault: Fault) -> None:
        folder = tmp_path / "kernels"
        shutil.copytree(kernels.FOLDER, folder)
        text = (folder / fault.file).read_text()
        assert fault.old in text, f"{fault.file} has changed: bring the fault up to date"
        (folder / fault.file).write_text(text.replace(fault.old, fault.new, 1))
        monkeypatch.setattr(kernels, "FOLDER", folder)
        monkeypatch.setattr(generated, "FOLDER", folder)
        _forget()

    yield edit
    _forget()


def _forget() -> None:
    kernels._function.cache_clear()
    generated._compiled.cache_clear()


def launches(cp: Any) -> dict[str, Callable[[], None]]:
    """What is run for an operator; raises where a result is wrong."""
    from onnxgpu.providers.cuda.operators.normalization import layer_normalization
    from onnxgpu.providers.cuda.operators.softmax import softmax

    rng = np.random.default_rng(0)

    def same(actual: Any, expected: np.ndarray) -> None:
        np.testing.assert_allclose(cp.asnumpy(actual), expected, rtol=1e-4, atol=1e-5)

    def rows(axis: int) -> None:
        x = rng.standard_normal((3, 70, 4)).astype(np.float32) * 4
        powers = np.exp(x - x.max(axis, keepdims=True))
        same(softmax(cp, cp.asarray(x), axis=axis, out=cp.empty(x.shape, x.dtype)), powers / powers.sum(axis, keepdims=True))

    def long_rows() -> None:
        x = rng.standard_normal((4, 300)).astype(np.float32)
        powers = np.exp(x - x.max(-1, keepdims=True))
        same(softmax(cp, cp.asarray(x), out=cp.empty(x.shape, x.dtype)), powers / powers.sum(-1, keepdims=True))

    def normalized() -> None:
        x, scale = rng.standard_normal((3, 100)).astype(np.float32), rng.standard_normal(100).astype(np.float32)
        out = (cp.empty((3, 100), np.float32), cp.empty((3, 1), np.float32), cp.empty((3, 1), np.float32))
        layer_normalization(cp, cp.asarray(x), cp.asarray(scale), output_count=3, out=out)
        mean, deviation = x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        same(out[0], (x - mean) / deviation * scale)
        same(out[1], mean)

    def added(count: int = 103, shift: int = 0) -> None:
        x, y = (rng.standard_normal(count + shift).astype(np.float32) for _ in range(2))
        out = cp.full(count, np.nan, np.float32)
        generated.evaluate(("Add 0 1",), [cp.asarray(x)[shift:], cp.asarray(y)[shift:]], out)
        same(out, x[shift:] + y[shift:])

    def broadcast() -> None:
        x, y = rng.standard_normal((3, 1, 5)).astype(np.float32), rng.standard_normal((4, 1)).astype(np.float32)
        out = cp.full((3, 4, 5), np.nan, np.float32)
        generated.evaluate(("Add 0 1",), [cp.asarray(x), cp.asarray(y)], out)
        same(out, x + y)

    return {
        "Softmax": long_rows, "Softmax strided": lambda: rows(1), "LayerNormalization": normalized, "Add": added,
        "Add shifted": lambda: added(100, 1), "Add broadcast": broadcast,
    }  # fmt: skip


def is_noticed(cp: Any, device: Any, run: Callable[[], None]) -> bool:
    """True if a result is wrong, or the device reports, in one of the modes."""
    for mode in MODES:
        device.configure(mode)
        _forget()
        try:
            run()
            cp.cuda.Device().synchronize()
        except (AssertionError, cp.cuda.runtime.CUDARuntimeError, cp.cuda.driver.CUDADriverError):
            device.forget_error()  # before the arrays of the failed run are freed
            return True
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("exact_bounds")
class TestKernels:
    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
    def test_a_fault_is_noticed(self, cp: Any, device: Any, edited: Callable[[Fault], None], fault: Fault) -> None:
        edited(fault)
        assert is_noticed(cp, device, launches(cp)[fault.operator])

    @pytest.mark.parametrize("operator", sorted({fault.operator for fault in FAULTS}))
    def test_without_a_fault_nothing_is_noticed(self, cp: Any, device: Any, operator: str) -> None:
        assert not is_noticed(cp, device, launches(cp)[operator])


def digits_are_right() -> bool:
    """Several runs of a network on the device agree with the CPU."""
    session, reference = ort.InferenceSession(DIGITS, providers=[CUDA, CPU]), ort.InferenceSession(DIGITS, providers=[CPU])
    for seed in range(3):
        feeds = {"images": np.random.default_rng(seed).random((4, 1, 8, 8), np.float32)}
        if not np.allclose(session.run(None, feeds)[0], reference.run(None, feeds)[0], rtol=1e-3, atol=1e-4):
            return False
    return True


def no_wait_after_a_download(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    pinned = cp.cuda.alloc_pinned_memory(1 << 16)

    def download(self: Any, array: Any) -> np.ndarray:
        array.data.copy_to_host_async(pinned.ptr, array.nbytes, cp.cuda.Stream.null)
        return np.frombuffer(pinned, array.dtype, array.size).reshape(array.shape).copy()

    monkeypatch.setattr(CUDAProvider, "download", download)


def one_pinned_buffer_for_all_uploads(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    pinned = cp.cuda.alloc_pinned_memory(1 << 20)

    def upload(self: Any, array: np.ndarray) -> Any:
        staged = np.frombuffer(pinned, array.dtype, array.size).reshape(array.shape)
        staged[...] = array
        result = cp.empty(array.shape, array.dtype)
        result.data.copy_from_host_async(pinned.ptr, array.nbytes, cp.cuda.Stream.null)
        return result

    monkeypatch.setattr(CUDAProvider, "upload", upload)


def all_values_at_one_place_of_the_arena(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    from onnxgpu.plan.arena import assign_offsets as real

    def overlapping(*arguments: Any, **options: Any) -> Any:
        offsets, size = real(*arguments, **options)
        return [0] * len(offsets), size

    monkeypatch.setattr("onnxgpu.execute.memory.assign_offsets", overlapping)


def copies_of_the_wrong_kind(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    runtime = cp.cuda.runtime

    def download(self: Any, array: Any) -> np.ndarray:
        result = np.empty(array.shape, array.dtype)
        runtime.memcpy(result.ctypes.data, array.data.ptr, array.nbytes, runtime.memcpyHostToDevice)
        return result

    monkeypatch.setattr(CUDAProvider, "download", download)


def copies_past_the_end(monkeypatch: pytest.MonkeyPatch, cp: Any) -> None:
    runtime = cp.cuda.runtime

    def upload(self: Any, array: np.ndarray) -> Any:
        result, twice = cp.cuda.Memory(max(1, array.nbytes)), np.concatenate([array.reshape(-1)] * 2)
        runtime.memcpy(result.ptr, twice.ctypes.data, twice.nbytes, runtime.memcpyHostToDevice)
        return cp.ndarray(array.shape, array.dtype, cp.cuda.MemoryPointer(result, 0))

    monkeypatch.setattr(CUDAProvider, "upload", upload)


PLAN_FAULTS = (
    no_wait_after_a_download,
    one_pinned_buffer_for_all_uploads,
    all_values_at_one_place_of_the_arena,
    copies_of_the_wrong_kind,
    copies_past_the_end,
)


@pytest.mark.parametrize("fault", PLAN_FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_in_copies_and_plans_is_noticed(cp: Any, device: Any, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None]) -> None:
    device.configure(replace(PLAIN, lazy=True))
    assert digits_are_right()
    fault(monkeypatch, cp)
    try:
        noticed = not digits_are_right()
    except Exception as error:
        noticed = "emulated device" in str(error)
    assert noticed
