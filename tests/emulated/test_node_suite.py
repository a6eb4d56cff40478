"""ONNX's node tests as sessions on CUDA: by our own kernels alone, and in the modes of the emulated device that show faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import placement
from benchmarks.on_cuda import CUDA
from onnxgpu.providers.cuda.emulator.settings import Settings
from tests.emulated import LIBRARIES_MISSING, PLAIN

pytestmark = [pytest.mark.slow, pytest.mark.skipif(LIBRARIES_MISSING is not None, reason=str(LIBRARIES_MISSING))]
PARTS = 8
OWN = {"enable_cublas": 0, "enable_cudnn": 0}
MODES = {
    "lazy, blocks and threads in reverse": replace(PLAIN, lazy=True, schedule=1),
    "checked": replace(PLAIN, checked=True),
    "checked, in reverse": replace(PLAIN, checked=True, schedule=1),
    "checked, in a random order": replace(PLAIN, checked=True, schedule=7),
}
UNDETERMINED = {
    **dict.fromkeys(
        (f"test_bernoulli{kind}{form}" for kind in ("", "_double", "_seed") for form in ("", "_expanded")), "a random draw that is open"
    ),
    "test_attention_4d_causal_fp16_expanded": "its softmax of float16 is rounded after every step, ours once",
    **dict.fromkeys(("test_dft_inverse", "test_dft_inverse_opset19"), "the zeros that it expects are the rounding of float32"),
    "test_loop16_seq_none": "onnx's runner cannot compare it",
}
"""Cases whose results may be others than those that ONNX has, with the reason."""


@pytest.mark.parametrize("part", range(1, PARTS + 1))
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_modes(mode: Settings, part: int, device: Any) -> None:
    """Nothing waits too little, reads what nobody wrote, races or leaves its memory."""
    device.configure(mode)
    _check(placement.found(part, PARTS))


@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_own_kernels(part: int, device: Any) -> None:
    """In the place of NVIDIA's libraries."""
    found = placement.found(part, PARTS, providers=[(CUDA, OWN), "CPUExecutionProvider"])
    _check(found)


def _check(found: placement.Findings) -> None:
    wrong = {name: text for name, text in found.results.items() if text != "right" and name not in UNDETERMINED}
    assert not wrong
    assert len(found.results) >= 1884 // PARTS and "not_loaded" not in found.placement.values()
