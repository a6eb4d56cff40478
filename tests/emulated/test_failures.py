"""What fails on CUDA fails by name: each class of failure, made on the emulated device, and never a result of the CPU in its place."""

from __future__ import annotations

import ctypes
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxgpu as ort
from onnxgpu.errors import DeviceReset, EPFail, OutOfMemory, ProviderFallbackWarning
from onnxgpu.providers.cuda import device as cuda_device
from onnxgpu.providers.cuda import kernels
from onnxgpu.providers.cuda.failures import translated
from tests.emulated import PLAIN
from tests.emulated.test_provider import CPU, CUDA, model

SOFTMAX = "g (float[3,70] x) => (float[3,70] y) { y = Softmax (x) }"
FEED = {"x": np.zeros((3, 70), np.float32)}


class Driver:
    """A driver's library that answers as it is told."""

    def __init__(self, status: int = 0, version: int = 13000, devices: int = 1) -> None:
        self._status, self._version, self._devices = status, version, devices

    def cuInit(self, flags: int) -> int:
        return self._status

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self._version
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self._devices
        return 0


class TestUnavailable:
    """Found before a session is made: another provider takes over with a warning, or, in strict mode, none."""

    @pytest.fixture(autouse=True)
    def real(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ONNXGPU_CUDA", "device")
        monkeypatch.setitem(sys.modules, "onnxgpu.providers.cuda.emulator", None)
        monkeypatch.setattr(cuda_device, "_is_installed", lambda name: name == "cupy-cuda13x")

    def cause(self, monkeypatch: pytest.MonkeyPatch, driver: Driver | None) -> str:
        """What the warning says of the cause; strict mode says the same."""

        def load(name: str, *arguments: Any) -> Any:
            if driver is None:
                raise OSError(name)
            return driver

        monkeypatch.setattr(ctypes, "CDLL", load)
        with pytest.warns(ProviderFallbackWarning) as warned:
            session = ort.InferenceSession(model(SOFTMAX), providers=[CUDA, CPU])
        assert CUDA not in session.get_providers()
        monkeypatch.setenv("ONNXGPU_STRICT", "1")
        with pytest.raises(EPFail) as refused:
            ort.InferenceSession(model(SOFTMAX), providers=[CUDA, CPU])
        text = str(warned[0].message).removeprefix(f"{CUDA} is not available: ").partition(f". {CPU} takes over")[0]
        assert text in refused.value.message
        return text

    def test_no_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "libcuda.so.1 not found (no NVIDIA driver on this machine" in self.cause(monkeypatch, None)

    def test_a_driver_that_does_not_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "does not start: cuInit says 999" in self.cause(monkeypatch, Driver(status=999))

    def test_no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "the NVIDIA driver finds no GPU" in self.cause(monkeypatch, Driver(devices=0))

    def test_a_driver_older_than_cupy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = self.cause(monkeypatch, Driver(version=12040))
        assert "the driver supports CUDA 12.4, and cupy-cuda13x needs CUDA 13" in text
        assert "`pip uninstall cupy-cuda13x` and `pip install onnxgpu[cuda12]`" in text

    def test_two_cupys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cuda_device, "_is_installed", lambda name: True)
        assert "cupy-cuda12x and cupy-cuda13x are both installed" in self.cause(monkeypatch, Driver())


@pytest.mark.usefixtures("device")
class TestFailing:
    """Found while a session is made or runs: an error with a class of its own."""

    def test_a_kernel_that_does_not_compile(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The compiler's log, the options and the numbered source."""
        shutil.copytree(kernels.FOLDER, tmp_path / "kernels")
        softmax = tmp_path / "kernels" / "softmax.cu"
        softmax.write_text(softmax.read_text().replace("threadIdx.x", "threadIdx.w"))
        monkeypatch.setattr(kernels, "FOLDER", tmp_path / "kernels")
        kernels._function.cache_clear()
        session = ort.InferenceSession(model(SOFTMAX), providers=[CUDA, CPU])
        with pytest.raises(EPFail, match="could not be compiled for this device") as error:
            session.run(None, FEED)
        kernels._function.cache_clear()
        text = error.value.message
        assert "softmax.cu:" in text and "has no member named" in text
        assert "Options: " in text and "-std=c++17" in text
        assert '1 #include "softmax.cu"' in text

    @pytest.mark.parametrize(
        ("name", "expected", "advice"),
        [
            ("cudaErrorNoKernelImageForDevice", EPFail, "has no code for this GPU"),
            ("CUDA_ERROR_NO_BINARY_FOR_GPU", EPFail, "has no code for this GPU"),
            ("cudaErrorInsufficientDriver", EPFail, "The driver is older"),
            ("cudaErrorIllegalAddress", DeviceReset, "start a new one"),
            ("CUDA_ERROR_ILLEGAL_ADDRESS", DeviceReset, "start a new one"),
            ("cudaErrorMemoryAllocation", OutOfMemory, "does not suffice"),
            ("DynamicLibNotFoundError", EPFail, "A library of CUDA is missing"),
        ],
    )
    def test_what_cuda_says(self, cp: Any, monkeypatch: pytest.MonkeyPatch, name: str, expected: type[Exception], advice: str) -> None:
        """Raised where a kernel is launched, as CuPy raises it."""
        session = ort.InferenceSession(model(SOFTMAX), providers=[CUDA, CPU])
        session.run(None, FEED)

        def launch(self: Any, *arguments: Any, **options: Any) -> None:
            raise ImportError(name) if name.startswith("Dynamic") else cuda_error(cp, name)

        monkeypatch.setattr(kernels.Function, "launch", launch)
        with pytest.raises(expected, match=advice) as error:
            session.run(None, FEED)
        assert "running Softmax node" in str(error.value)
        assert name in str(error.value)

    def test_a_fault_names_the_kernel_and_the_nodes(self, device: Any, cp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """It is told by the copy that waits for it; afterwards the device refuses everything."""
        shutil.copytree(kernels.FOLDER, tmp_path / "kernels")
        softmax = tmp_path / "kernels" / "softmax.cu"
        begin = softmax.read_text().index("{", softmax.read_text().index("softmax_rows("))
        softmax.write_text(f"{softmax.read_text()[: begin + 1]} if (threadIdx.x == 3) __trap();{softmax.read_text()[begin + 1 :]}")
        monkeypatch.setattr(kernels, "FOLDER", tmp_path / "kernels")
        kernels._function.cache_clear()
        device.configure(replace(PLAIN, lazy=True))
        session = ort.InferenceSession(model(SOFTMAX), providers=[CUDA, CPU])
        with pytest.raises(DeviceReset, match=r"kernel .*softmax.cu:\d+.*start a new one.*The nodes launched last were Softmax;"):
            session.run(None, FEED)
        with pytest.raises(DeviceReset):
            session.run(None, FEED)
        device.forget_error()
        kernels._function.cache_clear()


def cuda_error(cp: Any, name: str) -> Exception:
    """The error of CuPy with this name; a plain one with that text, for what the emulated device never says."""
    driver = name.startswith("CUDA_")
    kind = cp.cuda.driver.CUDADriverError if driver else cp.cuda.runtime.CUDARuntimeError
    found: Exception = next((error for error in map(kind, range(1000)) if str(error).startswith(f"{name}:")), RuntimeError(f"{name}: …"))
    return found


def test_an_error_of_our_own_stays_as_it_is(cp: Any) -> None:
    error = OutOfMemory("too little")
    assert translated(error, "copying", cp) is error
