"""What providers have of this machine's GPU, through CuPy and, where it is installed, through PyCUDA."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import onnxgpu as ort
from onnxgpu.errors import OutOfMemory
from onnxgpu.provider import Spec
from onnxgpu.providers.cuda.cupy_device import CupyDevice
from onnxgpu.providers.cuda.pycuda_device import PycudaDevice
from tests.device_contract import Arrays, Fill, Made, Memory, Streams, fill_by_cupy, some


@pytest.fixture(params=[CupyDevice, PycudaDevice], ids=["cupy", "pycuda"])
def made(request: pytest.FixtureRequest, cp: Any) -> Iterator[Made]:
    """Makes a device: its number, and options."""
    if request.param is PycudaDevice:
        pytest.importorskip("pycuda", reason="PyCUDA is not installed")
    yield lambda index=0, **options: request.param(index, options)
    gc.collect()


@pytest.fixture
def fill(cp: Any) -> Fill:
    return fill_by_cupy


class TestArrays(Arrays):
    pass


class TestStreams(Streams):
    pass


class TestMemory(Memory):
    def test_more_than_there_is(self, made: Made) -> None:
        gpu = made()
        array = gpu.upload(some(1))
        with pytest.raises(OutOfMemory, match="does not suffice"):
            gpu.allocate(Spec((gpu.memory_statistics().total + 1,), np.dtype(np.uint8)))
        np.testing.assert_array_equal(gpu.download(array), some(1))


class TestPycuda:
    def test_it_leaves_the_programs_contexts_as_they_are(self, cp: Any) -> None:
        driver = pytest.importorskip("pycuda.driver", reason="PyCUDA is not installed")
        gpu = PycudaDevice(0, {})
        before = driver.Context.get_current()
        with gpu.launching():
            gpu.upload(some())
        assert driver.Context.get_current() is before

    def test_arrays_of_pycuda_are_inputs(self, cp: Any) -> None:
        """A session takes them where they lie."""
        pytest.importorskip("pycuda", reason="PyCUDA is not installed")
        from tests.gpu.test_sessions import CPU, CUDA, chain, feeds

        gpu = PycudaDevice(0, {})
        ours, reference = (ort.InferenceSession(chain(), providers=[p]) for p in (CUDA, CPU))
        for seed in range(4):
            feed = feeds(seed)
            with gpu.launching():
                x = gpu.upload(feed["x"])
            gpu.synchronize()
            for found, expected in zip(ours.run(None, {"x": x}), reference.run(None, feed), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
