"""The one copy to the host that an operator needs whose output's size is decided by the data."""

from __future__ import annotations

from onnxgpu.provider import Array


def size_on_host(totals: Array) -> int:
    """The last element of a dense array of running totals; waits for the device. 0 if there is none."""
    return int(totals[-1:].get()[0]) if totals.size else 0
