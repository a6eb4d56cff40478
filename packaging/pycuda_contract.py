"""What a device has to do through PyCUDA itself, on a driver that runs nothing; `pycuda_bindings.py` runs these tests."""

from __future__ import annotations

import gc
import importlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pycuda.driver
import pytest

from onnxgpu.errors import OutOfMemory
from onnxgpu.provider import Spec
from onnxgpu.providers.cuda.pycuda_device import PycudaDevice
from onnxgpu.providers.cuda.pycuda_driver import context
from tests.device_contract import Arrays, Fill, Made, Memory, Several, Streams, some
from tests.pycuda_stand_in import MODULES

BYTES = Spec((1 << 20,), np.dtype(np.uint8))
TROUBLE = ("libcuda:", "clean-up operation failed", "could not be cleaned up", "PyCUDA ERROR", "terminate called", "Exception ignored")


def used(index: int) -> int:
    """Bytes of a device's memory that somebody has."""
    with context(index):
        free, total = pycuda.driver.mem_get_info()
    return int(total - free)


@pytest.fixture
def made(capfd: pytest.CaptureFixture[str]) -> Iterator[Made]:
    """Makes a device: its number, and options; afterwards none of its memory is left, and nobody complained."""
    gc.collect()
    before = [used(index) for index in (0, 1)]
    yield lambda index=0, **options: PycudaDevice(index, options)
    gc.collect()
    assert [used(index) for index in (0, 1)] == before
    told = capfd.readouterr().err
    assert not any(each in told for each in TROUBLE), told


@pytest.fixture
def fill() -> Fill:
    def fill_by_pycuda(gpu: Any, array: Any, value: int) -> None:
        with gpu.current():
            pycuda.driver.memset_d8_async(gpu.pointer(array), value, array.nbytes, gpu._streams.compute.raw)

    return fill_by_pycuda


@pytest.fixture
def cp() -> Any:
    return pytest.skip("there is no CuPy beside PyCUDA")


class TestArrays(Arrays):
    pass


class TestStreams(Streams):
    pass


class TestSeveral(Several):
    pass


class TestMemory(Memory):
    def test_a_device_that_is_full(self, made: Made) -> None:
        gpu = made()
        array = gpu.upload(some(1))
        with pytest.raises(OutOfMemory, match="does not suffice"):
            gpu.allocate(Spec((gpu.memory_statistics().total + 1,), np.dtype(np.uint8)))
        np.testing.assert_array_equal(gpu.download(array), some(1))

    def test_it_goes_with_the_device(self, made: Made) -> None:
        before = used(0)
        gpu = made()
        array = gpu.allocate(BYTES)
        assert used(0) >= before + BYTES.nbytes
        del array, gpu
        gc.collect()
        assert used(0) == before


def at_work(gpu: Any) -> list[Any]:
    """Everything that a device gives: arrays, a view, memory of others, copies that nobody waited for, and itself."""
    with gpu.launching():
        first = gpu.upload(some())
        gpu.upload_into(gpu.allocate(BYTES), np.zeros(BYTES.shape, np.uint8))
        later = gpu.download_later(first)
        gpu.settle()
    view = gpu.view(first, 0, Spec((4,), np.dtype(np.float32)))
    return [view, gpu.wrap(gpu.pointer(first), Spec((6,), np.dtype(np.float32)), view), later, first, gpu]


def in_a_cycle(gpu: Any) -> list[Any]:
    """The same, which only the collection of garbage frees, in an order of its own."""
    things = at_work(gpu)
    things.append(things)
    return things


def in_a_thread(work: Callable[[], None]) -> None:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert not raised, raised


def directly(work: Callable[[], None]) -> None:
    work()


