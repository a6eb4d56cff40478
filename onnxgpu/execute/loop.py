"""The loop: read, launch, write, free. No operator is named here.

A frame is a list with one value a slot. This loop asks every kernel for the specs of its outputs and allocates them;
`fixed.py` runs the same steps without either, once the shapes are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any

from onnxgpu.errors import OnnxGpuError, RuntimeException
from onnxgpu.plan.steps import Plan, Step
from onnxgpu.provider import Array, Kernel, Provider, Spec, Value

Frame = list[Any]
Observer = Callable[[Step, Sequence[Value], Sequence[Value], int, int], None]
"""Called after each step with the step, its inputs, its outputs, and start and end in nanoseconds."""


def new_frame(plan: Plan, inputs: Sequence[Value]) -> Frame:
    """A frame with constants and inputs filled in."""
    frame: Frame = [None] * len(plan.slots)
    for slot, array in plan.constants.items():
        frame[slot] = array
    for slot, value in zip(plan.inputs, inputs, strict=True):
        frame[slot] = value
    return frame


def run_steps(steps: Sequence[Step], frame: Frame, observer: Observer | None = None) -> None:
    """Run `steps` over `frame`, releasing each value after its last use."""
    for step in steps:
        inputs = [frame[slot] for slot in step.inputs]
        start = perf_counter_ns() if observer else 0
        try:
            results = step.kernel.launch(inputs, *new_memory(step.kernel, step.provider, inputs))
        except Exception as error:
            raise step_error(step, error) from error
        for slot, value in zip(step.outputs, results, strict=False):
            frame[slot] = value
        if observer:
            observer(step, inputs, results, start, perf_counter_ns())
        for slot in step.releases:
            frame[slot] = None


def new_memory(kernel: Kernel, provider: Provider, inputs: Sequence[Value]) -> tuple[list[Array] | None, Array | None]:
    """New outputs and workspace for a launch of `kernel`; no outputs where it cannot tell their specs beforehand."""
    specs = kernel.outputs(inputs)
    if specs is None:
        return None, None
    scratch = kernel.workspace(inputs)
    return [provider.allocate(spec) for spec in specs], provider.allocate(byte_spec(scratch)) if scratch else None


def pausing(between_steps: Callable[[], None] | None) -> Observer | None:
    """An observer that calls `between_steps` after each step."""
    return None if between_steps is None else lambda *_: between_steps()


def byte_spec(nbytes: int) -> Spec:
    """The spec of a plain block of memory."""
    import numpy as np

    return Spec((nbytes,), np.dtype(np.uint8))


def step_error(step: Step, error: Exception) -> OnnxGpuError:
    """`error` as onnxgpu's own, telling which node failed on which provider."""
    if isinstance(error, OnnxGpuError) and error.message.startswith("Non-zero status code"):
        return error
    where = f"Non-zero status code returned while running {step.operation.operator} node. Name:'{step.operation.name}' Status Message: "
    if isinstance(error, OnnxGpuError):
        return type(error)(where + error.message)
    return RuntimeException(f"{where}{type(error).__name__}: {error} (on {step.provider.label})")
