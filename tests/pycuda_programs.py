"""Small programs that use PyCUDA, for PyCUDA itself and for the stand-in of it: what they note has to be the same.

    python -m tests.pycuda_programs    # prints what PyCUDA gives, as JSON

Devices are two, of 256 MiB, the first of which the programs fill.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import ml_dtypes
import numpy as np

MEBIBYTE = 1 << 20
Notes = list[list[Any]]
Program = Callable[["Run"], None]


class Run:
    """One program at work, with PyCUDA's modules and what it noted."""

    def __init__(self) -> None:
        import pycuda.driver
        import pycuda.gpuarray
        import pycuda.tools

        pycuda.driver.init()
        self.driver, self.tools, self.gpuarray = pycuda.driver, pycuda.tools, pycuda.gpuarray
        self.contexts = [pycuda.driver.Device(index).retain_primary_context() for index in (0, 1)]
        self.notes: Notes = []

    def note(self, label: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Note what a call gives, or how it is refused, and what is warned of; gives back what it gives."""
        found = None
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = function(*arguments, **keywords)
                noted = _plain(found)
            except Exception as error:
                noted = self._refusal(error)
            gc.collect()
        self.notes.append([label, noted, *sorted(str(each.message) for each in told)])
        return found

    @contextlib.contextmanager
    def within(self, index: int = 0) -> Iterator[None]:
        """In the context of a device."""
        self.contexts[index].push()
        try:
            yield
        finally:
            self.driver.Context.pop()

    def numbers(self, label: str, pool: Any) -> None:
        """Note what a pool has."""
        self.notes.append([label, [pool.active_blocks, pool.active_bytes, pool.held_blocks, pool.managed_bytes]])

    def _refusal(self, error: Exception) -> str:
        """The class, and of the driver's own errors the text."""
        if isinstance(error, self.driver.Error):
            return f"{type(error).__name__}: {str(error).partition(' - ')[0]}"
        return next(kind.__name__ for kind in (TypeError, *type(error).__mro__) if isinstance(error, kind))


def _plain(found: Any) -> Any:
    """As JSON; of an object the name of its class."""
    if isinstance(found, list | tuple):
        return [_plain(each) for each in found]
    return found if isinstance(found, bool | int | str | None) else type(found).__name__


def in_a_thread(function: Callable[..., Any], *arguments: Any) -> None:
    """Call something in a thread of its own."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def in_context(program: Program) -> Program:
    """It runs in the context of the first device, and so ends what it made."""

    @wraps(program)
    def run_in_context(run: Run) -> None:
        with run.within():
            program(run)
            gc.collect()

    return run_in_context


@in_context
def sizes_of_blocks(run: Run) -> None:
    sizes = sorted({*range(70), *(max(0, (1 << bits) + more) for bits in range(5, 41) for more in (-1, 0, 1, 1 << bits >> 2))})
    for name, pool in (("device", run.tools.DeviceMemoryPool()), ("pinned", run.tools.PageLockedMemoryPool())):
        bins = [pool.bin_number(size) for size in sizes]
        run.notes.append([f"bins of {name} memory", bins])
        run.notes.append([f"blocks of {name} memory", [pool.alloc_size(number) for number in bins]])


@in_context
def blocks(run: Run) -> None:
    pool = run.tools.DeviceMemoryPool()
    held = [pool.allocate(size) for size in (100, 1000, 1000, 5000, 0)]
    run.numbers("five blocks", pool)
    run.note("their lengths", list, map(len, held))
    address = int(held[1])
    held[1].free()
    run.numbers("one is freed", pool)
    run.note("freed again", held[1].free)
    run.numbers("one is freed again", pool)
    held[1] = pool.allocate(999)
    run.note("the same block", lambda: int(held[1]) == address == held[1].__index__())
    run.numbers("it is taken again", pool)
    del held[:2]
    run.numbers("two are freed", pool)
    run.note("what is held", pool.free_held)
    run.numbers("none is held", pool)
    held.pop(0)
    run.note("no more is held", pool.stop_holding)
    run.numbers("after that", pool)
    held.pop(0)
    run.numbers("one is freed after that", pool)
    held.append(pool.allocate(1000))
    run.numbers("one is taken after that", pool)
    held.clear()
    run.numbers("all are freed", pool)


@in_context
def a_device_that_is_full(run: Run) -> None:
    pool = run.tools.DeviceMemoryPool()
    held = [pool.allocate(size * MEBIBYTE) for size in (32, 64, 48, 16)]
    run.numbers("160 MiB", pool)
    del held[:3]
    run.numbers("16 MiB", pool)
    held.append(run.note("some of what is held is freed", pool.allocate, 128 * MEBIBYTE))
    run.numbers("128 MiB more", pool)
    run.note("too much", pool.allocate, 250 * MEBIBYTE)
    run.numbers("nothing more", pool)
    run.note("too much of the driver's", run.driver.mem_alloc, 250 * MEBIBYTE)
    run.note("nothing of the driver's", run.driver.mem_alloc, 0)
    run.note("what is left", lambda: [each >> 20 for each in run.driver.mem_get_info()])


def without_a_context(run: Run) -> None:
    driver, values = run.driver, np.zeros(64, np.uint8)
    with run.within():
        pool, pinned = run.tools.DeviceMemoryPool(), run.tools.PageLockedMemoryPool()
        memory, stream = driver.mem_alloc(64), driver.Stream()
        held = [pool.allocate(64), pool.allocate(640), pinned.allocate((64,), np.uint8)]
    run.note("current", driver.Context.get_current)
    run.note("its device", driver.Context.get_device)
    run.note("waiting", driver.Context.synchronize)
    run.note("leaving", driver.Context.pop)
    run.note("memory", driver.mem_alloc, 64)
    run.note("what is left", driver.mem_get_info)
    run.note("a stream", driver.Stream)
    run.note("an event", driver.Event)
    run.note("a pool", run.tools.DeviceMemoryPool)
    run.note("a new block", pool.allocate, 1 << 12)
    run.note("a pinned pool", run.tools.PageLockedMemoryPool)
    run.note("pinned memory", pinned.allocate, (1 << 12,), np.uint8)
    run.note("an array", run.gpuarray.GPUArray, (4,), np.float32)
    run.note("an array over memory", run.gpuarray.GPUArray, (4,), np.float32, gpudata=int(memory))
    run.note("to the device", driver.memcpy_htod, memory, values)
    run.note("to the host", driver.memcpy_dtoh, values, memory)
    run.note("to the device, later", driver.memcpy_htod_async, memory, values, stream)
    run.note("to the host, later", driver.memcpy_dtoh_async, values, memory, stream)
    run.note("on the device", driver.memcpy_dtod_async, int(memory) + 32, memory, 32, stream)
    held.pop()
    run.note("pinned memory that is held", pinned.allocate, (64,), np.uint8)
    run.note("a block is freed", held[0].free)
    run.numbers("after that", pool)
    with run.within():
        held.pop().free()
        run.numbers("another is freed in the context", pool)
    run.note("a block that is held", pool.allocate, 640)
    run.note("memory is freed", memory.free)
    run.note("freed again", memory.free)
    run.note("what is held is freed", pool.free_held)
    with run.within():
        held.clear()
        del stream, pool, pinned


def contexts(run: Run) -> None:
    driver, first = run.driver, run.contexts[0]
    other = driver.Device(0).retain_primary_context()

    def is_current() -> list[bool]:
        return [driver.Context.get_current() is context for context in (first, other)]

    run.note("two of one device are equal", first.__eq__, other)
    run.note("two of two devices are equal", first.__eq__, run.contexts[1])
    with run.within():
        run.note("current", is_current)
        other.push()
        run.note("current within", is_current)
        with run.within(1):
            run.note("the other device", lambda: driver.Context.get_device() == driver.Device(1))
        run.note("this device", lambda: driver.Context.get_device() == driver.Device(0))
        driver.Context.pop()
        run.note("peers", driver.Device(0).can_access_peer, driver.Device(1))
        run.note("a peer", driver.Context.enable_peer_access, run.contexts[1])
        run.note("a peer again", driver.Context.enable_peer_access, run.contexts[1])
        run.note("itself", driver.Context.enable_peer_access, first)
    run.note("none of that number", driver.Device, 2)
    run.note("a number below", driver.Device, -1)
    run.note("how many", driver.Device.count)
    run.note("capability", driver.Device(1).compute_capability)


def other_threads(run: Run) -> None:
    driver = run.driver
    with run.within():
        things = {"a stream": driver.Stream(), "an event": driver.Event(), "memory": driver.mem_alloc(64)}
        pool = run.tools.DeviceMemoryPool()
        held = [pool.allocate(64), pool.allocate(64)]
        held[0].free()

    def let_go(name: str) -> None:
        del things[name]

    for name in sorted(things):
        in_a_thread(run.note, f"{name} is let go of", let_go, name)
    in_a_thread(run.note, "a block is freed", held[1].free)
    in_a_thread(run.note, "what is held", pool.free_held)
    run.numbers("after that", pool)

    def free(label: str, block: Any, context: Any) -> None:
        context.push()
        run.note(f"a block is freed in {label}", block.free)
        run.note(f"what is held in {label}", pool.free_held)
        run.numbers("after that", pool)
        driver.Context.pop()

    other = driver.Device(0).retain_primary_context()
    for label, context in (("its context", run.contexts[0]), ("one that is equal", other), ("the other device's", run.contexts[1])):
        with run.within():
            held.append(pool.allocate(64))
        in_a_thread(free, label, held[-1], context)
    with run.within():
        held.clear()


def _seen(array: Any) -> list[Any]:
    flags = array.flags
    shown = [array.shape, array.strides, array.size, array.nbytes, array.itemsize, array.ndim]
    return [*shown, flags.c_contiguous, flags.f_contiguous, flags.forc, array.base, type(array.gpudata).__name__]


@in_context
def arrays(run: Run) -> None:
    memory = run.driver.mem_alloc(1 << 10)
    over: dict[str, Any] = {"gpudata": int(memory)}
    cases: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "of two axes": ((2, 3), np.float32, {}),
        "of none": ((), np.float32, {}),
        "of a number": (3, np.int64, {}),
        "without elements": ((0, 3), np.float32, {}),
        "over memory": ((2, 3), np.float32, over),
        "over memory with an owner": ((2, 3), np.float32, over | {"base": memory}),
        "over no memory with an owner": ((2, 3), np.float32, {"base": memory}),
        "in Fortran's order": ((2, 3), np.float32, {"order": "F"}),
        "with strides": ((2, 3), np.float32, over | {"strides": (4, 8)}),
        "of bfloat16": ((2, 3), ml_dtypes.bfloat16, {}),
    }
    for label, (shape, dtype, keywords) in cases.items():
        array = run.note(label, run.gpuarray.GPUArray, shape, dtype, **keywords)
        if array is not None:
            run.note(f"{label}: what it is", _seen, array)
            run.note(f"{label}: its address", lambda array: array.ptr > 0, array)
    made = run.note("of NumPy's", run.gpuarray.to_gpu, np.arange(6).reshape(2, 3))
    run.note("of NumPy's: what it is", _seen, made)
    run.note("of NumPy's: its elements", lambda: made.get().tolist())


@in_context
def copies(run: Run) -> None:
    driver, values = run.driver, np.arange(64, dtype=np.uint8)
    memory, stream, frozen = driver.mem_alloc(64), driver.Stream(), values.copy()
    frozen.flags.writeable = False
    half = int(memory) + 32
    run.note("there", driver.memcpy_htod, memory, values)
    run.note("there later", driver.memcpy_htod_async, memory, values, stream)
    run.note("there by a number", driver.memcpy_htod, int(memory), values)
    run.note("there by NumPy's number", driver.memcpy_htod, np.int64(int(memory)), values)
    run.note("from what is frozen", driver.memcpy_htod, memory, frozen)
    run.note("from bytes", driver.memcpy_htod, memory, b"1234")
    run.note("from strides", driver.memcpy_htod, memory, values[::2])
    run.note("from Fortran's order", driver.memcpy_htod, memory, values.reshape(8, 8).T)
    run.note("from bfloat16", driver.memcpy_htod, memory, np.zeros(4, ml_dtypes.bfloat16))
    run.note("from nothing", driver.memcpy_htod, memory, values[:0])
    run.note("from a list", driver.memcpy_htod, memory, [1, 2])
    run.note("to an array of NumPy", driver.memcpy_htod, values, values)
    run.note("to None", driver.memcpy_htod, None, values)
    run.note("on a number", driver.memcpy_htod_async, memory, values, 0)
    run.note("on no stream", driver.memcpy_htod_async, memory, values, None)
    run.note("by keywords", driver.memcpy_htod_async, dest=memory, src=values, stream=stream)
    run.note("by other keywords", driver.memcpy_htod_async, memory, values, on=stream)
    run.note("to what is frozen", driver.memcpy_dtoh, frozen, memory)
    run.note("to strides", driver.memcpy_dtoh, values[::2], memory)
    run.note("to bytes", driver.memcpy_dtoh, b"1234", memory)
    run.note("back", driver.memcpy_dtoh, values, memory)
    run.note("back later", driver.memcpy_dtoh_async, values, memory, stream)
    run.note("too much", driver.memcpy_htod, memory, np.zeros(65, np.uint8))
    run.note("on the device", driver.memcpy_dtod_async, half, memory, 32, stream)
    run.note("of no size", driver.memcpy_dtod_async, half, memory, 0, stream)
    run.note("on the device, with its context", driver.memcpy_peer_async, half, memory, 32, run.contexts[0], run.contexts[0], stream)
    with run.within(1):
        there = driver.mem_alloc(64)
        run.note("to another device", driver.memcpy_dtod_async, there, memory, 64)
        run.note("to another device, with its context", driver.memcpy_peer_async, there, memory, 64, run.contexts[1], run.contexts[0])
        del there


@in_context
def pinned(run: Run) -> None:
    pool = run.tools.PageLockedMemoryPool()
    cases: dict[str, tuple[Any, ...]] = {
        "bytes": ((64,), np.uint8),
        "an array": ((2, 3), np.float32),
        "Fortran's order": ((2, 3), np.float32, "F"),
        "an order that is none": ((2, 3), np.float32, "Z"),
        "a list": ([2, 3], "int16"),
        "a number": (4, np.uint8),
        "nothing": ((0,), np.uint8),
        "no axes": ((), np.float32),
        "bfloat16": ((2, 3), ml_dtypes.bfloat16),
    }
    for label, arguments in cases.items():
        found = run.note(label, pool.allocate, *arguments)
        run.numbers(f"{label}: numbers", pool)
        if found is not None:
            run.notes.append([f"{label}: what it is", _plain([found.shape, found.strides, str(found.dtype), found.flags.writeable])])
        del found
        gc.collect()
        run.numbers(f"{label}: numbers afterwards", pool)
    run.note("what is held", pool.free_held)
    run.numbers("none is held", pool)


@in_context
def streams_and_events(run: Run) -> None:
    driver = run.driver
    stream, event = driver.Stream(), driver.Event(driver.event_flags.DISABLE_TIMING)
    run.note("a stream with flags", driver.Stream, 1)
    run.note("a stream with text", driver.Stream, "1")
    run.note("an address", lambda: stream.handle > 0)
    run.note("recorded", lambda: event.record(stream) is event)
    run.note("recorded on none", event.record)
    run.note("recorded on a number", event.record, 0)
    run.note("waited for", stream.wait_for_event, event)
    run.note("waiting for nothing", stream.wait_for_event, None)
    run.note("waiting", stream.synchronize)
    run.note("reached", event.query)
    run.note("waiting for it", lambda: event.synchronize() is event)
    with run.within(1):
        run.note("of another device", lambda: event.record(driver.Stream()) is event)


def a_copy_between_contexts_that_are_not_named(run: Run) -> None:
    with run.within():
        memory = run.driver.mem_alloc(64)
        run.driver.memcpy_peer_async(int(memory) + 32, memory, 32)


def a_block_is_destroyed_without_a_context(run: Run) -> None:
    with run.within():
        block = run.tools.DeviceMemoryPool().allocate(64)
    del block


def a_thread_ends_in_a_context(run: Run) -> None:
    in_a_thread(run.contexts[0].push)


def the_interpreter_ends_in_a_context(run: Run) -> None:
    run.contexts[0].push()


def _by_name(*programs: Program) -> dict[str, Program]:
    return {program.__name__: program for program in programs}


PROGRAMS = _by_name(sizes_of_blocks, blocks, a_device_that_is_full, without_a_context, contexts, other_threads, arrays, copies, pinned)
PROGRAMS |= _by_name(streams_and_events)
ENDINGS = _by_name(a_copy_between_contexts_that_are_not_named, a_block_is_destroyed_without_a_context, a_thread_ends_in_a_context)
ENDINGS |= _by_name(the_interpreter_ends_in_a_context)
"""Programs that PyCUDA ends the process for."""


def noted(program: Program) -> Notes:
    """What a program noted."""
    run = Run()
    program(run)
    return run.notes


def status(program: Program) -> int:
    """The exit status of a process that runs one of the endings."""
    process = os.fork()
    if not process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        program(Run())
        sys.exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def outcomes() -> str:
    """Of all programs, as JSON."""
    found = {name: [["exit status", status(program)]] for name, program in ENDINGS.items()}
    found |= {name: noted(program) for name, program in PROGRAMS.items()}
    shown = {name: ",\n".join(map(json.dumps, notes)) for name, notes in found.items()}
    return "{\n" + ",\n".join(f'"{name}": [\n{notes}\n]' for name, notes in shown.items()) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(outcomes())
