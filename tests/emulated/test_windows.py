"""Windows of convolutions as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.array_ops.convolution import columns
from onnxgpu.providers.array_ops.windows import padded, windows_over
from onnxgpu.providers.cuda.windows import write_columns
from tests.emulated.test_operator_cases import MODE_NAMES, MODES

WINDOWS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((7,), (3,), {"pads": [1, 2]}),
    ((9,), (2,), {"strides": [3], "dilations": [2]}),
    ((6, 5), (3, 3), {"pads": [1, 1, 1, 1]}),
    ((6, 5), (3, 3), {"pads": [0, 1, 2, 1], "strides": [2, 1]}),
    ((6, 5), (1, 1), {"strides": [2, 2]}),
    ((6, 5), (2, 4), {"pads": [3, 0, 0, 3], "dilations": [1, 2]}),
    ((4, 3, 5), (2, 3, 3), {"pads": [0, 1, 0, 1, 0, 2], "strides": [1, 2, 1]}),
]


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
@pytest.mark.parametrize(("sizes", "kernel", "attributes"), WINDOWS)
def test_columns(
    sizes: tuple[int, ...], kernel: tuple[int, ...], attributes: Any, mode: Any, device: Any, cp: Any, exact_bounds: None
) -> None:
    device.configure(mode)
    for dtype in (np.float16, np.float32, np.float64):
        x = np.random.default_rng(0).standard_normal((2, 3, *sizes)).astype(dtype)
        windows = windows_over("Conv", sizes, kernel, **attributes)
        expected = columns(np, padded(np, x, windows, 0), windows, 1)[:, 0]
        result = cp.full(expected.shape, 77, dtype)
        write_columns(cp.asarray(x), result, windows)
        np.testing.assert_array_equal(result.get(), expected)
