"""Operators as decorated functions: one place an operator, and its conditions in the same decorator.

    registry = Registry()

    @registry.operator("Relu", specs=like_first)
    def relu(xp, x, *, out=None):
        return xp.maximum(x, 0, out=out)

The function's parameters are the operator's: first the array module, then the inputs by position (an optional input
defaults to None, `*inputs` is variadic), then the attributes as keywords with ONNX's defaults. Four keywords are not
attributes and are passed only to functions that name them: `out` (memory to write into, one array or a tuple),
`output_count` (how many outputs the node has), `version` (its opset) and `dtype_hint` (the declared dtype of its first
output, or None).

An operator is registered for what it means: `since` is the first opset with that meaning, and it holds until the next
registration of the same operator. An opset that changes nothing needs no entry.

A class in place of a function is an operator that prepares itself: `Class(xp, operation)` is the kernel, made once for
each node, with the methods of `onnxgpu.provider.Kernel`.
"""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from onnxgpu.array_module import is_numpy
from onnxgpu.computed_once import computed_once
from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Call, Claim, Operation, Refusal, Spec, Subgraph, Value
from onnxgpu.tracing import traced_calls, traced_views

Implementation = TypeVar("Implementation", bound=Callable[..., Any])
When = Callable[[Operation], str | None]
SpecsFunction = Callable[..., Spec | Sequence[Spec] | None]

NEWEST_OPSET = {"": 28, "ai.onnx.ml": 5, "com.microsoft": 1}
_NOT_ATTRIBUTES = ("out", "output_count", "version", "dtype_hint")


@dataclass(frozen=True, slots=True)
class Parameters:
    """A function's parameters as an operator's.

    `attribute_defaults` holds `inspect.Parameter.empty` for a required attribute; `asked` are the keywords it names that
    are no attributes.
    """

    inputs: tuple[str, ...]
    variadic: bool
    required_inputs: int
    attribute_defaults: Mapping[str, Any]
    asked: frozenset[str]


