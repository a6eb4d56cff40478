"""LoopbackExecutionProvider: a pretend device on which every operator of `array_ops` runs, behind opaque arrays.

It makes transfers real on any machine: a tensor that reaches the wrong side raises. Its options make it refuse a random
part of the nodes, so that splits of every kind can be forced.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from onnxgpu import dlpack
from onnxgpu.host_provider import host_array
from onnxgpu.provider import Array, Claim, DeviceMemory, Operation, Place, Provider, Refusal, Spec, Subgraph, bytes_moved
from onnxgpu.providers.array_ops import REGISTRY
from onnxgpu.providers.loopback.opaque import OpaqueArray, OpaqueKernel, unwrap


class LoopbackProvider(Provider):
    """The pretend device.

    Options:
        device_id: which pretend device, when there are several.
        fraction: the part of the nodes it claims, 1 for all it can run.
        seed: which nodes those are.
        peers: it reaches its other devices without the host.
    """

    name: ClassVar[str] = "LoopbackExecutionProvider"
    option_types: ClassVar[Mapping[str, type]] = {"device_id": int, "fraction": float, "seed": int, "peers": bool}
    preference: ClassVar[int] = 95
    listed: ClassVar[bool] = False
    memory: ClassVar[DeviceMemory] = DeviceMemory("Loopback", device_type=2, vendor_id=0, dlpack_type=12)

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._fraction = float(self.options.get("fraction", 1.0))
        self._seed = int(self.options.get("seed", 0))

    @property
    def place(self) -> Place:
        """A place of its own kind."""
        return Place("loopback", int(self.options.get("device_id", 0)))

    def domains(self) -> frozenset[str]:
        """See `onnxgpu.provider.Provider`."""
        return REGISTRY.domains()

    def claim(self, operation: Operation) -> Claim | Refusal:
        """What `array_ops` has; strings, sequences and control flow stay on the host."""
        if any(isinstance(value, Subgraph) for value in operation.attributes.values()):
            return Refusal("control flow stays on the host")
        values = [value for value in (*operation.inputs, *operation.outputs) if value is not None]
        if any(value.dtype is None for value in values):
            return Refusal("an input or output is no tensor, or its element type is not known")
        if any(value.dtype == np.dtype(object) for value in values):
            return Refusal("strings stay on the host")
        if self._fraction < 1 and random.Random(f"{self._seed} {operation}").random() >= self._fraction:
            return Refusal(f"left to others by fraction={self._fraction} seed={self._seed}")
        claim = REGISTRY.claim(np, operation)
        if isinstance(claim, Refusal):
            return claim
        return replace(claim, build=lambda: OpaqueKernel(claim.build(), claim.host_inputs, claim.shape_only_inputs))

    def cost(self, operation: Operation) -> float:
        """That of an imagined GPU: 5 µs and 1 TB/s."""
        return 5e-6 + bytes_moved(operation) / 1e12

    def allocate(self, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return OpaqueArray(np.empty(spec.shape, spec.dtype))

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return OpaqueArray(np.ndarray(spec.shape, spec.dtype, unwrap(memory), offset))

    def upload(self, array: np.ndarray) -> Array:
        """A copy behind an opaque array."""
        return OpaqueArray(np.array(array))

    def download(self, array: Array) -> np.ndarray:
        """A copy of the elements."""
        return np.array(unwrap(array))

    def shares_memory(self, first: Array, second: Array) -> bool:
        """See `onnxgpu.provider.Provider`."""
        both = isinstance(first, OpaqueArray) and isinstance(second, OpaqueArray)
        return both and np.may_share_memory(unwrap(first), unwrap(second))

    def copy_into(self, target: Array, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        np.copyto(unwrap(target), unwrap(source) if isinstance(source, OpaqueArray) else source)

    def download_into(self, target: np.ndarray, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        np.copyto(target, unwrap(source))

    def reaches(self, other: Provider) -> bool:
        """See `onnxgpu.provider.Provider`."""
        return isinstance(other, LoopbackProvider) and bool(self.options.get("peers", False))

    def copy_across(self, target: Array, source: Array, other: Provider) -> None:
        """See `onnxgpu.provider.Provider`."""
        np.copyto(unwrap(target), unwrap(source))

    def pointer(self, array: Array) -> int:
        """See `onnxgpu.provider.Provider`."""
        return int(unwrap(array).ctypes.data)

    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return OpaqueArray(host_array(pointer, spec, owner))

    def to_dlpack(self, array: Array) -> object:
        """A capsule that says `kDLExtDev`, so that nobody takes it for host memory."""
        return dlpack.export(unwrap(array), (12, self.place.index))


PROVIDER = LoopbackProvider
