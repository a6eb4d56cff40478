"""What an execution provider is, and the few values the core exchanges with one.

A provider answers three questions — is it available here, can it run this operation, where do its tensors live — and
does one thing: it builds a kernel for an operation it claimed; `onnxgpu.segment_provider` has those that do so for whole
parts of a graph. The core knows nothing else about providers and names none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from onnxgpu.place import HOST as HOST
from onnxgpu.place import DeviceMemory as DeviceMemory
from onnxgpu.place import Place as Place

if TYPE_CHECKING:
    from onnxgpu.libraries import Library

Array = Any
"""A tensor as its provider holds it: has `.shape` and `.dtype`; on the host it is a `numpy.ndarray`."""

Value = Any
"""What flows between operators: an Array, a list of Values (sequence), a dict (map) or None (empty optional)."""

Body = Callable[..., Sequence[Value]]
"""A graph attribute at run time: call it with the graph's inputs, get its outputs."""


Work = Callable[[], Any]
"""Launches on memory that is the same in every run."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The shape and dtype a kernel's output will have, known before the kernel runs.

    `may_reuse` lists the inputs whose memory the output may take over when nobody reads them any more; the kernel
    promises to be right when the two are the same buffer.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    may_reuse: tuple[int, ...] = ()

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def nbytes(self) -> int:
        """Size in bytes of a dense array with this spec."""
        return self.size * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """What is known of a value before the model runs.

    `dtype` and `shape` are None when unknown; a dimension is an int, a symbol, or None. `constant` loads the value of
    a constant (a memory-mapped or shared array: never write into it) and is None for everything else. `is_tensor` is False
    for a sequence or an optional value, whose `dtype` is that of its elements.
    """

    name: str
    dtype: np.dtype | None = None
    shape: tuple[int | str | None, ...] | None = None
    constant: Callable[[], np.ndarray] | None = None
    is_tensor: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """A node of the graph as providers see it: parsed once, independent of the model file's format.

    `version` is the opset version the node was written for. An absent optional input or output is None. A graph
    attribute appears in `attributes` as a `Subgraph`.
    """

    operator: str
    inputs: tuple[ValueInfo | None, ...]
    outputs: tuple[ValueInfo | None, ...]
    domain: str = ""
    version: int = 1
    name: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        domain = f"{self.domain}." if self.domain else ""
        return f"{domain}{self.operator} '{self.name}'" if self.name else f"{domain}{self.operator}"


@dataclass(frozen=True, slots=True)
class Subgraph:
    """A graph attribute (`body`, `then_branch`, …): what is known of its inputs and outputs."""

    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]


class Kernel(Protocol):
    """One operation, ready to run: attributes parsed, constant inputs laid out.

    A kernel is shared by all threads of a session, so `launch` keeps no state.
    """

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """Specs of the outputs for these inputs, or None: unknown until run.

        Reads only `.shape` and `.dtype` of the inputs, and the values of the host inputs it declared.
        """

    def workspace(self, inputs: Sequence[Value]) -> int:
        """Bytes of scratch memory `launch` wants for these inputs."""

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Run, writing into `outputs` (arrays with the specs that `outputs()` gave) and return them.

        Where `outputs()` answered None, `outputs` is None and the kernel returns arrays of its own.
        """


Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments by position."""


class InlineKernel(Kernel, Protocol):
    """A kernel that can say which functions its `launch` would call, so that a fixed plan calls them itself."""

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec] | None) -> Sequence[Call] | None:
        """The calls in order, or None: `launch` has to be called.

        Args:
            inputs: the array itself where it is the same in every run, otherwise a `Spec`.
            outputs: what `outputs()` gave. None: the results are views of one input, and the only call returns them.

        An argument that is one of these very objects stands for the array at run time. Any other `Spec` stands for scratch
        memory, the same object for the same memory, and everything else is passed as it is. The functions work on the calling
        thread alone, so that a plan of nothing else may run without `Provider.running` where that sets the number of threads.
        """


@dataclass(frozen=True, slots=True)
class Claim:
    """A provider's yes: how to build the kernel, and what the planner has to know about the operation's inputs.

    Attributes:
        build: makes the kernel.
        host_inputs: inputs wanted in host memory whatever the provider's own place is (shapes, axes, k).
        shape_only_inputs: inputs of which only shape and dtype are read, so that any place will do.
        view_of: the output is a view of this input and takes no memory of its own; None for a value of its own.
        absorbed_inputs: constant inputs that the built kernel keeps in a layout of its own and is not given at run time.
        host_outputs: outputs that are in host memory whatever the provider's own place is.
        deterministic: the same inputs give the same outputs, so that a constant operation can be folded.
        body_host: for a graph attribute, which of the body's inputs and outputs are in host memory (a loop's condition).
        note: what the provider runs it with, and why, where it has several ways.
    """

    build: Callable[[], Kernel]
    host_inputs: frozenset[int] = frozenset()
    shape_only_inputs: frozenset[int] = frozenset()
    view_of: int | None = None
    absorbed_inputs: frozenset[int] = frozenset()
    host_outputs: frozenset[int] = frozenset()
    deterministic: bool = True
    body_host: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a session asks of its providers while it is made and while it runs.

    Attributes:
        threads: how many threads may work on one node, the caller's included; 0: the provider decides.
        flush_denormals: denormal numbers count as zero.
    """

    threads: int = 0
    flush_denormals: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A provider's no, with the reason in words a user can act on."""

    reason: str


