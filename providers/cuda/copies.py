"""Copies between the host and one device, through pinned memory, on the streams of a provider.

A pinned buffer is used again only when the copy that reads or writes it is done. What goes to the host may be asked for first
and waited for once, at the end of a run. Large arrays that a run gives lie in pinned memory themselves, as long as programs hold
little of it: copying 25 MB out of it into new memory takes the host longer than the device needs for all of GPT-2.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Protocol

import numpy as np

from onnxgpu.providers.cuda.streams import Streams

STAGED_BYTES = 64 << 20
"""Larger arrays are not copied to pinned memory first: the driver does that piece by piece."""
SMALLEST_LENT = 1 << 20
"""Arrays of fewer bytes are copied out of pinned memory: a pool that lends crumbs never gets its blocks back."""
LENT_BYTES = 256 << 20
"""The pinned memory that programs may hold through a device's outputs: it is memory that the system cannot page out."""


class Transport(Protocol):
    """What a library copies with; bytes on the host are arrays of uint8."""

    is_lending: bool
    """True if any thread may let go of pinned memory at any time."""

    def pinned(self, nbytes: int) -> np.ndarray:
        """Pinned memory, given out again as soon as nobody holds it."""

    def to_device(self, target: Any, source: np.ndarray, stream: Any) -> None:
        """Begin to copy to a dense array; what is not pinned has been read when this returns."""

    def to_host(self, target: np.ndarray, source: Any, stream: Any) -> None:
        """Begin to copy a dense array to pinned memory."""


class _Awaited(threading.local):
    """What a thread asked for and has not waited for: the event, the pinned memory, and where the elements go if they do not stay there."""

    def __init__(self) -> None:
        self.copies: list[tuple[Any, Any, np.ndarray | None]] = []


class _Account:
    """How much pinned memory programs hold.

    Attributes:
        returned: bytes that came back and are not counted yet; whoever lets go of an array, in a forked child too, waits for no lock.
    """

    def __init__(self) -> None:
        self._lent = 0
        self._lock = threading.Lock()
        self.returned: deque[int] = deque()

    def lend(self, nbytes: int) -> bool:
        """Lend so much more; False if that is too much."""
        with self._lock:
            while self.returned:
                self._lent -= self.returned.popleft()
            if self._lent + nbytes > LENT_BYTES:
                return False
            self._lent += nbytes
            return True


class _Loan:
    """Pinned memory that is the base of an array which a program has."""

    def __init__(self, pinned: np.ndarray, account: _Account) -> None:
        self._pinned, self._account = pinned, account
        self.__array_interface__ = pinned.__array_interface__

    def __del__(self) -> None:
        self._account.returned.append(self._pinned.nbytes)


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
        self._account = _Account()
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

    def download_later(self, source: Any, dtype: np.dtype[Any]) -> np.ndarray:
        """Begin to copy to the host, to an array of this type and the source's shape; its elements are there after `settle`."""
        if not source.nbytes:
            return np.empty(source.shape, dtype)
        done, pinned = self._begin(source)
        if self._transport.is_lending and source.nbytes >= SMALLEST_LENT and self._account.lend(source.nbytes):
            self._awaited.copies.append((done, pinned, None))
            return np.asarray(_Loan(pinned, self._account)).view(dtype).reshape(source.shape)
        result = np.empty(source.shape, dtype)
        self._awaited.copies.append((done, pinned, result.view(source.dtype)))
        return result

    def settle(self) -> None:
        """Wait for the copies that this thread began; their elements are then where they go."""
        copies, self._awaited.copies = self._awaited.copies, []
        if copies:
            copies[-1][0].synchronize()  # one stream has them all, in this order
        for _, pinned, target in copies:
            if target is not None:
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
