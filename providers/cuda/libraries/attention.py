"""Operators of attention with a library in place of our own kernel: the same functions with another `Attend`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from onnxgpu.operators import Registry, bound_attributes
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.cuda.attention import Seen, check_heads
from onnxgpu.providers.cuda.libraries.kernel import Context, NotCovered
from onnxgpu.providers.cuda.operators.attention import OPERATORS
from onnxgpu.providers.cuda.registry import REGISTRY as OWN

ALIGNMENT = 256


class Scratch:
    """Memory of a workspace, handed out piece by piece; what does not fit in is allocated.

    Args:
        xp: `cupy`.
        workspace: bytes, or None.
    """

    def __init__(self, xp: Any, workspace: Array | None) -> None:
        self._xp, self._workspace, self._used = xp, workspace, 0

    def take(self, shape: Sequence[int], dtype: Any) -> Array:
        """An uninitialised array on a multiple of `ALIGNMENT` bytes."""
        wanted, workspace = prod(shape) * np.dtype(dtype).itemsize, self._workspace
        if workspace is None:
            return self._xp.empty(shape, dtype)
        begin = self._used + -(int(workspace.data.ptr) + self._used) % ALIGNMENT
        if begin + wanted > workspace.size:
            return self._xp.empty(shape, dtype)
        self._used = begin + wanted
        return workspace[begin : begin + wanted].view(dtype).reshape(shape)


class LibraryAttention:
    """An operator of attention by a library. A subclass has `attend` and `bytes_for`.

    Args:
        context: of the provider; what `Registry.claim` takes for its array module.
        operation: the node.
    """

    input_names = ()
    variadic = True

    def __init__(self, context: Context[Any], operation: Operation) -> None:
        entry = OWN.entry(operation.operator, operation.domain, operation.version)
        assert entry is not None and isinstance(entry.implementation, partial) and entry.specs is not None
        self.xp, self.plans, self.tf32 = context.xp, context.plans(), context.tf32
        self._function, self._specs, self._attributes = entry.implementation.func, entry.specs, bound_attributes(entry, operation)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """As our own kernel's."""
        return self._described(inputs, self._attributes["output_count"])

    def workspace(self, inputs: Sequence[Value]) -> int:
        """Room for what `attend` needs, and to align it."""
        outputs = self._described(inputs, 3)
        y, present = outputs[0], outputs[-1]
        keys, size = present.shape[-2:]
        wanted = self.bytes_for(y.size // max(size, 1), keys, y)
        return wanted + ALIGNMENT if wanted else 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`.

        Raises:
            NotCovered: the library has nothing for these shapes.
        """
        attend = partial(self._attend, Scratch(self.xp, workspace))
        return self._function(attend, self.xp, *inputs, **self._attributes, out=None if outputs is None else tuple(outputs))  # type: ignore[no-any-return]

    def attend(self, scratch: Scratch, q: Array, k: Array, v: Array, out: Array, scale: float, seen: Seen) -> None:
        """See `onnxgpu.providers.cuda.attention.attend`; nothing is empty.

        Raises:
            NotCovered: the library has nothing for these shapes.
        """
        raise NotImplementedError

    def bytes_for(self, lines: int, keys: int, y: Spec) -> int:
        """About what `attend` needs for so many queries of all heads and batches."""
        raise NotImplementedError

    def _attend(self, scratch: Scratch, xp: Any, q: Array, k: Array, v: Array, out: Array, scale: float, seen: Seen) -> None:
        check_heads(q, k, v)
        if not out.size:
            return
        if q.shape[2] == 1 or not k.size:
            raise NotCovered("one query or no key is attention for onnxgpu's own kernel")
        self.attend(scratch, q, k, v, out, float(scale), seen)

    def _described(self, inputs: Sequence[Value], count: int) -> Sequence[Spec]:
        specs = self._specs(*inputs, **self._attributes | {"output_count": count})
        assert specs is not None
        return (specs,) if isinstance(specs, Spec) else specs


def register(registry: Registry, kernel: type[LibraryAttention], types: frozenset[str]) -> None:
    """Every operator of attention in `registry`, as our own kernel has it."""

    def refusal(operation: Operation) -> str | None:
        entry = OWN.entry(operation.operator, operation.domain, operation.version)
        return None if entry is None else entry.refusal(operation)

    for domain, name, since in OPERATORS:
        registry.operator(name, domain=domain, since=since, types=types, when=refusal)(kernel)
