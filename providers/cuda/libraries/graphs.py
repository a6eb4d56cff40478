"""Plans of cuDNN graphs: chosen by plan_search.py, kept for each device in memory and on disk, run by addresses.

On the emulated device the same graphs are interpreted.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from onnxgpu.atomic_file import whole_file
from onnxgpu.log import logger
from onnxgpu.providers.cuda.cache import cache_folder
from onnxgpu.providers.cuda.capture import forbid, keep
from onnxgpu.providers.cuda.device import cupy, is_emulated
from onnxgpu.providers.cuda.libraries.found import cudnn
from onnxgpu.providers.cuda.libraries.kernel import NotCovered
from onnxgpu.providers.cuda.libraries.plan_search import Problem, build, build_fastest

SomeProblem = TypeVar("SomeProblem", bound=Problem)

_MOST_PLANS = 1024
_DIGEST_BYTES = 32
_ALIGNMENT = 256
_TIMED_RUNS = 5


class Plan(Protocol):
    """A graph that can be run."""

    workspace: int
    """Bytes that `run` needs, on a multiple of 256."""

    def run(self, addresses: dict[int, int], workspace: int, stream: int) -> None:
        """Launch, with each tensor's number → its address, a multiple of 16."""


class Plans:
    """The plans of one device, made when first asked for; what cuDNN has none for is remembered too.

    Args:
        make: builds one of the heuristics', or of the generic ones, or raises NotCovered.
    """

    def __init__(self, make: Callable[[Problem, bool], Plan]) -> None:
        self._make = make
        self._plans: dict[tuple[Problem, bool], Plan | str] = {}

    def plan(self, problem: Problem, *, fallback: bool = False) -> Plan:
        """The plan for `problem`; of the generic ones with `fallback`.

        Raises:
            NotCovered: cuDNN has none for it.
            NotCapturable: it has to be made, and this thread is capturing.
        """
        key = (problem, fallback)
        known = self._plans.get(key)
        if known is None:
            forbid("it makes a cuDNN plan")
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            try:
                known = self._make(problem, fallback)
            except NotCovered as error:
                known = str(error)
            self._plans[key] = known
        if isinstance(known, str):
            raise NotCovered(known)
        return known

    def first(self, problems: Iterable[SomeProblem]) -> tuple[Plan, SomeProblem]:
        """The first problem that a heuristic has a plan for, else that has a generic one, and its plan.

        cuDNN does not have all that follows a convolution for all shapes: what it has a good plan for stands before what it has with
        all that follows.

        Raises:
            NotCovered: cuDNN has none for any of them.
            NotCapturable: one has to be made, and this thread is capturing.
        """
        reason = ""
        for fallback in (False, True):
            for problem in problems:
                try:
                    return self.plan(problem, fallback=fallback), problem
                except NotCovered as error:
                    reason = reason or str(error)
        raise NotCovered(reason)


@cache
def plans(device: int, search: str = "HEURISTIC") -> Plans:
    """Those of a device, which is the current one.

    Args:
        device: its number.
        search: one of SEARCHES.
    """
    return Plans(_interpreted if is_emulated() else Backend(device, is_exhaustive=search == "EXHAUSTIVE").plan)


def empty_graph(module: Any, **place: Any) -> Any:
    """A graph that computes in float32.

    Args:
        module: `cudnn`.
        place: `handle`, or `device_property` of a device that need not be here.
    """
    wide = module.data_type.FLOAT
    return module.pygraph(intermediate_data_type=wide, compute_data_type=wide, **place)


