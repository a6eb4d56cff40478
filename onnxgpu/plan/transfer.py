"""The kernel of a transfer step: one value, copied from one place to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnxgpu.provider import Array, Provider, Spec, Value


class TransferKernel:
    """Copies a value down to the host or up from it; the elements of a sequence one by one.

    Args:
        provider: whose place is at the other end.
        to_host: the direction.
    """

    def __init__(self, provider: Provider, *, to_host: bool) -> None:
        self.provider = provider
        self._copy: Callable[[Array], Array] = provider.download if to_host else provider.upload

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """Unknown until run: the copy allocates."""
        return None

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """The copy of the single input."""
        return (self._move(inputs[0]),)

    def _move(self, value: Value) -> Value:
        if value is None or isinstance(value, (dict, str)):
            return value
        if isinstance(value, (list, tuple)):
            return [self._move(item) for item in value]
        return self._copy(value)
