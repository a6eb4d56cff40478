"""Libraries that are written in Python call the emulated device, and are called by it when a stream comes to their work."""

from __future__ import annotations

import ctypes
import faulthandler
from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import Any

import numpy as np
import pytest

from tests.emulated import PLAIN

FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)


def kept_in(called: list[int]) -> Any:
    def keep(argument: int) -> int:
        called.append(argument)
        return 0

    return FUNCTION(keep)


@pytest.fixture
def call(device: Any) -> Callable[[Any, Any, int], int]:
    def enqueue(stream: Any, function: Any, argument: int) -> int:
        return int(device.library.emulated_call(ctypes.c_void_p(stream.ptr), function, ctypes.c_uint64(argument)))

    return enqueue


def test_in_the_order_of_the_stream(cp: Any, device: Any, call: Callable[[Any, Any, int], int]) -> None:
    device.configure(replace(PLAIN, lazy=True))
    stream, called = cp.cuda.Stream(non_blocking=True), list[int]()
    function = kept_in(called)
    before = device.counters()["library_calls"]
    assert [call(stream, function, argument) for argument in (1, 2**40)] == [0, 0]
    assert not called and device.counters()["library_calls"] == before + 2
    stream.synchronize()
    assert called == [1, 2**40]


def test_again_with_every_launch_of_a_graph(cp: Any, call: Callable[[Any, Any, int], int]) -> None:
    stream, called = cp.cuda.Stream(non_blocking=True), list[int]()
    function = kept_in(called)
    with stream:
        stream.begin_capture()
        assert call(stream, function, 7) == 0
        graph = stream.end_capture()
        assert not called
        graph.launch(stream)
        graph.launch(stream)
    stream.synchronize()
    assert called == [7, 7]


def test_an_error_ends_the_device(cp: Any, device: Any, call: Callable[[Any, Any, int], int]) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    function = FUNCTION(lambda _: device.library.emulated_fault(719, b"the library fell over"))
    call(stream, function, 0)
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="the library fell over"):
        stream.synchronize()


def test_threads_that_wait_for_the_device_let_the_library_run(cp: Any, device: Any, call: Callable[[Any, Any, int], int]) -> None:
    """The one that runs the library's work holds the device and wants the interpreter; the others hold that and want the device."""
    device.configure(replace(PLAIN, lazy=True))
    done: list[int] = []

    def work(_: int) -> int:
        sum(range(20000))  # long enough for the interpreter to change threads
        return 0

    function = FUNCTION(work)

    def run() -> None:
        stream = cp.cuda.Stream(non_blocking=True)
        with stream:
            for _ in range(30):
                call(stream, function, 0)
                cp.empty(1000, np.float32).fill(1)
                cp.cuda.Event().record(stream)
                stream.synchronize()
        done.append(1)

    faulthandler.dump_traceback_later(120, exit=True)  # no thread could say so
    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faulthandler.cancel_dump_traceback_later()
    assert len(done) == 4
