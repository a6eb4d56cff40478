"""What a kernel makes of its constant inputs once, and of others in every launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from onnxgpu.provider import Array, Operation, Spec, Value

Made = TypeVar("Made")


class Prepared(Generic[Made]):
    """Something made of some inputs of a node.

    Args:
        operation: the node.
        indices: the inputs that it is made of, which the kernel's registration lists in `absorbs`.
        make: gets one array or None (absent) for each index.
    """

    def __init__(self, xp: Any, operation: Operation, indices: Sequence[int], make: Callable[..., Made]) -> None:
        self._xp, self._indices, self._make = xp, tuple(indices), make
        infos = [operation.inputs[i] if i < len(operation.inputs) else None for i in indices]
        self._loads = {i: info.constant for i, info in zip(indices, infos, strict=True) if info is not None and info.constant is not None}
        self._specs = {i: Spec(tuple(value.shape), value.dtype) for i, load in self._loads.items() for value in (load(),)}
        self._made: Made | None = None
        if all(info is None or i in self._loads for i, info in zip(indices, infos, strict=True)):
            self._made = self.of([])
            self._loads = {}

    def of(self, inputs: Sequence[Value]) -> Made:
        """What is made of the node's inputs, where those that are constant need not be given."""
        if self._made is not None:
            return self._made
        return self._make(*(self._value(i, inputs) for i in self._indices))

    def _value(self, index: int, inputs: Sequence[Value]) -> Array | None:
        if index in self._loads:
            return self._xp.asarray(self._loads[index]())
        return inputs[index] if index < len(inputs) else None

    def spec(self, index: int, inputs: Sequence[Value]) -> Any:
        """Shape and dtype of one of the inputs."""
        return self._specs.get(index) or inputs[index]
