"""Windows over spatial axes as kernels take them, and those of a convolution as columns of matrices."""

from __future__ import annotations

from math import prod

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.windows import Windows
from onnxgpu.providers.cuda.kernels import THREADS, Template, blocks_for

MOST_WINDOW_AXES = 3
NO_AXIS = (1, 1, 1, 1, 0, 0, 1)
UNITS = {2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}
"""Bytes of an element → a type of this size."""

_KNOWN_WIDTHS = (3,)
_WIDTHS = ("0", *map(str, _KNOWN_WIDTHS))
COLUMNS = Template("columns.cu", "write_columns<{unit}, {width}>", "ppsi", unit=tuple(UNITS.values()), width=_WIDTHS)


def structure_of_windows(windows: Windows) -> np.ndarray:
    """`Windows` of windows.cuh, in 64 bits: an axis a row."""
    each = (windows.spatial, windows.kernel, windows.strides, windows.dilations, windows.begin, windows.end, windows.output)
    rows = [NO_AXIS] * (MOST_WINDOW_AXES - len(windows.spatial)) + list(zip(*each, strict=True))
    return np.array(rows, np.int64)


def write_columns(x: Array, columns: Array, windows: Windows) -> None:
    """Write the windows of `x` (N, C, …) to `columns` (N, C · elements of a window, windows), which have less than 2^31 elements.

    Both are dense; padding is 0.
    """
    count = x.shape[0] * x.shape[1] * prod(windows.output)
    width = windows.kernel[-1] if windows.kernel[-1] in _KNOWN_WIDTHS else 0
    kernel = COLUMNS.instance(unit=UNITS[x.dtype.itemsize], width=width)
    kernel.launch(blocks_for(count), THREADS, x, columns, structure_of_windows(windows).astype(np.int32), count)
