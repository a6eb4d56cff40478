"""Control flow: a kernel that is given the bodies of its node as callables over what they capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from onnxgpu.provider import Array, Spec, Value

Call = Callable[[Sequence[Value]], list[Value]]


class ControlKernel(Protocol):
    """What a provider's control-flow kernel offers instead of `launch`."""

    def launch_with_bodies(self, inputs: Sequence[Value], bodies: Mapping[str, Callable[..., Any]]) -> Sequence[Value]:
        """Run; `bodies` are keyed by attribute name."""


class BodyKernel:
    """A control-flow kernel with its bodies.

    Args:
        kernel: the provider's.
        own_inputs: how many of the step's inputs are the node's own; what the bodies capture follows.
        bodies: for each graph attribute, how to run it and the positions of its captures among the step's inputs.
    """

    def __init__(self, kernel: ControlKernel, own_inputs: int, bodies: Mapping[str, tuple[Call, tuple[int, ...]]]) -> None:
        self._kernel, self._own_inputs, self._bodies = kernel, own_inputs, bodies

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """Unknown until run: the body decides."""
        return None

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Run the node."""
        bodies = {name: _bound(call, [inputs[i] for i in captures]) for name, (call, captures) in self._bodies.items()}
        return self._kernel.launch_with_bodies(inputs[: self._own_inputs], bodies)


def _bound(call: Call, captured: list[Value]) -> Callable[..., list[Value]]:
    return lambda *inputs: call([*inputs, *captured])