@pytest.mark.parametrize("where", [directly, in_a_thread])
@pytest.mark.parametrize("things", [at_work, in_a_cycle])
class TestFreeing:
    def test_it_is_complete(self, made: Made, where: Callable[..., None], things: Callable[..., list[Any]]) -> None:
        """By a thread that has no context, and had none."""
        held = [things(made(index)) for index in (0, 1, 0)]

        def free() -> None:
            held.clear()
            gc.collect()

        where(free)

    def test_what_a_thread_made_that_is_gone(self, made: Made, where: Callable[..., None], things: Callable[..., list[Any]]) -> None:
        held: list[Any] = []
        in_a_thread(lambda: held.append(things(made())))

        def free() -> None:
            held.clear()
            gc.collect()

        where(free)

    def test_within_another_device(self, made: Made, where: Callable[..., None], things: Callable[..., list[Any]]) -> None:
        held, other = [things(made())], made(1)

        def free() -> None:
            with other.launching():
                held.clear()
                gc.collect()
                np.testing.assert_array_equal(other.download(other.upload(some())), some())

        where(free)

    def test_in_a_context_of_the_program(self, made: Made, where: Callable[..., None], things: Callable[..., list[Any]]) -> None:
        """PyCUDA takes two objects of the primary context for two contexts."""
        held = [things(made())]

        def free() -> None:
            own = pycuda.driver.Device(0).retain_primary_context()
            own.push()
            held.clear()
            gc.collect()
            pycuda.driver.Context.pop()

        where(free)


@pytest.mark.parametrize("name", ["pycuda.driver", "pycuda.gpuarray", "pycuda.tools"])
def test_the_stand_in_has_no_other_names(name: str) -> None:
    real = importlib.import_module(name)
    offered = {key: value for key, value in vars(MODULES[name]).items() if not key.startswith("__")}
    members = [f"{key}.{member}" for key, value in offered.items() if isinstance(value, type) for member in vars(value) if member[0] != "_"]
    found = [each for each in (*offered, *members) if not _has(real, each)]
    assert offered and not found


def _has(module: Any, name: str) -> bool:
    try:
        attrgetter(name)(module)
    except AttributeError:
        return False
    return True


BEGIN = """
import gc, sys, threading, time
from pycuda_contract import at_work, in_a_cycle, in_a_thread, some
from onnxgpu.providers.cuda.pycuda_device import PycudaDevice
"""
ENDINGS = {
    "with nothing": "held = at_work(PycudaDevice(0, {}))\nheld.clear()\ngc.collect()",
    "with all of it": "held = at_work(PycudaDevice(0, {}))",
    "with a cycle": "held = in_a_cycle(PycudaDevice(0, {}))",
    "with an array, without the device": "array = at_work(PycudaDevice(0, {}))[1]",
    "with two devices": "held = [at_work(PycudaDevice(index, {})) for index in (1, 0)]",
    "with what a thread made": "held = []\nin_a_thread(lambda: held.append(at_work(PycudaDevice(0, {}))))",
    "in a run": "gpu = PycudaDevice(0, {})\nwith gpu.launching():\n    later = gpu.download_later(gpu.upload(some()))\n    sys.exit(0)",
    "with a thread": "held = at_work(PycudaDevice(0, {}))\nthreading.Thread(target=lambda: time.sleep(0.5) or at_work(held[-1])).start()",
    "with a thread that goes on": (
        "held = at_work(PycudaDevice(0, {}))\nthreading.Thread(target=lambda things: time.sleep(60), args=(held,), daemon=True).start()"
    ),
    "in the last collection": "import builtins\nbuiltins.held = in_a_cycle(PycudaDevice(0, {}))",
    "in the program's own context": (
        "import pycuda.autoprimaryctx\nheld = at_work(PycudaDevice(0, {}))\nother = at_work(PycudaDevice(1, {}))"
    ),
}


@pytest.mark.parametrize("ending", list(ENDINGS))
def test_the_interpreter_ends(ending: str) -> None:
    """Nobody complains, whatever it still has; that is left to the driver."""
    command = [sys.executable, "-X", "faulthandler", "-c", BEGIN + ENDINGS[ending]]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    told = found.stderr if ending == "with nothing" else re.sub(r"libcuda: \d+ bytes of device \d were never freed\n", "", found.stderr)
    assert (found.returncode, found.stdout, told) == (0, "", "")
