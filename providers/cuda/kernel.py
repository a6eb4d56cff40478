"""A kernel of `array_ops`, run by CuPy on one device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from onnxgpu.provider import Array, Body, Kernel, Operation, Spec, Value
from onnxgpu.providers.cuda.failures import launched, translated
from onnxgpu.providers.cuda.narrow import NarrowArray


class CupyKernel:
    """Runs `kernel`, which works on arrays of CuPy, on its device, and explains what fails.

    Args:
        kernel: made with CuPy as its array module.
        module: `cupy`.
        device: the `cupy.cuda.Device`.
        operation: for messages.
    """

    def __init__(self, kernel: Kernel, module: Any, device: Any, operation: Operation) -> None:
        self._kernel, self._module, self._device, self._label = kernel, module, device, str(operation)
        self.copies = getattr(kernel, "copies", False)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `onnxgpu.provider.Kernel`."""
        return self._kernel.outputs(inputs)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `onnxgpu.provider.Kernel`."""
        return self._kernel.workspace(inputs)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        launched.append(self._label)
        with self._running():
            results = self._kernel.launch(inputs, outputs, workspace)
            return results if outputs is not None else [self._on_device(result) for result in results]

    def launch_with_bodies(self, inputs: Sequence[Value], bodies: Mapping[str, Body]) -> Sequence[Value]:
        """See `onnxgpu.execute.bodies.ControlKernel`."""
        kernel: Any = self._kernel
        with self._running():
            return [self._on_device(result) for result in kernel.launch_with_bodies(inputs, bodies)]

    @contextmanager
    def _running(self) -> Iterator[None]:
        try:
            with self._device:
                yield
        except Exception as error:
            raise translated(error, self._label, self._module) from error

    def _on_device(self, value: Value) -> Value:
        """A result as an array of CuPy: operators also give NumPy's scalars and arrays where they only read host inputs."""
        if isinstance(value, (list, tuple)):
            return [self._on_device(item) for item in value]
        return value if value is None or isinstance(value, NarrowArray) else self._module.asarray(value)
