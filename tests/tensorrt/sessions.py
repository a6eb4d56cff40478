"""Models and sessions for tests of the TensorRT provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

import onnxgpu
from onnxgpu.session import InferenceSession
from tests.models import model

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
SEGMENT = "Segment Tensorrt"
"""A step of the plan that is an engine."""


def built() -> int:
    """How many engines the stand-in built since its log of calls was cleared."""
    from onnxgpu.providers.tensorrt import stand_in

    return sum(call.member == "build_serialized_network" for call in stand_in.recorded())


def session(
    proto: str | onnx.ModelProto, *, behind: Sequence[str] = (CUDA, CPU), entries: Mapping[str, str] | None = None, **options: Any
) -> InferenceSession:
    """A session with TensorRT first; `options` are the provider's."""
    settings = onnxgpu.SessionOptions()
    for key, value in (entries or {}).items():
        settings.add_session_config_entry(key, value)
    content = (model(proto) if isinstance(proto, str) else proto).SerializeToString()
    return InferenceSession(content, settings, providers=[(TENSORRT, options), *behind])


def steps(made: InferenceSession) -> list[str]:
    """Operator and provider of each step of the plan, transfers included."""
    return [
        f"{'transfer' if step.is_transfer else step.operation.operator} {step.provider.name.removesuffix('ExecutionProvider')}"
        for step in made.plan.steps
    ]


def rows(count: int, width: int = 64) -> np.ndarray:
    """An input of so many rows."""
    return np.random.default_rng(count).standard_normal((count, width)).astype(np.float32)


def on_cpu(proto: str | onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[Any]:
    """The outputs on the CPU provider."""
    content = (model(proto) if isinstance(proto, str) else proto).SerializeToString()
    return list(InferenceSession(content, providers=[CPU]).run(None, dict(feeds)))


def check(made: InferenceSession, proto: str | onnx.ModelProto, feeds: Mapping[str, np.ndarray], runs: int = 1) -> None:
    """Run, and compare with the CPU provider."""
    expected = on_cpu(proto, feeds)
    for _ in range(runs):
        for wanted, got in zip(expected, made.run(None, dict(feeds)), strict=True):
            assert wanted.dtype == got.dtype and wanted.shape == got.shape
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
