"""Inputs of a segment whose values decide shapes: TensorRT reads them on the host, and wants to know between which values they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxgpu.provider import Array, Kernel, Spec, Value
from onnxgpu.providers.segments.builds import Build
from onnxgpu.providers.segments.growing import GrowingKernel
from onnxgpu.providers.tensorrt.network import NetworkInput
from onnxgpu.segment_provider import Segment

UNTOLD = (
    "the values of '{}' decide shapes, and nothing says between which they lie: give trt_profile_min_shapes, trt_profile_opt_shapes and "
    "trt_profile_max_shapes their values, or set trt_build_on_request=1"
)

NO_EXTENT = "the values of '{}' decide shapes, and TensorRT wants to know beforehand how many there are"

NO_INTEGERS = "the values of '{}' decide shapes, and TensorRT takes integers of 32 or 64 bits for that"


def readers(segment: Segment, inputs: Sequence[NetworkInput], *, are_told: bool) -> dict[int, str]:
    """Operations that read such an input, where TensorRT cannot have it: index → why they have to go elsewhere.

    Args:
        segment: whose inputs they are.
        inputs: as the network has them.
        are_told: profiles say between which values they lie, or a run may show them.
    """
    dtypes = {value.name: value.dtype for value in segment.inputs}
    reasons: dict[str, str] = {}
    for value in inputs:
        if not value.is_shape_tensor:
            continue
        if value.is_dynamic or len(value.shape) > 1:
            reasons[value.name] = NO_EXTENT.format(value.name)
        elif dtypes[value.name] not in (np.dtype(np.int32), np.dtype(np.int64)):
            reasons[value.name] = NO_INTEGERS.format(value.name)
        elif not are_told:
            reasons[value.name] = UNTOLD.format(value.name)
    return {
        index: reasons[found[0]]
        for index, operation in enumerate(segment.operations)
        if (found := [value.name for value in operation.inputs if value is not None and value.name in reasons])
    }


class ByValue:
    """The engine for each run's own values, which runs of the same shapes may differ in; runs wait for it.

    Args:
        engines: those that there are, and how they come.
    """

    def __init__(self, engines: GrowingKernel) -> None:
        self._engines = engines

    def builds(self) -> list[Build[Kernel]]:
        """Of all engines that were asked for."""
        return self._engines.builds()

    def first(self) -> Kernel:
        """See `GrowingKernel`."""
        return self._engines.first()

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `onnxgpu.provider.Kernel`."""
        return self._engines.outputs(inputs)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `onnxgpu.provider.Kernel`."""
        return self._engines.workspace(inputs)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        return self._engines.launch(inputs, outputs, workspace)
