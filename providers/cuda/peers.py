"""Copies from one device to another without the host, on the streams of both, which events keep in order."""

from __future__ import annotations

from typing import Any

from onnxgpu.providers.cuda.kernels import dense
from onnxgpu.providers.cuda.streams import Streams

_ENABLED_ALREADY = "PeerAccessAlreadyEnabled"


def reach_each_other(module: Any, first: Any, second: Any) -> bool:
    """True if the two devices access each other's memory, which is enabled then.

    Args:
        module: `cupy`.
        first: a `cupy.cuda.Device`.
        second: another one.
    """
    runtime = module.cuda.runtime
    if not (runtime.deviceCanAccessPeer(first.id, second.id) and runtime.deviceCanAccessPeer(second.id, first.id)):
        return False
    for device, peer in ((first, second), (second, first)):
        with device:
            try:
                runtime.deviceEnablePeerAccess(peer.id)
            except runtime.CUDARuntimeError as error:
                if _ENABLED_ALREADY not in str(error):
                    raise
    return True


def copy(module: Any, target: Any, streams: Streams, source: Any, origin: Streams) -> None:
    """Copy dense elements; kernels that are launched on either device afterwards come after the copy.

    Args:
        module: `cupy`.
        target: dense, of the same shape and dtype as `source`.
        streams: those of the device that `target` lies on.
        source: of any strides.
        origin: the streams of the other device.
    """
    if not target.nbytes:
        return
    with origin:
        source = dense(module, source)
        written = origin.compute.record(origin.event())
    with streams:
        streams.copies_follow()
        streams.copies_wait(written)
        addresses = (target.data.ptr, target.device.id, source.data.ptr, source.device.id)
        module.cuda.runtime.memcpyPeerAsync(*addresses, target.nbytes, streams.copying.ptr)
        done = streams.kernels_follow()
    origin.kernels_wait(done)  # the source's memory may have another value from here on
