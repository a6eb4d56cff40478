"""The shapes of one convolution, and what the methods of computing it share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.geometry import Axis


@dataclass(frozen=True, slots=True)
class Problem:
    """One convolution: X (batch, channels, rows.size, columns.size) gives Y (batch, maps, rows.output, columns.output)."""

    batch: int
    channels: int
    maps: int
    groups: int
    rows: Axis
    columns: Axis
    dtype: np.dtype

    @property
    def pixels(self) -> int:
        """Output positions of one image."""
        return self.rows.output * self.columns.output

    @property
    def multiplications(self) -> int:
        """How many numbers are multiplied for all images."""
        return self.batch * self.maps * self.channels // self.groups * self.rows.kernel * self.columns.kernel * self.pixels


class Method(Protocol):
    """One way to compute a convolution of given shapes."""

    layout: str
    """Name of the layout in which this method wants the weights, unique among methods and their parameters."""
    workspace: int
    """Bytes of scratch memory."""

    def laid_out(self, weights: Array) -> Array:
        """The weights (maps, channels/groups, rows, columns) in the method's layout."""

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """Compute `y` from `x` and the laid-out weights; `bias` is (maps, 1), `residual` has y's shape."""
