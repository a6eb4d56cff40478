"""Streams, events, copies and graphs: faults of order become wrong results, what CUDA forbids is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.emulated import PLAIN


@pytest.fixture
def lazy(device: Any) -> Any:
    device.configure(replace(PLAIN, lazy=True))
    return device


def two_streams(cp: Any) -> tuple[Any, Any, Any, Any]:
    first, second = cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)
    a, b = cp.zeros(8, np.float32), cp.zeros(8, np.float32)
    cp.cuda.Device().synchronize()
    return first, second, a, b


@pytest.mark.parametrize("waits", [True, False])
def test_a_missing_wait_for_an_event(cp: Any, lazy: Any, waits: bool) -> None:
    first, second, a, b = two_streams(cp)
    with first:
        cp.add(a, 5, out=a)
        event = first.record(cp.cuda.Event(disable_timing=True))
    if waits:
        second.wait_event(event)
    with second:
        cp.multiply(a, 2, out=b)
    second.synchronize()
    assert (b.get() == (10 if waits else 0)).all()


@pytest.mark.parametrize("waits", [True, False])
def test_a_copy_to_the_host_that_nobody_waited_for(cp: Any, lazy: Any, waits: bool) -> None:
    stream, _, a, _ = two_streams(cp)
    pinned = cp.cuda.alloc_pinned_memory(32)
    host = np.frombuffer(pinned, np.float32, 8)
    host[:] = -1
    with stream:
        a += 3
        a.data.copy_to_host_async(pinned.ptr, 32)
    if waits:
        stream.synchronize()
    assert (host == (3 if waits else -1)).all()


def test_a_pinned_buffer_that_is_used_again_too_early(cp: Any, lazy: Any) -> None:
    stream, _, a, _ = two_streams(cp)
    pinned = cp.cuda.alloc_pinned_memory(32)
    host = np.frombuffer(pinned, np.float32, 8)
    host[:] = 1
    a.data.copy_from_host_async(pinned.ptr, 32, stream)
    host[:] = 2
    stream.synchronize()
    assert (a.get() == 2).all()


def test_pageable_memory_is_staged_before_the_call_returns(cp: Any, lazy: Any) -> None:
    stream, _, a, _ = two_streams(cp)
    host = np.ones(8, np.float32)
    a.data.copy_from_host_async(host.ctypes.data, 32, stream)
    host[:] = 2
    stream.synchronize()
    assert (a.get() == 1).all()


def test_copies_of_the_wrong_kind_or_size(cp: Any, exact_bounds: None) -> None:
    runtime, host, a = cp.cuda.runtime, np.zeros(8, np.float64), cp.zeros(4)
    with pytest.raises(runtime.CUDARuntimeError, match="wrong kind"):
        runtime.memcpy(host.ctypes.data, host.ctypes.data, 32, runtime.memcpyHostToDevice)
    with pytest.raises(runtime.CUDARuntimeError, match="past the end"):
        runtime.memcpy(a.data.ptr, host.ctypes.data, 64, runtime.memcpyHostToDevice)


@pytest.mark.parametrize("lazily", [False, True])
def test_a_graph_is_captured_and_launched(cp: Any, device: Any, lazily: bool) -> None:
    device.configure(replace(PLAIN, lazy=lazily))
    first, second, a, b = two_streams(cp)
    forked, joined = cp.cuda.Event(disable_timing=True), cp.cuda.Event(disable_timing=True)
    with first:
        cp.add(a, 1, out=b)
        cp.multiply(b, 10, out=b)
        first.synchronize()
        first.begin_capture()
        cp.add(a, 1, out=b)
        forked.record(first)
    second.wait_event(forked)
    with second:
        cp.multiply(b, 10, out=b)
        joined.record(second)
    first.wait_event(joined)
    graph = first.end_capture()
    a.fill(5)
    cp.cuda.Device().synchronize()
    device.counters(clear=True)
    graph.launch(first)
    first.synchronize()
    assert (b.get() == 60).all()
    assert device.counters()["graph_launches"] == 1 and device.counters()["launches"] == 0


def allocates(cp: Any, a: Any, stream: Any) -> None:
    cp.cuda.runtime.malloc(64)


def copies_pageable_memory(cp: Any, a: Any, stream: Any) -> None:
    runtime = cp.cuda.runtime
    runtime.memcpyAsync(np.zeros(8, np.float32).ctypes.data, a.data.ptr, 32, runtime.memcpyDeviceToHost, stream.ptr)


def synchronizes(cp: Any, a: Any, stream: Any) -> None:
    cp.cuda.runtime.streamSynchronize(stream.ptr)


def leaves_a_stream_behind(cp: Any, a: Any, stream: Any) -> None:
    other, event = cp.cuda.Stream(non_blocking=True), cp.cuda.Event(disable_timing=True)
    event.record(stream)
    other.wait_event(event)
    with other:
        cp.add(a, 1, out=a)
    cp.cuda.runtime.streamEndCapture(stream.ptr)


@pytest.mark.parametrize("fault", [allocates, copies_pageable_memory, synchronizes, leaves_a_stream_behind], ids=lambda f: f.__name__)
def test_what_a_capture_forbids(cp: Any, device: Any, fault: Callable[..., None]) -> None:
    stream, _, a, _ = two_streams(cp)
    cp.add(a, 1, out=a)
    cp.cuda.Device().synchronize()
    stream.begin_capture(cp.cuda.runtime.streamCaptureModeGlobal)
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="StreamCapture"):
        fault(cp, a, stream)


def test_an_event_from_outside_of_a_capture(cp: Any, device: Any) -> None:
    first, second, _, _ = two_streams(cp)
    event = second.record(cp.cuda.Event(disable_timing=True))
    first.begin_capture()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="Isolation"):
        first.wait_event(event)
    first.end_capture()


def test_counters_and_memory(cp: Any, device: Any) -> None:
    pool = cp.get_default_memory_pool()
    pool.free_all_blocks()
    before = device.memory_used()
    device.counters(clear=True)
    a = cp.asarray(np.ones(1000, np.float32))
    a.get()
    counted = device.counters()
    assert counted["copies_to_device"] == counted["copies_to_host"] == 1
    assert counted["bytes_to_device"] == counted["bytes_to_host"] == 4000
    assert device.memory_used() > before


def test_memory_runs_out(cp: Any, device: Any) -> None:
    device.configure(replace(PLAIN, memory=1 << 20))
    with pytest.raises(cp.cuda.memory.OutOfMemoryError):
        cp.empty(1 << 20, np.float32)


@pytest.fixture
def second(cp: Any, device: Any) -> Any:
    """A stream of the other device."""
    with cp.cuda.Device(1):
        return cp.cuda.Stream(non_blocking=True)


def test_a_stream_of_another_device(cp: Any, device: Any, second: Any) -> None:
    """It takes kernels and events of its own device alone, but waits for events of any."""
    a = cp.zeros(4, np.float32)
    kernel = cp.RawKernel('extern "C" __global__ void one(float* x) { x[threadIdx.x] = 1; }', "one").kernel
    event = cp.cuda.Event(disable_timing=True)
    driver, runtime = cp.cuda.driver, cp.cuda.runtime
    arguments = np.array([a.data.ptr], np.uint64)
    addresses = np.array([arguments.ctypes.data], np.uint64)
    with pytest.raises(driver.CUDADriverError, match="one: its stream is of device 1, and device 0 is current"):
        driver.launchKernel(kernel.ptr, 1, 1, 1, 4, 1, 1, 0, second.ptr, addresses.ctypes.data, 0)
    with pytest.raises(runtime.CUDARuntimeError, match="an event of device 0 is recorded on a stream of device 1"):
        runtime.eventRecord(event.ptr, second.ptr)
    runtime.eventRecord(event.ptr, cp.cuda.Stream.null.ptr)
    runtime.streamWaitEvent(second.ptr, event.ptr)
    with cp.cuda.Device(1), pytest.raises(driver.CUDADriverError, match="kernel one is of device 0, and device 1 is current"):
        driver.launchKernel(kernel.ptr, 1, 1, 1, 4, 1, 1, 0, second.ptr, addresses.ctypes.data, 0)


@pytest.mark.parametrize("peers", [True, False])
def test_memory_of_another_device(cp: Any, device: Any, second: Any, peers: bool) -> None:
    """Copies reach it in any case, kernels where that is enabled, which it is not before."""
    device.configure(replace(PLAIN, peers=peers))
    runtime = cp.cuda.runtime
    assert runtime.deviceCanAccessPeer(0, 1) == runtime.deviceCanAccessPeer(1, 0) == int(peers)
    assert runtime.deviceCanAccessPeer(0, 0) == 0
    a = cp.arange(4, dtype=np.float32)
    with cp.cuda.Device(1):
        b = cp.zeros(4, np.float32)
    device.counters(clear=True)
    runtime.memcpyPeerAsync(b.data.ptr, 1, a.data.ptr, 0, a.nbytes, second.ptr)
    second.synchronize()
    assert (b.get() == a.get()).all()
    assert device.counters()["copies_between_devices"] == 1
    with pytest.raises(runtime.CUDARuntimeError, match="names another device than that of the memory"):
        runtime.memcpyPeerAsync(b.data.ptr, 0, a.data.ptr, 1, a.nbytes, second.ptr)
    if not peers:
        with cp.cuda.Device(1), pytest.raises(runtime.CUDARuntimeError, match="PeerAccessUnsupported"):
            runtime.deviceEnablePeerAccess(0)


def test_a_kernel_is_given_memory_of_another_device() -> None:
    """In a process of its own: access to peers, once enabled, stays so."""
    program = """
from onnxgpu.providers.cuda.emulator import Settings, install
install(Settings(devices=2))
import cupy as cp
kernel = cp.RawKernel('extern "C" __global__ void one(float* x) { x[threadIdx.x] = 1; }', "one")
x = cp.zeros(4, "f")
with cp.cuda.Device(1):
    cp.cuda.runtime.deviceEnablePeerAccess(0)
    y = cp.zeros(4, "f")
    kernel((1,), (4,), (x,))
    cp.cuda.Device().synchronize()
print(x.sum())
try:
    kernel((1,), (4,), (y,))
    cp.cuda.Device().synchronize()
except cp.cuda.runtime.CUDARuntimeError as error:
    print(error)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.startswith("4.0\n") and "kernel one on device 0 was given memory of device 1" in finished.stdout


def test_several_devices(cp: Any, device: Any) -> None:
    device.configure(replace(PLAIN, devices=2))
    with cp.cuda.Device(1):
        a = cp.ones(4, np.float32)
        stream = cp.cuda.Stream(non_blocking=True)
        with stream:
            b = a + 1
        stream.synchronize()
    assert a.device.id == 1
    assert (b.get() == 2).all()
