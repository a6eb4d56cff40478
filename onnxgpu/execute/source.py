"""A fixed plan as the source of a Python function: one line a call, nothing decided while it runs.

    def run(pause, v2, v3):
        v6 = empty()
        add(v2, v3, v4)
        multiply(v4, v3, v4)
        launch([v4, v5], [v6], None)
        return [v6]

`v4` is the value of slot 4: a local variable where it differs between runs, otherwise an array that was made beforehand. A
kernel that can say what it calls (`calls`, see `onnxgpu.provider.InlineKernel`) has its calls in the function, every other
kernel its `launch`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from onnxgpu.execute.handing_out import Form, copying_into, forms
from onnxgpu.execute.loop import new_memory
from onnxgpu.execute.memory import StepMemory
from onnxgpu.execute.record import Kind, kind_of
from onnxgpu.plan.steps import ABSENT, DISCARD, Step
from onnxgpu.plan.transfer import TransferKernel
from onnxgpu.provider import Call, Kernel, Provider, Spec, Value

if TYPE_CHECKING:
    from onnxgpu.execute.fixed import FixedPlan

_TAKEN = re.compile(r"make|run|pause|results|[gvw]\d+|s\d+_\d+|resume\d+|repeat\d+")
"""Names that the text gives to functions, values, workspaces, scratch memory, and memory that the caller gives for copies."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Which of a plan's functions.

    Attributes:
        pauses: between steps.
        given: positions of outputs whose memory the caller gives; what no step can write there is copied.
        repeated: groups of steps in whose place a recording is called.
    """

    pauses: bool = False
    given: tuple[int, ...] = ()
    repeated: tuple[tuple[int, ...], ...] = ()

    @property
    def is_later(self) -> bool:
        """True if the caller waits for what is on its way to the host."""
        return not self.pauses and not self.given


@dataclass(frozen=True, slots=True)
class Source:
    """The text and what its names stand for.

    Attributes:
        text: defines `make`, which takes what its names stand for and returns the function.
        make: the compiled text.
        names: the parameters of `make`, by position: those of `shared`, `slots`, `scratch`, `workspaces`, `resumes` and `repeats`. (By
            keyword, the time to hand them over grows with the square of their number.)
        positions: line (from 0) → position of the step whose call it is; None for lines that are no kernel's.
        shared: name → the same object in every context.
        slots: slots whose arrays are made beforehand.
        scratch: name → step position, offset in its workspace, and spec.
        workspaces: positions of steps with a workspace that their `launch` is given.
        resumes: names of functions that go on in the loop behind a step, with its position and the slots they are given.
        repeats: names of recordings, with the positions that they stand for.
    """

    text: str
    make: Callable[..., Callable[..., Any]]
    names: tuple[str, ...]
    positions: tuple[int | None, ...]
    shared: dict[str, Any]
    slots: tuple[int, ...]
    scratch: dict[str, tuple[int, int, Spec]]
    workspaces: tuple[int, ...]
    resumes: dict[str, tuple[int, tuple[int, ...]]]
    repeats: dict[str, tuple[int, ...]]


def write_source(fixed: FixedPlan, made: frozenset[int], variant: Variant) -> Source:
    """The function for `fixed`.

    Args:
        fixed: the plan.
        made: slots whose arrays are made beforehand.
        variant: which function.
    """
    return _Writer(fixed, made, variant).source()


class _Writer:
    def __init__(self, fixed: FixedPlan, made: frozenset[int], variant: Variant) -> None:
        self._fixed, self._made, self._variant = fixed, made, variant
        given = {position: fixed.plan.outputs[position] for position in variant.given}
        self._given = set(given.values()) & (fixed.fresh_slots | fixed.transferred_slots)
        self._copied = {position for position, slot in given.items() if slot not in self._given}
        self._lines: list[str] = []
        self._positions: list[int | None] = []
        self._shared: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._stems: Counter[str] = Counter()
        self._slots: set[int] = set()
        self._locals: set[int] = set(fixed.plan.inputs)
        self._scratch: dict[str, tuple[int, int, Spec]] = {}
        self._workspaces: list[int] = []
        self._resumes: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._repeats: dict[str, tuple[int, ...]] = {}

    def source(self) -> Source:
        plan = self._fixed.plan
        steps = sorted(enumerate(plan.steps), key=lambda item: not self._fixed.is_ahead(item[1], self._made))
        groups = {group[0]: group for group in self._variant.repeated}
        repeated = {position for group in self._variant.repeated for position in group}
        for position, step in steps:
            if position in groups:
                name = f"repeat{position}"
                self._repeats[name] = groups[position]
                if self._variant.pauses:
                    self._line("pause()")
                self._line(f"{name}()", position)
            elif position not in repeated and not self._fixed.is_passed(position, self._made):
                self._step(position, step)
        how = forms(plan, self._fixed.record, is_body=self._fixed.is_body, settled=self._fixed.fresh_slots)
        outputs = [self._output(position, slot, form) for position, (slot, form) in enumerate(zip(plan.outputs, how, strict=True))]
        self._line(f"return [{', '.join(outputs)}]")
        given = (f"g{p}" if p in self._copied else f"v{plan.outputs[p]}" for p in self._variant.given)
        parameters = ["pause", *(f"v{slot}" for slot in plan.inputs), *given]
        outer = [*self._shared, *(f"v{s}" for s in self._slots), *self._scratch, *(f"w{p}" for p in self._workspaces), *self._resumes]
        outer += self._repeats
        head = [f"def make({', '.join(outer)}):", f"    def run({', '.join(parameters)}):"]
        text = "\n".join([*head, *(f"        {line}" for line in self._lines), "    return run", ""])
        namespace: dict[str, Any] = {}
        exec(compile(text, f"<onnxgpu plan {plan.name!r}>", "exec"), namespace)
        return Source(
            text,
            namespace["make"],
            tuple(outer),
            (*[None] * len(head), *self._positions),
            self._shared,
            tuple(self._slots),
            self._scratch,
            tuple(self._workspaces),
            self._resumes,
            self._repeats,
        )

    def _line(self, text: str, position: int | None = None) -> None:
        self._lines.append(text)
        self._positions.append(position)

    def _name(self, value: Any, stem: str) -> str:
        """The name of an object that every context shares."""
        if id(value) not in self._names:
            name = stem
            while name in self._shared:
                self._stems[stem] += 1
                name = f"{stem}_{self._stems[stem]}"
            self._names[id(value)] = name
            self._shared[name] = value
        return self._names[id(value)]

    def _value(self, slot: int) -> str:
        if slot in self._locals:
            return f"v{slot}"
        if slot == ABSENT or slot not in self._made:
            return "None"
        self._slots.add(slot)
        return f"v{slot}"

    def _output(self, position: int, slot: int, form: Form) -> str:
        if position in self._copied:
            self._line(f"{self._name(copying_into(self._fixed.plan, slot), 'copy_into')}(g{position}, {self._value(slot)})")
            return f"g{position}"
        return self._value(slot) if form is None else f"{self._name(form, form.__name__)}({self._value(slot)})"

    def _step(self, position: int, step: Step) -> None:
        if self._variant.pauses:
            self._line("pause()")
        memory = self._fixed.memory[position]
        if memory is None or memory.is_view:
            self._returning(position, step, memory)
        else:
            outputs = [self._memory_for(position, step, index, spec) for index, spec in enumerate(memory.specs)]
            if memory.calls is None:
                self._launch(position, step, memory, outputs)
            else:
                self._inlined(position, step, memory, outputs)
        for slot in step.releases:
            if slot in self._locals and slot not in self._fixed.plan.inputs:
                self._locals.discard(slot)
                self._line(f"del v{slot}")

    def _memory_for(self, position: int, step: Step, index: int, spec: Spec) -> str:
        """The array for one output: made beforehand, given by the caller, or new in every run."""
        slot = step.outputs[index] if index < len(step.outputs) else DISCARD
        if slot in self._made:
            return self._value(slot)
        new = f"{self._name(step.provider.allocator(spec), 'empty')}()"
        if slot == DISCARD:
            return new
        self._locals.add(slot)
        if slot not in self._given:
            self._line(f"v{slot} = {new}", position)
        return f"v{slot}"

    def _launch(self, position: int, step: Step, memory: StepMemory, outputs: Sequence[str]) -> None:
        workspace = "None"
        if memory.workspace:
            workspace = f"w{position}"
            self._workspaces.append(position)
        inputs = ", ".join(self._value(slot) for slot in step.inputs)
        function: Callable[..., Any] = step.kernel.launch
        if isinstance(step.kernel, TransferKernel) and self._fixed.is_ahead(step, self._made):
            function = step.kernel.launch_ahead
        launch = self._name(function, _stem(step))
        self._line(f"{launch}([{inputs}], [{', '.join(outputs)}], {workspace})", position)

    def _inlined(self, position: int, step: Step, memory: StepMemory, outputs: Sequence[str]) -> None:
        assert memory.calls is not None
        names = self._input_names(step, memory)
        names |= {id(spec): name for spec, name in zip(memory.specs, outputs, strict=True)}
        for number, (spec, offset) in enumerate(memory.scratch):
            names[id(spec)] = f"s{position}_{number}"
            self._scratch[f"s{position}_{number}"] = (position, offset, spec)
        for call in memory.calls:
            self._line(self._call(step, call, names), position)

    def _input_names(self, step: Step, memory: StepMemory) -> dict[int, str]:
        return {id(given): self._value(slot) for given, slot in zip(memory.inputs, step.inputs, strict=True)}

    def _call(self, step: Step, call: Call, names: Mapping[int, str]) -> str:
        """A call of a kernel; `names`: identity of an argument → its name."""
        function, arguments = call
        texts = [names.get(id(argument)) or self._name(argument, "c") for argument in arguments]
        name = getattr(function, "__name__", "")
        return f"{self._name(function, _identifier('' if name.startswith('_') else name, _stem(step)))}({', '.join(texts)})"

    def _returning(self, position: int, step: Step, memory: StepMemory | None) -> None:
        """A step that returns its results: views, or else arrays whose memory is asked for in every run.

        Where one of those has another shape than recorded, the loop goes on from here.
        """
        stores = [(index, slot) for index, slot in enumerate(step.outputs) if slot != DISCARD and slot not in self._made]
        if memory is None or memory.calls is None:
            call = self._call_of_unknown_memory(step)
        else:
            call = self._call(step, memory.calls[0], self._input_names(step, memory))
        self._line(f"results = {call}" if stores else call, position)
        for index, slot in stores:
            self._locals.add(slot)
            self._line(f"v{slot} = results[{index}]", position)
        expected = [(index, kind) for index, slot in stores if (kind := self._fixed.record.kinds.get(slot)) is not None]
        if expected and memory is None:
            live = tuple(sorted(self._locals))
            self._resumes[f"resume{position}"] = position, live
            differ = self._name(partial(_differ, tuple(expected)), "differ")
            self._line(f"if {differ}(results): return resume{position}(pause, {', '.join(f'v{slot}' for slot in live)})")
        if stores:
            self._line("del results")

    def _call_of_unknown_memory(self, step: Step) -> str:
        if isinstance(step.kernel, TransferKernel) and step.outputs[0] in self._given:
            return f"{self._name(step.kernel.launch_into, 'transfer_into')}(v{step.outputs[0]}, {self._value(step.inputs[0])})"
        if isinstance(step.kernel, TransferKernel) and self._variant.is_later and step.outputs[0] in self._fixed.later_slots:
            return f"{self._name(step.kernel.launch_later, 'transfer_later')}([{self._value(step.inputs[0])}])"
        launch = self._name(partial(_launched, step.kernel, step.provider), _stem(step))
        return f"{launch}([{', '.join(self._value(slot) for slot in step.inputs)}])"


def _stem(step: Step) -> str:
    """A name for a step's function in the text."""
    return _identifier(f"launch_{step.operation.operator}", "launch")


def _identifier(text: str, instead: str) -> str:
    """`text` if it can name a shared object in the text, where some names are taken."""
    return text if text.isidentifier() and text.isascii() and not iskeyword(text) and not _TAKEN.fullmatch(text) else instead


def _launched(kernel: Kernel, provider: Provider, inputs: Sequence[Value]) -> Sequence[Value]:
    return kernel.launch(inputs, *new_memory(kernel, provider, inputs))


def _differ(expected: Sequence[tuple[int, Kind]], results: Sequence[Value]) -> bool:
    """True if a result is not of the kind that was recorded."""
    return any(kind_of(results[index]) != kind for index, kind in expected)
