"""What kernels of a library are made with, and one of them with the next one behind it, for the shapes that the library has not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from onnxgpu.log import logger
from onnxgpu.provider import Array, Kernel, Operation, Spec, Value
from onnxgpu.providers.cuda.device import cupy
from onnxgpu.providers.cuda.remembered import Remembered

Plans = TypeVar("Plans")
"""A library's plans for one device."""


@dataclass(frozen=True, slots=True)
class Context(Generic[Plans]):
    """What a library's kernel needs to know of its provider; stands where other operators are given the array module.

    Attributes:
        xp: `cupy`.
        plans: those of the device, made when the first kernel is built.
        tf32: whether float32 may be computed in TF32.
    """

    xp: Any
    plans: Callable[[], Plans]
    tf32: bool


class NotCovered(Exception):
    """An implementation has nothing for these shapes, or another is better. Raised before anything was launched."""


class LibraryKernel:
    """Runs `kernel`, and the one that `next_one` builds where that raises NotCovered.

    Args:
        kernel: the one that is preferred.
        next_one: makes the other, which runs on the same device.
        operation: for messages.
    """

    def __init__(self, kernel: Kernel, next_one: Callable[[], Kernel], operation: Operation) -> None:
        self._kernel, self._next, self._operation = kernel, next_one(), operation
        self._workspace = Remembered(self._wanted)
        self._has_told = False
        self.launches_many: bool = getattr(kernel, "launches_many", False)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `onnxgpu.provider.Kernel`."""
        return self._kernel.outputs(inputs)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """What the first one wants: what the other may want is allocated where it turns out at the launch that it has to run."""
        return self._workspace(inputs)

    def _wanted(self, inputs: Sequence[Value]) -> int:
        try:
            return self._kernel.workspace(inputs)
        except NotCovered:
            return self._next.workspace(inputs)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        try:
            return self._kernel.launch(inputs, outputs, workspace)
        except NotCovered as reason:
            if not self._has_told:
                self._has_told = True
                logger.info("%s: %s; the next implementation runs it", self._operation, reason)
            wanted = self._next.workspace(inputs)
            if wanted > (0 if workspace is None else workspace.size):
                workspace = cupy().empty(wanted, np.uint8)
            return self._launch_next(inputs, outputs, workspace)

    def _launch_next(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        if outputs is None or self._next.outputs(inputs) is not None:
            return self._next.launch(inputs, outputs, workspace)
        for target, result in zip(outputs, self._next.launch(inputs, None, workspace), strict=True):
            target[...] = result
        return outputs