class Backend:
    """cuDNN itself on one device.

    Args:
        device: its number.
        is_exhaustive: plans are timed to choose one.
        time: gives the milliseconds that what it is given takes on the current stream.
    """

    def __init__(self, device: int, *, is_exhaustive: bool = False, time: Callable[[Callable[[], None]], float] | None = None) -> None:
        self._cudnn, self._device = cudnn().module, device
        self._is_exhaustive, self._time = is_exhaustive, time or _milliseconds
        self._idle: list[Any] = []
        facts = cupy().cuda.runtime.getDeviceProperties(device)
        self._identity = "\n".join(
            (facts["name"].decode(), f"{facts['major']}.{facts['minor']}", cudnn().version, str(self._cudnn.__version__))
        )

    def plan(self, problem: Problem, fallback: bool) -> Plan:
        """See `Plans`."""
        with self._handle() as handle:
            graph = self._described(handle, problem)
            path = self._path(repr(graph), problem, fallback)
            kept = _read(path)
            if kept is not None:
                try:
                    restored = self._cudnn.pygraph(handle=handle)
                    restored.deserialize(handle, list(kept))
                    return BackendPlan(self, restored)
                except Exception as error:  # a file of another build of cuDNN: its plan is built anew and takes the file's place
                    logger.info("the cuDNN plan %s cannot be used (%s) and is built anew", path, error)
            if self._is_exhaustive and not fallback:
                graph = self._fastest(handle, problem)
            else:
                build(self._cudnn, graph, problem, fallback=fallback)
            _write(path, bytes(graph.serialize()))
            return BackendPlan(self, graph)

    def _described(self, handle: Any, problem: Problem) -> Any:
        graph = empty_graph(self._cudnn, handle=handle)
        problem.describe(self._cudnn, graph)
        return graph

    def _fastest(self, handle: Any, problem: Problem) -> Any:
        """Timed on the current stream, on memory that is given back."""
        xp = cupy()
        sizes = problem.tensor_bytes()
        memory = {number: xp.zeros(size, np.uint8) for number, size in sizes.items()}
        addresses = {number: int(array.data.ptr) for number, array in memory.items()}
        self._cudnn.set_stream(handle=handle, stream=xp.cuda.get_current_stream().ptr)

        def attempt(graph: Any, index: int) -> float:
            room = xp.empty(graph.get_workspace_size_plan_at_index(index) + _ALIGNMENT, np.uint8)
            workspace = int(room.data.ptr) + -int(room.data.ptr) % _ALIGNMENT
            return self._time(lambda: graph.execute_plan_at_index(addresses, workspace, index, handle=handle))

        return build_fastest(self._cudnn, lambda: self._described(handle, problem), problem, attempt)

    @contextmanager
    def _handle(self) -> Iterator[Any]:
        """One that nobody else is using: a handle has one stream at a time."""
        try:
            handle = self._idle.pop()
        except IndexError:
            forbid("it makes a cuDNN handle")
            handle = self._cudnn.create_handle()
        try:
            yield handle
        finally:
            self._idle.append(handle)

    def _path(self, text: str, problem: Problem, fallback: bool) -> Path:
        kind = "generic" if fallback else "fastest" if self._is_exhaustive else "heuristic"
        key = hashlib.sha256("\n".join((self._identity, text, str(problem.tf32), kind)).encode()).hexdigest()
        return cache_folder() / "cudnn" / f"{key[:32]}.plan"

    def execute(self, graph: Any, addresses: dict[int, int], workspace: int, stream: int) -> None:
        """Launch on `stream`."""
        with self._handle() as handle:
            self._cudnn.set_stream(handle=handle, stream=stream)
            graph.execute(addresses, workspace, handle=handle)


class BackendPlan:
    """A plan of cuDNN's.

    Args:
        backend: which it is run by.
        graph: with its plan built.
    """

    def __init__(self, backend: Backend, graph: Any) -> None:
        self._backend, self._graph, self._lock = backend, graph, threading.Lock()
        self.workspace = int(graph.get_workspace_size())

    def run(self, addresses: dict[int, int], workspace: int, stream: int) -> None:
        """See `Plan`."""
        keep(self)
        with self._lock:  # the front end keeps what it is executing in the graph
            self._backend.execute(self._graph, addresses, workspace, stream)


def _milliseconds(run: Callable[[], None]) -> float:
    """Of one run, on the current stream; the median of a few."""
    run()
    events = cupy().cuda
    taken = []
    for _ in range(_TIMED_RUNS):
        first, last = events.Event(), events.Event()
        first.record()
        run()
        last.record()
        last.synchronize()
        taken.append(events.get_elapsed_time(first, last))
    return float(sorted(taken)[_TIMED_RUNS // 2])


def _interpreted(problem: Problem, fallback: bool) -> Plan:
    from onnxgpu.providers.cuda.emulator.cudnn_graphs import InterpretedGraph

    module = cudnn().module
    graph = empty_graph(module)
    problem.describe(module, graph)
    return InterpretedGraph(repr(graph))


def _read(path: Path) -> bytes | None:
    """What `_write` wrote; None if there is no such file, or it is damaged."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    digest, content = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None


def _write(path: Path, content: bytes) -> None:
    """Keep a plan; without a place to keep it, it is built again in the next process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(hashlib.sha256(content).digest() + content)
    except OSError as error:
        logger.info("the cuDNN plan %s cannot be kept: %s", path, error)
