"""Plans of cuDNN graphs: built by its heuristics, kept for each device in memory and on disk, run by addresses.

On the emulated device the same graphs are interpreted. Whatever the device, nothing is timed to choose a plan.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from onnxgpu.atomic_file import whole_file
from onnxgpu.log import logger
from onnxgpu.providers.cuda.cache import cache_folder
from onnxgpu.providers.cuda.capture import forbid, keep
from onnxgpu.providers.cuda.device import cupy, is_emulated
from onnxgpu.providers.cuda.libraries.convolution_graphs import Convolution, describe
from onnxgpu.providers.cuda.libraries.found import cudnn
from onnxgpu.providers.cuda.libraries.kernel import NotCovered

_MOST_PLANS = 1024
_DIGEST_BYTES = 32


class Plan(Protocol):
    """A graph that can be run."""

    workspace: int
    """Bytes that `run` needs, on a multiple of 256."""

    def run(self, addresses: dict[int, int], workspace: int, stream: int) -> None:
        """Launch, with each tensor's number → its address, a multiple of 16."""


class Plans:
    """The plans of one device, made when first asked for; what cuDNN has none for is remembered too.

    Args:
        make: builds one, or raises NotCovered.
    """

    def __init__(self, make: Callable[[Convolution], Plan]) -> None:
        self._make = make
        self._plans: dict[Convolution, Plan | str] = {}

    def plan(self, convolution: Convolution) -> Plan:
        """The plan for `convolution`.

        Raises:
            NotCovered: cuDNN has none for it.
            NotCapturable: it has to be made, and this thread is capturing.
        """
        known = self._plans.get(convolution)
        if known is None:
            forbid("it makes a cuDNN plan")
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            try:
                known = self._make(convolution)
            except NotCovered as error:
                known = str(error)
            self._plans[convolution] = known
        if isinstance(known, str):
            raise NotCovered(known)
        return known

    def fused(self, convolution: Convolution) -> tuple[Plan, bool]:
        """A plan for `convolution`, and whether what follows the convolution is in it: cuDNN does not have that for all shapes."""
        if convolution == convolution.bare:
            return self.plan(convolution), True
        try:
            return self.plan(convolution), True
        except NotCovered:
            return self.plan(convolution.bare), False


@cache
def plans(device: int) -> Plans:
    """Those of a device, which is the current one."""
    return Plans(_interpreted if is_emulated() else Backend(device).plan)


def empty_graph(module: Any, **place: Any) -> Any:
    """A graph that computes in float32.

    Args:
        module: `cudnn`.
        place: `handle`, or `device_property` of a device that need not be here.
    """
    wide = module.data_type.FLOAT
    return module.pygraph(intermediate_data_type=wide, compute_data_type=wide, **place)


def build(module: Any, graph: Any, convolution: Convolution) -> None:
    """Choose and build the plan of a graph: the first of the heuristic's that keeps float32's precision, where that is asked for.

    Raises:
        NotCovered: cuDNN has none.
    """
    notes = module.numerical_note
    unwanted = [notes.NONDETERMINISTIC, notes.REDUCED_PRECISION_REDUCTION]
    if convolution.dtype == "float" and not convolution.tf32:
        unwanted += [notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS]
    try:
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([module.heur_mode.A, module.heur_mode.FALLBACK])
        graph.deselect_numeric_notes(unwanted)
        graph.check_support()
        graph.build_plans()
    except module.cudnnGraphNotSupportedError as error:
        raise NotCovered(f"cuDNN has no plan for it ({str(error)[:200]})") from None


class Backend:
    """cuDNN itself on one device."""

    def __init__(self, device: int) -> None:
        self._cudnn, self._device = cudnn().module, device
        self._idle: list[Any] = []
        facts = cupy().cuda.runtime.getDeviceProperties(device)
        self._identity = "\n".join(
            (facts["name"].decode(), f"{facts['major']}.{facts['minor']}", cudnn().version, str(self._cudnn.__version__))
        )

    def plan(self, convolution: Convolution) -> Plan:
        """See `Plans`."""
        with self._handle() as handle:
            graph = empty_graph(self._cudnn, handle=handle)
            describe(self._cudnn, graph, convolution)
            path = self._path(repr(graph), convolution)
            kept = _read(path)
            if kept is not None:
                try:
                    restored = self._cudnn.pygraph(handle=handle)
                    restored.deserialize(handle, list(kept))
                    return BackendPlan(self, restored)
                except Exception as error:  # a file of another build of cuDNN: its plan is built anew and takes the file's place
                    logger.info("the cuDNN plan %s cannot be used (%s) and is built anew", path, error)
            build(self._cudnn, graph, convolution)
            _write(path, bytes(graph.serialize()))
            return BackendPlan(self, graph)

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

    def _path(self, text: str, convolution: Convolution) -> Path:
        key = hashlib.sha256("\n".join((self._identity, text, str(convolution.tf32))).encode()).hexdigest()
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


def _interpreted(convolution: Convolution) -> Plan:
    from onnxgpu.providers.cuda.emulator.cudnn_graphs import InterpretedGraph

    module = cudnn().module
    graph = empty_graph(module)
    describe(module, graph, convolution)
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
