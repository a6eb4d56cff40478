"""What compiled models are made of: the data of nodes that a provider compiled, and where initializers lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OrtExternalInitializerInfo:
    """Where the data of an initializer lies in another file.

    Attributes:
        filepath: relative to the model's folder.
        file_offset: in bytes.
        byte_size: of the data.
    """

    filepath: str
    file_offset: int
    byte_size: int


class OrtEpContextData:
    """The data of a compiled node as a write callback sees it; valid only during the callback.

    Args:
        data: not copied.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data: memoryview | None = memoryview(data).cast("B")

    @property
    def size(self) -> int:
        """Bytes."""
        return len(_alive(self._data))

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """A copy of `length` bytes from `offset` (None: to the end).

        Raises:
            ValueError: the range is not within the data, or the callback is over.
        """
        data = _alive(self._data)
        length = len(data) - offset if length is None else length
        _check_range(offset, length, len(data))
        return bytes(data[offset : offset + length])

    @contextmanager
    def lent(self) -> Iterator[OrtEpContextData]:
        """Valid within this context."""
        try:
            yield self
        finally:
            self._data = None


class OrtEpContextDataBuffer:
    """Where a read callback puts the data of a compiled node: `allocate` once, then `write`; valid only during the callback.

    Args:
        max_size: bytes that may be allocated.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._data: bytearray | None = None
        self._closed = False

    @property
    def is_allocated(self) -> bool:
        """True after `allocate`."""
        return self._data is not None

    @property
    def max_size(self) -> int:
        """Bytes that may be allocated."""
        return self._max_size

    @property
    def size(self) -> int:
        """Bytes allocated."""
        return 0 if self._data is None else len(self._data)

    def allocate(self, size: int) -> None:
        """Make room for `size` bytes.

        Raises:
            ValueError: it was called before, `size` is negative or more than `max_size`, or the callback is over.
        """
        if self._closed or self._data is not None:
            raise ValueError("allocate() is called once, during the callback")
        if not 0 <= size <= self._max_size:
            raise ValueError(f"{size} bytes were asked for, and 0 to {self._max_size} may be allocated")
        self._data = bytearray(size)

    def write(self, data: Any, offset: int = 0) -> None:
        """Copy a bytes-like object to `offset`.

        Raises:
            ValueError: it does not fit, nothing was allocated, or the callback is over.
        """
        if self._closed or self._data is None:
            raise ValueError("allocate() comes first, and both are called during the callback")
        view = memoryview(data).cast("B")
        _check_range(offset, len(view), len(self._data))
        self._data[offset : offset + len(view)] = view

    def finish(self) -> bytes:
        """What was written; the buffer takes nothing more.

        Raises:
            ValueError: nothing was allocated.
        """
        self._closed = True
        if self._data is None:
            raise ValueError("the callback allocated nothing")
        return bytes(self._data)


def _alive(data: memoryview | None) -> memoryview:
    if data is None:
        raise ValueError("the data is valid only during the callback")
    return data


def _check_range(offset: int, length: int, size: int) -> None:
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(f"{length} bytes from {offset} are not within the {size} bytes that there are")
