"""Small types through the whole provider: engines of the stand-in, built from what the rewrite gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnxgpu.errors import InvalidArgument
from tests.tensorrt.precision_models import FEEDS, transformer
from tests.tensorrt.precision_support import TOLERANCE, error, run
from tests.tensorrt.sessions import session, steps

pytestmark = pytest.mark.usefixtures("tensorrt")

SHAPES: dict[str, Any] = {
    f"trt_profile_{end}_shapes": ",".join(f"{name}:{'x'.join(map(str, array.shape))}" for name, array in FEEDS.items())
    for end in ("min", "opt", "max")
}


@pytest.mark.parametrize(("small", "option"), [("float16", "trt_fp16_enable"), ("bfloat16", "trt_bf16_enable")])
def test_a_transformer_block_in_an_engine(small: str, option: str) -> None:
    options: dict[str, Any] = {**SHAPES, option: True}
    made = session(transformer(), **options)
    assert steps(made).count("Segment Tensorrt") == 1
    assert 0 < error(run(transformer(), FEEDS), made.run(None, FEEDS)) < TOLERANCE[small]


def test_int8_by_a_table(tmp_path: Path) -> None:
    ranges = {"normed": 4.0, "attended": 4.0, "second": 4.0, "gated": 8.0}
    (tmp_path / "calibration.cache").write_text("".join(f"{name} {value}\n" for name, value in ranges.items()))
    options: dict[str, Any] = {"trt_int8_enable": True, "trt_engine_cache_path": str(tmp_path)}
    made = session(transformer(), **SHAPES, **options, trt_int8_calibration_table_name="calibration.cache")
    assert 1e-4 < error(run(transformer(), FEEDS), made.run(None, FEEDS)) < 0.1
    with pytest.raises(InvalidArgument, match="has no Q/DQ nodes, and there is no calibration"):
        session(transformer(), **SHAPES, **options)
