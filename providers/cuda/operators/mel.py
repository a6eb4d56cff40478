"""MelWeightMatrix: the corners of the triangles are counted on the host, whose numbers they come from, and passed by value."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of, name_of
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.spectral import MEL_INPUTS, mel_corners, mel_specs, number
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, by_value
from onnxgpu.providers.cuda.registry import operator

WEIGHTS = Template("mel.cu", "mel_weights<{T}>", "plllls", T=FLOATS)

_MOST_CORNERS = 256
_AT_ONCE = _MOST_CORNERS - 2


def _refusal(operation: Operation) -> str | None:
    wanted = dtype_of(operation.attributes.get("output_datatype", 1))
    return None if name_of(wanted) in FLOAT_NAMES else f"gives floats, not {name_of(wanted)}"


@operator("MelWeightMatrix", since=17, specs=mel_specs, host=MEL_INPUTS, when=_refusal)
def mel_weight_matrix(
    xp: Any,
    num_mel_bins: Array,
    dft_length: Array,
    sample_rate: Array,
    lower_edge_hertz: Array,
    upper_edge_hertz: Array,
    *,
    output_datatype: int = 1,
    out: Array = None,
) -> Array:
    """Triangles on the mel scale over the bins of a spectrum. Spec: https://onnx.ai/onnx/operators/onnx__MelWeightMatrix.html"""
    spec = mel_specs(num_mel_bins, dft_length, output_datatype=output_datatype)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    frequencies, bins = spec.shape
    corners = mel_corners(bins, number(dft_length, 0), number(sample_rate, 1), lower_edge_hertz, upper_edge_hertz)
    for first in range(0, bins, _AT_ONCE):
        count = min(_AT_ONCE, bins - first)
        passed = np.zeros(_MOST_CORNERS, np.int64)
        passed[: count + 2] = corners[first : first + count + 2]
        blocks = blocks_for(frequencies * count)
        WEIGHTS.instance(T=spec.dtype).launch(blocks, THREADS, result, frequencies, bins, first, count, by_value(passed))
    return result