@dataclass(frozen=True)
class Entry:
    """One registered meaning of an operator. See `Registry.operator` for the fields."""

    operator: str
    domain: str
    since: int
    implementation: Callable[..., Any]
    specs: SpecsFunction | None
    types: frozenset[str] | None
    when: When | None
    view: bool
    host: tuple[str, ...]
    shape_only: tuple[str, ...]
    absorbs: tuple[str, ...]
    deterministic: bool
    alone: bool

    @computed_once
    def parameters(self) -> Parameters:
        """What the implementation's signature says (read when first asked for: there are hundreds of operators)."""
        return _parameters(self.implementation)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs by position, without a variadic one."""
        return self.parameters.inputs

    @property
    def variadic(self) -> bool:
        """True if any number of inputs may follow the named ones."""
        return self.parameters.variadic

    @property
    def is_class(self) -> bool:
        """True if the implementation prepares itself (see the module's docstring)."""
        return inspect.isclass(self.implementation)

    def refusal(self, operation: Operation) -> str | None:
        """Why this entry does not cover `operation`, or None."""
        given = len(operation.inputs)
        if given > len(self.input_names) and not self.variadic:
            return f"takes at most {len(self.input_names)} inputs, the node has {given}"
        missing = [
            n
            for n, v in zip(
                self.input_names[: self.parameters.required_inputs], _padded(operation.inputs, self.parameters.required_inputs), strict=True
            )
            if v is None
        ]
        if missing:
            return f"needs input {missing[0]!r}, which the node leaves out"
        if not self.is_class:
            unknown = sorted(set(operation.attributes) - set(self.parameters.attribute_defaults))
            if unknown:
                return f"does not know attribute {unknown[0]!r}"
            absent = [
                n for n, d in self.parameters.attribute_defaults.items() if d is inspect.Parameter.empty and n not in operation.attributes
            ]
            if absent:
                return f"needs attribute {absent[0]!r}, which the node does not set"
        if self.types is not None and operation.inputs and operation.inputs[0] is not None:
            dtype = operation.inputs[0].dtype
            if dtype is not None and name_of(dtype) not in self.types:
                return f"does not take element type {name_of(dtype)} (takes {', '.join(sorted(self.types))})"
        return self.when(operation) if self.when else None

    def indices(self, names: Sequence[str], input_count: int) -> frozenset[int]:
        """Positions of the inputs with these names; the variadic input's name stands for all of its inputs."""
        found = {i for i, name in enumerate(self.input_names[:input_count]) if name in names}
        if self.variadic and "*" in names:
            found |= set(range(len(self.input_names), input_count))
        return frozenset(found)


class Registry:
    """The operators of one provider, or of the family of providers that share an array module's interface.

    Args:
        base: a registry to look in for what this one does not have or refuses.
    """

    def __init__(self, base: Registry | None = None) -> None:
        self.base = base
        self._entries: dict[tuple[str, str], list[Entry]] = {}

    def operator(
        self,
        operator: str,
        *,
        domain: str = "",
        since: int = 1,
        specs: SpecsFunction | None = None,
        types: frozenset[str] | None = None,
        when: When | None = None,
        view: bool = False,
        host: tuple[str, ...] = (),
        shape_only: tuple[str, ...] = (),
        absorbs: tuple[str, ...] = (),
        deterministic: bool = True,
        alone: bool = False,
    ) -> Callable[[Implementation], Implementation]:
        """Register the decorated function or class as `operator`.

        Args:
            operator: ONNX's name.
            domain: "" is ai.onnx.
            since: first opset version with this meaning.
            specs: `specs(*inputs, **attributes)` gives the outputs' Spec, or None for "unknown until run"; then the
                function is given `out` and writes into it. Without `specs` the function returns arrays of its own.
            types: ONNX names of the element types the first input may have; None for all.
            when: `when(operation)` gives a reason not to claim the node, or None.
            view: the first output is a view of the first input.
            host: names of inputs wanted in host memory, whose values may decide the outputs' shapes ("*": variadic).
            shape_only: names of inputs of which only shape and dtype are read.
            absorbs: names of inputs that the kernel, if they are constant, keeps in a form of its own (classes only).
            deterministic: False for random operators.
            alone: it works on the calling thread alone: no matrix products. Views do without saying so.

        Raises:
            ValueError: the same operator, domain and `since` was registered before.
        """

        def register(implementation: Implementation) -> Implementation:
            key = (domain, operator)
            entries = self._entries.setdefault(key, [])
            if any(entry.since == since for entry in entries):
                raise ValueError(f"{domain or 'ai.onnx'}.{operator} since opset {since} is registered twice")
            entries.append(
                Entry(operator, domain, since, implementation, specs, types, when, view, host, shape_only, absorbs, deterministic, alone)
            )
            entries.sort(key=lambda entry: entry.since)
            return implementation

        return register

    def entry(self, operator: str, domain: str, version: int) -> Entry | None:
        """The entry whose meaning holds at opset `version`, in this registry alone."""
        found = None
        for entry in self._entries.get((domain, operator), ()):
            if entry.since <= version:
                found = entry
        return found

    def has(self, operator: str, domain: str) -> bool:
        """True if this registry alone has some version of `operator`."""
        return (domain, operator) in self._entries

    def entries(self) -> Iterator[Entry]:
        """Every entry of this registry alone."""
        for entries in self._entries.values():
            yield from entries

    def domains(self) -> frozenset[str]:
        """Domains in which this registry or its base has operators."""
        own = frozenset(domain for domain, _ in self._entries)
        return own | self.base.domains() if self.base else own

    def claim(self, xp: Any, operation: Operation) -> Claim | Refusal:
        """Claim `operation` with the array module `xp`, or say why not."""
        entry = self.entry(operation.operator, operation.domain, operation.version)
        reason = entry.refusal(operation) if entry else None
        if entry and reason is None:
            return _claim(entry, xp, operation)
        fallback = self.base.claim(xp, operation) if self.base else None
        if isinstance(fallback, Claim):
            return fallback
        return Refusal(f"{operation.operator} {reason}" if reason else fallback.reason if fallback else self._unknown(operation))

    def _unknown(self, operation: Operation) -> str:
        entries = self._entries.get((operation.domain, operation.operator))
        name = f"{operation.domain or 'ai.onnx'}.{operation.operator}"
        if entries:
            return f"no implementation of {name} as of opset {operation.version} (implemented since {entries[0].since})"
        return f"no implementation of {name}"


class FunctionKernel:
    """A decorated function as a kernel: attributes bound once, outputs into given memory where `specs` knows them."""

    def __init__(self, entry: Entry, xp: Any, operation: Operation) -> None:
        self._function = entry.implementation
        self._xp = xp
        self._attributes = bound_attributes(entry, operation)
        self._specs = entry.specs
        self._output_count = len(operation.outputs)
        self._single = self._output_count == 1
        self._alone = entry.alone or entry.view
        self.copies = entry.view and "out" in entry.parameters.asked
        """The result is a view, or, where memory is given for it, a copy."""
        self._can_be_traced = is_numpy(xp) and entry.deterministic

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `onnxgpu.provider.Kernel`."""
        if self._specs is None:
            return None
        specs = self._specs(*inputs, **self._attributes)
        return (specs,) if isinstance(specs, Spec) else specs

    def workspace(self, inputs: Sequence[Value]) -> int:
        """Functions take no workspace."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None = None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        if outputs is not None:
            self._function(self._xp, *inputs, out=outputs[0] if self._single else tuple(outputs), **self._attributes)
            return outputs
        return self._results(*inputs)

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec] | None) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        calls = self._traced(inputs, outputs) if self._can_be_traced else None
        if calls is not None:
            return calls
        if not self._alone or (outputs is not None and not self._single):
            return None
        return [(self._results, tuple(inputs))] if outputs is None else [(self._write, (*inputs, outputs[0]))]

    def _traced(self, inputs: Sequence[Value], outputs: Sequence[Spec] | None) -> Sequence[Call] | None:
        if outputs is None:
            return traced_views(self._results, inputs)
        if len(outputs) != self._output_count:
            return None
        return traced_calls(partial(self._function, self._xp, **self._attributes), inputs, outputs)

    def _results(self, *inputs: Value) -> Sequence[Value]:
        results = self._function(self._xp, *inputs, **self._attributes)
        return results if isinstance(results, tuple) else (results,)

    def _write(self, *operands: Value) -> None:
        *inputs, out = operands
        self._function(self._xp, *inputs, out=out, **self._attributes)

    def launch_with_bodies(self, inputs: Sequence[Value], bodies: Mapping[str, Callable[..., Any]]) -> Sequence[Value]:
        """Run a control-flow function: its graph attributes are given as callables."""
        results = self._function(self._xp, *inputs, **{**self._attributes, **bodies})
        return results if isinstance(results, tuple) else (results,)


