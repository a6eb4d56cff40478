"""The kernel of a transfer step: one value, copied from one place to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from onnxgpu.provider import Array, Provider, Spec, Value


class TransferKernel:
    """Copies a value down to the host, up from it, or from one device to another; the elements of a sequence one by one.

    Args:
        provider: whose place it copies to, or from if that is the host.
        to_host: the direction.
        origin: the provider from whose place it copies, if neither end is the host.
    """

    def __init__(self, provider: Provider, *, to_host: bool = False, origin: Provider | None = None) -> None:
        self.provider, self.to_host, self.origin = provider, to_host, origin
        self._copy: Callable[[Array], Array] = provider.download if to_host else provider.upload
        self._copy_into: Callable[[Array, Array], None] = provider.download_into if to_host else provider.copy_into
        self._copy_ahead: Callable[[Array, Array], None] = provider.upload_into
        if origin is not None:
            self._copy, self._copy_into = self._copied_across, partial(_across, provider, origin)
            self._copy_ahead = self._copy_into

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
        self._copy_into(outputs[0], inputs[0])
        return outputs

    def launch_ahead(self, inputs: Sequence[Value], outputs: Sequence[Array], workspace: Array | None) -> Sequence[Value]:
        """As `launch`, into memory that nothing before it in the run uses."""
        self._copy_ahead(outputs[0], inputs[0])
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

    def _copied_across(self, array: Array) -> Array:
        target = self.provider.allocate(Spec(tuple(array.shape), array.dtype))
        self._copy_into(target, array)
        return target


def _across(provider: Provider, origin: Provider, target: Array, source: Array) -> None:
    provider.copy_across(target, source, origin)
