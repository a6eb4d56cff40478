"""Where benchmarks say that the nodes of a session are, and when they say that a model or a package runs on CUDA."""

from __future__ import annotations

from typing import Any

import onnx.parser
import pytest

import onnxgpu
from benchmarks import packages
from benchmarks.on_cuda import PROVIDERS, STRINGS, Whereabouts, whereabouts

MIXED = """
    <ir_version: 10, opset_import: ["" : 21, "ai.onnx.ml" : 4]>
    mixed (float[n, 3] x, int64[4] keys, string[2] words) => (float[n, 3] y, float[n, 3] z, int64[4] found, string[2] loud) {
        y = Exp (x)
        shape = Shape (x)
        z = Expand (y, shape)
        found = ai.onnx.ml.LabelEncoder <keys_int64s = [1, 2], values_int64s = [10, 20], default_int64 = 0> (keys)
        loud = StringNormalizer <case_change_action = "UPPER"> (words)
    }"""
SAME = {"same": True, "differences": [], "fault": None}


@pytest.fixture
def mixed(device: Any) -> Whereabouts:
    return whereabouts(onnxgpu.InferenceSession(onnx.parser.parse_model(MIXED), providers=PROVIDERS))


def test_each_node_is_counted_once(mixed: Whereabouts) -> None:
    assert mixed.on_cuda == 2
    assert mixed.on_host == {"shape arithmetic stays on the host": 1, STRINGS: 1}
    assert mixed.refused == {"ai.onnx.ml.LabelEncoder: keys are looked up on the host": 1}
    assert not mixed.wholly_on_cuda
    assert Whereabouts(on_cuda=1, on_host=mixed.on_host).wholly_on_cuda


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        ([{"on_cuda": 3, "refused": {}}], True),
        ([{"on_cuda": 3, "refused": {}}, {"on_cuda": 3, "refused": {"LabelEncoder: keys": 1}}], False),
        ([{"on_cuda": 0, "refused": {}}], False),
        ([], False),
    ],
)
def test_a_package_runs_on_cuda_if_all_its_sessions_do(sessions: list[dict[str, Any]], expected: bool) -> None:
    assert packages.is_wholly_on_cuda({**SAME, "sessions": sessions}) == expected
