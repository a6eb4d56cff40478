"""A kernel of `array_ops`, run by CuPy on one device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from onnxgpu.log import logger
from onnxgpu.provider import Array, Body, Kernel, Operation, Spec, Value
from onnxgpu.providers.cuda.addresses import address_of
from onnxgpu.providers.cuda.failures import launched, translated
from onnxgpu.providers.cuda.launches import Launch, written_down
from onnxgpu.providers.cuda.narrow import NarrowArray
from onnxgpu.providers.cuda.remembered import Remembered


class CupyKernel:
    """Runs `kernel`, which works on arrays of CuPy, on its device, and explains what fails.

    Args:
        kernel: made with CuPy as its array module.
        module: `cupy`.
        device: the `cupy.cuda.Device`.
        operation: for messages.
        host_inputs: positions of inputs on the host, whose values decide.
    """

    def __init__(self, kernel: Kernel, module: Any, device: Any, operation: Operation, host_inputs: frozenset[int]) -> None:
        self._kernel, self._module, self._device, self._label = kernel, module, device, str(operation)
        self.copies = getattr(kernel, "copies", False)
        self.launches_many: bool = getattr(kernel, "launches_many", False)
        self._outputs = kernel.outputs if host_inputs else Remembered(kernel.outputs)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `onnxgpu.provider.Kernel`."""
        return self._outputs(inputs)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `onnxgpu.provider.Kernel`."""
        return self._kernel.workspace(inputs)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        launched.append(self._label)
        try:
            with self._device:
                results = self._kernel.launch(inputs, outputs, workspace)
                return results if outputs is not None else [self._on_device(result) for result in results]
        except Exception as error:
            raise translated(error, self._label, self._module) from error

    def repeating(self, inputs: Sequence[Value], outputs: Sequence[Array], workspace: Array | None) -> Callable[[], object] | None:
        """See `onnxgpu.execute.replay.RepeatableKernel`."""
        arguments = [address_of(value) for value in inputs], [address_of(value) for value in outputs], address_of(workspace)
        try:
            with self._device, self._module.cuda.using_allocator(_refuse):
                launches, held = written_down(partial(self._kernel.launch, *arguments))
        except Exception as error:
            logger.debug("%s decides anew in every run: %s: %s", self._label, type(error).__name__, error)
            return None
        return partial(self._repeat, launches, held)

    def launch_with_bodies(self, inputs: Sequence[Value], bodies: Mapping[str, Body]) -> Sequence[Value]:
        """See `onnxgpu.execute.bodies.ControlKernel`."""
        kernel: Any = self._kernel
        try:
            with self._device:
                return [self._on_device(result) for result in kernel.launch_with_bodies(inputs, bodies)]
        except Exception as error:
            raise translated(error, self._label, self._module) from error

    def _repeat(self, launches: Sequence[Launch], held: object) -> None:
        """Make launches that were written down; `held` has to live as long."""
        launched.append(self._label)
        try:
            with self._device:
                for launch in launches:
                    launch()
        except Exception as error:
            raise translated(error, self._label, self._module) from error

    def _on_device(self, value: Value) -> Value:
        """A result as an array of CuPy: operators also give NumPy's scalars and arrays where they only read host inputs."""
        if isinstance(value, (list, tuple)):
            return [self._on_device(item) for item in value]
        return value if value is None or isinstance(value, (NarrowArray, self._module.ndarray)) else self._module.asarray(value)


def _refuse(size: int) -> Any:
    raise MemoryError(f"it allocates {size} bytes")
