"""Conv over several small images: every form of window that the batched kernel gathers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case


def _case(batch: int, channels: int, maps: int, size: tuple[int, int], kernel: tuple[int, int], **attributes: Any) -> Case:
    generator = np.random.default_rng(batch * 100 + channels)
    x = generator.standard_normal((batch, channels, *size)).astype(np.float32)
    w = generator.standard_normal((maps, channels, *kernel)).astype(np.float32)
    b = generator.standard_normal(maps).astype(np.float32)
    return Case("Conv", [x, w, b], attributes, atol=1e-4)


CASES = [
    _case(4, 3, 8, (9, 9), (3, 3), pads=[1, 1, 1, 1], strides=[2, 2]),
    _case(3, 4, 8, (10, 7), (3, 3), pads=[2, 0, 1, 3], dilations=[2, 1]),
    _case(5, 2, 6, (7, 8), (5, 4), auto_pad="SAME_UPPER"),
    _case(2, 3, 4, (8, 8), (3, 2), pads=[0, 1, 2, 0], strides=[2, 1]),
    _case(6, 4, 4, (5, 5), (3, 3)),
    _case(300, 16, 8, (6, 6), (3, 3), pads=[1, 1, 1, 1]),
    _case(2, 3, 4, (9, 9), (2, 2), strides=[3, 3]),
]
