"""Copies between the host and one device, through pinned memory, on the streams of a provider.

A pinned buffer is used again only when the copy that reads or writes it is done. What goes to the host may be asked for first
and waited for once, at the end of a run.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Protocol

import numpy as np

from onnxgpu.providers.cuda.streams import Streams

STAGED_BYTES = 64 << 20
"""Larger arrays are not copied to pinned memory first: the driver does that piece by piece."""


class Transport(Protocol):
    """What a library copies with; bytes on the host are arrays of uint8."""

    def pinned(self, nbytes: int) -> np.ndarray:
        """Pinned memory, given out again as soon as nobody holds it."""

    def to_device(self, target: Any, source: np.ndarray, stream: Any) -> None:
        """Begin to copy to a dense array; what is not pinned has been read when this returns."""

    def to_host(self, target: np.ndarray, source: Any, stream: Any) -> None:
        """Begin to copy a dense array to pinned memory."""


class _Awaited(threading.local):
    """What a thread asked for and has not waited for: the event, the pinned memory, and where the elements go."""

    def __init__(self) -> None:
        self.copies: list[tuple[Any, Any, np.ndarray]] = []


class Copies:
    """Copies of dense arrays of a device from and to arrays of NumPy; to be used within the streams' context.

    Args:
        transport: of the library whose arrays they are.
        streams: those of the device.

    Attributes:
        in_flight: events, and the pinned memory of copies that are done when they are reached.
    """

    def __init__(self, transport: Transport, streams: Streams) -> None:
        self._transport, self._streams = transport, streams
        self.in_flight: deque[tuple[Any, Any]] = deque()
        self._lock = threading.Lock()
        self._awaited = _Awaited()
        self._has_new_memory = False

    def note_new_memory(self) -> None:
        """Memory was taken from the pool: kernels that used it before, for another value, may not be done."""
        self._has_new_memory = True

    def upload(self, target: Any, source: np.ndarray, *, unused: bool = False) -> None:
        """Copy to the device; kernels that are launched afterwards see the elements, and `source` may change at once.

        Args:
            target: dense, of the same shape and dtype.
            source: of any strides.
            unused: no kernel that was launched and is not done uses the memory of `target`, so that the copy need not wait.
        """
        if not source.nbytes:
            return
        streams = self._streams
        if not unused or self._has_new_memory:
            self._has_new_memory = False  # before the copies follow: another thread may take more memory meanwhile
            streams.copies_follow()
        if source.nbytes > STAGED_BYTES:
            self._transport.to_device(target, np.ascontiguousarray(source).reshape(-1).view(np.uint8), streams.copying)
            streams.kernels_follow().synchronize()
            return
        pinned = self._transport.pinned(source.nbytes)
        np.copyto(_over(pinned, source), source)
        self._transport.to_device(target, pinned, streams.copying)
        self._hold(streams.kernels_follow(), pinned)

    def download(self, target: np.ndarray, source: Any) -> None:
        """Copy to the host, and wait for it."""
        if source.nbytes:
            done, pinned = self._begin(source)
            done.synchronize()
            np.copyto(target, _over(pinned, target))

    def download_later(self, target: np.ndarray, source: Any) -> None:
        """Begin to copy to the host; `settle` ends it."""
        if source.nbytes:
            self._awaited.copies.append((*self._begin(source), target))

    def settle(self) -> None:
        """Wait for the copies that this thread began; their elements are then where they go."""
        copies, self._awaited.copies = self._awaited.copies, []
        if copies:
            copies[-1][0].synchronize()  # one stream has them all, in this order
        for _, pinned, target in copies:
            np.copyto(target, _over(pinned, target))

    def abandon(self) -> None:
        """Forget the copies that this thread began, in a run that failed; their memory is used again when they are done."""
        for done, pinned, _ in self._awaited.copies:
            self._hold(done, pinned)
        self._awaited.copies = []

    def _begin(self, source: Any) -> tuple[Any, Any]:
        pinned = self._transport.pinned(source.nbytes)
        self._streams.copies_follow()
        self._transport.to_host(pinned, source, self._streams.copying)
        return self._streams.kernels_follow(), pinned  # the source's memory may have another value from here on

    def _hold(self, done: Any, pinned: Any) -> None:
        """Keep pinned memory until the event is reached; it is given out again as soon as nobody holds it."""
        with self._lock:
            while self.in_flight and self.in_flight[0][0].done:
                self.in_flight.popleft()
            self.in_flight.append((done, pinned))


def _over(pinned: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A dense array over pinned memory, of the shape and dtype of `like`."""
    return pinned.view(like.dtype).reshape(like.shape)
