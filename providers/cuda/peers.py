"""Copies from one device to another without the host, on the streams of both, which events keep in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxgpu.providers.cuda.streams import Streams


def in_order(copy: Callable[[Any], None], streams: Streams, origin: Streams) -> None:
    """Copy after the kernels so far, and before those that are launched afterwards on either device.

    Args:
        copy: copies on the stream that it is given, from memory of the one device to memory of the other.
        streams: those of the device that it copies to.
        origin: those of the device that it copies from.
    """
    with origin:
        written = origin.compute.record(origin.event())
    with streams:
        streams.copies_follow()
        streams.copies_wait(written)
        copy(streams.copying)
        done = streams.kernels_follow()
    with origin:
        origin.kernels_wait(done)  # the source's memory may have another value from here on