def bound_attributes(entry: Entry, operation: Operation) -> dict[str, Any]:
    """What a function is called with besides its inputs and `out`: the node's attributes, defaults, and what else it asks for."""
    attributes = {n: d for n, d in entry.parameters.attribute_defaults.items() if d is not inspect.Parameter.empty}
    attributes |= {n: v for n, v in operation.attributes.items() if not isinstance(v, Subgraph)}
    asked = entry.parameters.asked
    if "output_count" in asked:
        attributes["output_count"] = len(operation.outputs)
    if "version" in asked:
        attributes["version"] = operation.version
    if "dtype_hint" in asked:
        first = operation.outputs[0] if operation.outputs else None
        attributes["dtype_hint"] = first.dtype if first else None
    return attributes


def _claim(entry: Entry, xp: Any, operation: Operation) -> Claim:
    count = len(operation.inputs)

    def build() -> Any:
        return entry.implementation(xp, operation) if entry.is_class else FunctionKernel(entry, xp, operation)

    constant = frozenset(i for i, value in enumerate(operation.inputs) if value is not None and value.constant is not None)
    return Claim(
        build,
        host_inputs=entry.indices(entry.host, count),
        shape_only_inputs=entry.indices(entry.shape_only, count),
        view_of=0 if entry.view and operation.inputs and operation.inputs[0] is not None else None,
        absorbed_inputs=entry.indices(entry.absorbs, count) & constant,
        deterministic=entry.deterministic,
    )


def _padded(inputs: Sequence[Any], count: int) -> Sequence[Any]:
    return [*inputs[:count], *[None] * (count - len(inputs))]


def _parameters(implementation: Any) -> Parameters:
    if inspect.isclass(implementation):
        names = tuple(getattr(implementation, "input_names", ()))
        required = getattr(implementation, "required_inputs", len(names))
        return Parameters(names, bool(getattr(implementation, "variadic", False)), required, {}, frozenset())
    parameters = list(inspect.signature(implementation).parameters.values())[1:]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return Parameters(
        inputs=tuple(p.name for p in positional),
        variadic=any(p.kind is p.VAR_POSITIONAL for p in parameters),
        required_inputs=sum(p.default is p.empty for p in positional),
        attribute_defaults={name: _as_attribute(default) for name, default in keywords.items() if name not in _NOT_ATTRIBUTES},
        asked=frozenset(keywords).intersection(_NOT_ATTRIBUTES),
    )


def _as_attribute(default: Any) -> Any:
    """A float in float32's precision, which is that of attributes in a model."""
    return struct.unpack("f", struct.pack("f", default))[0] if type(default) is float else default