class Provider:
    """Base of every provider; one instance serves one session with one set of options.

    Class attributes:
        name: onnxruntime's name, `CPUExecutionProvider`.
        option_types: the options it takes and the type of each.
        preference: lower is tried first when the caller names no providers.
        listed: whether it appears in `get_all_providers()`.
        used_unasked: whether a session that names no providers has it, if it is listed and available.
        fallback: it takes over what no listed provider runs, unless the session forbids that.
        last_resort: it comes behind the fallback, so that no standard operator is missing.
        memory: names of the memory at its place; None for host memory. A provider with memory of its own takes the option
            `device_id`.

    Attributes:
        options: those given, of the declared types.
        has_namesake: one before it in the session has its name, and is on another device.
    """

    name: ClassVar[str]
    option_types: ClassVar[Mapping[str, type]] = {}
    preference: ClassVar[int] = 50
    listed: ClassVar[bool] = True
    used_unasked: ClassVar[bool] = True
    fallback: ClassVar[bool] = False
    last_resort: ClassVar[bool] = False
    memory: ClassVar[DeviceMemory | None] = None

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = dict(options or {})
        self.has_namesake = False

    @classmethod
    def unavailable(cls) -> str | None:
        """Why this provider cannot be used here, in words; None when it can."""
        return None

    @classmethod
    def libraries(cls) -> Sequence[Library]:
        """The libraries this provider needs or can use, found or not (for `onnxgpu doctor`)."""
        return ()

    @classmethod
    def option_value(cls, name: str, value: Any) -> Any:
        """What stands for `value` of the option `name` as a text, number or truth value; itself, if it is one."""
        return value

    @property
    def place(self) -> Place:
        """Where this provider's tensors live."""
        return HOST

    @property
    def label(self) -> str:
        """What the session calls it: its name, with the number of its device if it has a namesake."""
        return f"{self.name}:{self.place.index}" if self.has_namesake else self.name

    def domains(self) -> frozenset[str]:
        """Operator domains beyond ONNX's own of which this provider runs operators."""
        return frozenset()

    def claim(self, operation: Operation) -> Claim | Refusal:
        """Say whether this provider runs `operation`, and how."""
        raise NotImplementedError

    def cost(self, operation: Operation) -> float:
        """Estimated seconds for `operation` (an estimate, for comparing places); unknown dimensions count as 1."""
        return 1e-6 + bytes_moved(operation) / 10e9

    def join(self, others: Sequence[Provider]) -> None:
        """Called once a session, before all else, with the providers before this one: those at the same place may share what is there."""

    def prepare(self, settings: RunSettings) -> None:
        """Called once a session, before `running` is: log which settings cannot be obeyed here."""

    def running(self, settings: RunSettings) -> AbstractContextManager[None]:
        """In effect, on the calling thread, while a session with settings of its own is made or runs."""
        return nullcontext()

    def launching(self) -> AbstractContextManager[None]:
        """In effect, on the calling thread, while the steps of a run are launched."""
        return nullcontext()

    def completed(self) -> None:
        """Called at the end of a run that leaves outputs at this place: wait for what others cannot wait for themselves."""

    def synchronize(self) -> None:
        """Wait until everything that was launched is done."""

    def wait_for_stream(self, stream: int) -> None:
        """Wait for what another library launched on its stream, of which it gave the address."""
        self.synchronize()

    def memory_available(self) -> int | None:
        """Bytes that can still be allocated here, about; None if that is not known."""
        return None

    @property
    def recorded_with(self) -> object | None:
        """What records: launches of providers for which it is the same may be in one recording; None if nothing is ever recorded."""
        return None

    def recorder(self) -> Callable[[Work], Work | None] | None:
        """A function that gives what repeats the launches of some work in one call, by one thread at a time; None if there is none now.

        It calls the work any number of times, what is launched meanwhile need not happen, and it gives None for what cannot be repeated.
        """
        return None

    def allocate(self, spec: Spec) -> Array:
        """New memory at this provider's place."""
        raise NotImplementedError

    def allocator(self, spec: Spec) -> Callable[[], Array]:
        """A function that allocates `spec` whenever it is called, with as little overhead as the provider can."""
        return partial(self.allocate, spec)

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """An array with `spec` over bytes `offset…` of `memory`, a one-dimensional uint8 array."""
        raise NotImplementedError

    def upload(self, array: np.ndarray) -> Array:
        """A host array, copied to this provider's place."""
        raise NotImplementedError

    def upload_constant(self, array: np.ndarray) -> Array:
        """As `upload`, of what nobody writes into, so that sessions may share it."""
        return self.upload(array)

    def download(self, array: Array) -> np.ndarray:
        """An array at this provider's place, copied to the host."""
        raise NotImplementedError

    def download_later(self, array: Array) -> np.ndarray:
        """As `download` while steps are launched, but the elements are there only after `settle`."""
        return self.download(array)

    def settle(self) -> None:
        """Wait for what this thread asked of `download_later`."""

    def shares_memory(self, first: Array, second: Array) -> bool:
        """True if writing into one array may change the other."""
        raise NotImplementedError

    def copy_into(self, target: Array, source: Array) -> None:
        """Copy the elements of `source`, an array of the same shape and dtype here or on the host, into `target`, one here."""
        raise NotImplementedError

    def reaches(self, other: Provider) -> bool:
        """True if `copy_across` copies from the place of `other` without the host."""
        return False

    def copy_across(self, target: Array, source: Array, other: Provider) -> None:
        """Copy the elements of `source`, an array at the place of `other`, into `target`, one here of the same shape and dtype."""
        raise NotImplementedError

    def upload_into(self, target: Array, source: np.ndarray) -> None:
        """As `copy_into` from the host, where nothing that this run launched uses the memory of `target`."""
        self.copy_into(target, source)

    def download_into(self, target: np.ndarray, source: Array) -> None:
        """Copy the elements of `source`, an array at this provider's place, into a host array of the same shape and dtype."""
        np.copyto(target, self.download(source))

    def pointer(self, array: Array) -> int:
        """The address of the first element of a dense array."""
        raise NotImplementedError

    def index_at(self, pointer: int) -> int:
        """Of several devices, the number of the one that has the memory at an address; this one's if nothing is known of it."""
        return self.place.index

    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """A dense array over memory at this provider's place that is not its own; `owner` keeps that alive."""
        raise NotImplementedError

    def to_dlpack(self, array: Array) -> object:
        """A DLPack capsule (`dltensor`) of a dense array, without a copy."""
        raise NotImplementedError


def bytes_moved(operation: Operation) -> int:
    """Bytes of all inputs and outputs of `operation`; unknown dimensions count as 1, unknown dtypes as 4 bytes."""
    return sum(bytes_of(value) for value in (*operation.inputs, *operation.outputs) if value is not None)


def bytes_of(value: ValueInfo) -> int:
    """Bytes of a value; unknown dimensions count as 1, an unknown dtype as 4 bytes."""
    count = value.dtype.itemsize if value.dtype is not None else 4
    for size in value.shape or ():
        count *= size if isinstance(size, int) else 1
    return count
