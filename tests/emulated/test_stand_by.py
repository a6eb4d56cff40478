"""CUDA stands by for a provider of segments on the host: what it is given is copied to it and back until the engine is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu import discovery
from onnxgpu.explain import explanation
from tests.emulated import PLAIN
from tests.segments.providers import NAME, EvaluatorProvider, session

CUDA = "CUDAExecutionProvider"
TEXT = "g (float[n,3] x) => (float[n,3] z) { e = Exp(x)\n a = Relu(e)\n b = Neg(a)\n c = Sin(b)\n z = Tanh(c) }"


@pytest.mark.parametrize("mode", [PLAIN, replace(PLAIN, lazy=True)], ids=["plain", "lazy"])
def test_a_device_stands_by_for_the_host(mode: Any, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"operators": {"Relu", "Neg", "Sin"}, "late": True, "waiting": []}.items():
        monkeypatch.setattr(EvaluatorProvider, name, value)
    discovery.register("evaluator", EvaluatorProvider)
    try:
        made = session(TEXT, first=NAME, behind=[CUDA])
    finally:
        discovery.unregister("evaluator")
    assert [node["meanwhile"] for node in explanation(made)["nodes"]] == [None, CUDA, CUDA, CUDA, None]
    (kernel,) = EvaluatorProvider.waiting
    device.configure(mode)
    for ready in (False, True):
        if ready:
            kernel.finish((2, 3))
        for seed in range(4):
            x = np.random.default_rng(seed).standard_normal((2, 3)).astype(np.float32)
            expected = np.tanh(np.sin(-np.maximum(np.exp(x), 0)))
            np.testing.assert_allclose(made.run(None, {"x": x})[0], expected, rtol=1e-5, atol=1e-6)
    assert kernel.engine.launches == 4
