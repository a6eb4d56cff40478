"""A session is timed with its engines, not with what serves until they are there."""

from __future__ import annotations

import threading
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from onnxgpu import discovery
from onnxgpu.bench import bench
from onnxgpu.warm_up import engine_builds
from tests.segments.growing import NAME, GrowingProvider
from tests.segments.providers import session


@pytest.mark.usefixtures("evaluator")
def test_engines_are_there_before_a_session_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"opened": threading.Event(), "built": []}.items():
        monkeypatch.setattr(GrowingProvider, name, value, raising=False)
    discovery.register("growing", GrowingProvider)
    try:
        made = session("g (float[n,3] x) => (float[n,3] z) { a = Relu(x)\n z = Sin(a) }", first=NAME)
        threading.Timer(0.1, GrowingProvider.opened.set).start()
        result = bench(made, {"x": np.ones((2, 3), np.float32)}, runs=3, against=None, console=Console(file=StringIO()))
        assert [build.is_done for build in engine_builds(made.plan)] == [True]
        assert len(result.sides[0].seconds) == 3
    finally:
        discovery.unregister("growing")
