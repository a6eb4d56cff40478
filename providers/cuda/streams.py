"""The streams of one provider: one to compute on and one to copy on, which events keep in order."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class UserStream:
    """A stream that a program hands over by its address.

    Args:
        pointer: the `cudaStream_t`; it has to live as long as the session.
    """

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        """CUDA's stream protocol, version 0."""
        return 0, self._pointer


class Streams:
    """A context in which work goes to the provider's compute stream.

    The compute stream is a blocking one: what other libraries launch on CUDA's default stream waits for it, and it for them, so that
    arrays may go from one to the other without a further word. A stream of the user's is ordered by the user.

    Args:
        module: `cupy`.
        device: the `cupy.cuda.Device`.
        user_stream: address of the stream to compute on; 0: one of its own.
        copies_apart: copies have a stream of their own, beside that of the kernels.

    Attributes:
        compute: where kernels are launched.
        copying: where copies are; the same as `compute` if they are not apart.
        are_own: nobody else knows the streams, so that the provider has to wait for its work.
    """

    def __init__(self, module: Any, device: Any, user_stream: int = 0, *, copies_apart: bool = True) -> None:
        self._module, self._device = module, device
        self.are_own = not user_stream
        with device:
            stream = module.cuda.Stream
            self.compute = stream.from_external(UserStream(user_stream)) if user_stream else stream()
            self.copying = stream(non_blocking=True) if copies_apart else self.compute

    def __enter__(self) -> None:
        self._device.__enter__()
        self.compute.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.compute.__exit__(kind, error, trace)
        self._device.__exit__(kind, error, trace)

    def copies_follow(self) -> None:
        """Copies from here on come after the kernels that were launched so far."""
        if self.copying is not self.compute:
            self.copying.wait_event(self.compute.record(self.event()))

    def kernels_follow(self) -> Any:
        """Kernels from here on come after the copies so far; gives the event that is reached when these are done."""
        done = self.copying.record(self.event())
        if self.copying is not self.compute:
            self.compute.wait_event(done)
        return done

    def copies_wait(self, event: Any) -> None:
        """Copies from here on come after an event, which may be another device's."""
        self.copying.wait_event(event)

    def kernels_wait(self, event: Any) -> None:
        """Kernels from here on come after an event, which may be another device's."""
        self.compute.wait_event(event)

    def event(self) -> Any:
        """A new event for order alone."""
        return self._module.cuda.Event(block=False, disable_timing=True)

    def synchronize(self) -> None:
        """Wait for both streams."""
        self.compute.synchronize()
        if self.copying is not self.compute:
            self.copying.synchronize()
