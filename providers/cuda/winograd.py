"""Convolutions of 3 × 3 windows by 16 products in place of 36, in float32: F(2 × 2, 3 × 3) of winograd.cu.

Source: Lavin & Gray, https://arxiv.org/abs/1509.09308. Transforms and sums are float32. Against a convolution in float64, the largest error
was 1.7 to 3.4 · 10⁻⁷ of the largest result for 16 to 512 channels of normal numbers, that of plain products 1.9 to 4.1 · 10⁻⁷ (on the
emulated device). The sums are of differences of elements: an infinite one gives NaN for all results of its tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.cuda.convolution_tiles import TILES, WINOGRAD, WINOGRAD_DEPTH, WINOGRAD_PLACES, Geometry, Tiling
from onnxgpu.providers.cuda.kernels import THREADS, Template, blocks_for

CONVOLVE = Template("winograd.cu", "winograd", "ppppssib")
TRANSFORM = Template("winograd.cu", "transform_weights", "ppiil")


class TransformedWeights:
    """Weights as winograd.cu multiplies them: transformed at their first use and kept if they are constant, else by every launch.

    Args:
        xp: CuPy.
        operation: of which they are the second input.
    """

    def __init__(self, xp: Any, operation: Operation) -> None:
        w = operation.inputs[1]
        self._xp, self._are_constant = xp, w is not None and w.constant is not None
        self._kept: Array | None = None

    def workspace(self, geometry: Geometry) -> int:
        """Bytes that `of` writes to."""
        return 0 if self._are_constant else 4 * WINOGRAD_PLACES * _pairs(geometry.maps, geometry.channels)

    def of(self, w: Array, workspace: Array | None) -> Array:
        """The transformed `w` (maps, channels, 3, 3), in the workspace's first bytes if they are not kept."""
        if self._kept is not None:
            return self._kept
        maps, channels = w.shape[:2]
        pairs = _pairs(maps, channels)
        written = self._xp.empty(WINOGRAD_PLACES * pairs, np.float32) if self._are_constant else workspace
        TRANSFORM.instance().launch(blocks_for(pairs), THREADS, w, written, channels, maps, pairs)
        self._kept = written if self._are_constant else None
        return written


def convolve(geometry: Geometry, cut: Tiling, x: Array, weights: Array, ending: np.void, out: Array, partial: Array | None) -> None:
    """Write the results, or the sums of each part to `partial`.

    Args:
        geometry: of a convolution that can be transformed.
        cut: its tiling by `WINOGRAD`.
        x: (N, C, H, W), dense.
        weights: of `TransformedWeights`.
        ending: `Ending` of convolution.cuh.
        out: dense.
        partial: memory for `cut.parts` times the results, or None for one part.
    """
    is_paired = geometry.shape[-1] % 2 == 0 and out.data.ptr % 8 == 0
    arguments = x, weights, out, partial, geometry.structure(int(x.shape[0])), ending, cut.span, is_paired
    CONVOLVE.instance().launch((cut.tiles, cut.parts), TILES[WINOGRAD][2], *arguments)


def _pairs(maps: int, channels: int) -> int:
    """Of a map and a channel, those that fill up the last block and the last slice included."""
    return -(-maps // TILES[WINOGRAD][0]) * TILES[WINOGRAD][0] * (-(-channels // WINOGRAD_DEPTH) * WINOGRAD_DEPTH)
