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
        self.provider, self.to_host = provider, to_host
        self._copy: Callable[[Array], Array] = provider.download if to_host else provider.upload
        self._copy_into: Callable[[Array, Array], None] = provider.download_into if to_host else provider.copy_into

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """That of a tensor that goes to the device; unknown where the copy allocates."""
        if self.to_host or not hasattr(inputs[0], "dtype"):
            return None
        return [Spec(tuple(inputs[0].shape), inputs[0].dtype)]

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """The copy of the single input."""
        if outputs is None:
            return (self._move(inputs[0]),)
        self.provider.copy_into(outputs[0], inputs[0])
        return outputs

    def launch_ahead(self, inputs: Sequence[Value], outputs: Sequence[Array], workspace: Array | None) -> Sequence[Value]:
        """As `launch`, into memory that nothing before it in the run uses."""
        self.provider.upload_into(outputs[0], inputs[0])
        return outputs

    def launch_later(self, inputs: Sequence[Value]) -> Sequence[Value]:
        """The copy of a tensor to the host, whose elements are there after `Provider.settle`."""
        return (self.provider.download_later(inputs[0]),)

    def launch_into(self, target: Array, value: Value) -> Sequence[Value]:
        """The copy, in `target` if that has its shape and dtype."""
        if not hasattr(value, "dtype") or (tuple(value.shape), value.dtype) != (tuple(target.shape), target.dtype):
            return (self._move(value),)
        self._copy_into(target, value)
        return (target,)

    def _move(self, value: Value) -> Value:
        if value is None or isinstance(value, (dict, str)):
            return value
        if isinstance(value, (list, tuple)):
            return [self._move(item) for item in value]
        return self._copy(value)
