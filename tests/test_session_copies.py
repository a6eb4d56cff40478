"""Sessions that are pickled, copied, and taken along by a fork."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu import InferenceSession
from onnxgpu.errors import NoSuchFile
from tests.models import model

CPU = ["CPUExecutionProvider"]
LOOPBACK: list[Any] = [("LoopbackExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]
X = np.array([1, -2], np.float32)
MODEL = model("g (float[N] x) => (float[N] y) { h = Relu(x)\n y = Neg(h) }")

COPIES: list[Callable[[InferenceSession], InferenceSession]] = [
    lambda made: pickle.loads(pickle.dumps(made)),
    lambda made: pickle.loads(pickle.dumps(made, 2)),
    copy.copy,
    copy.deepcopy,
]


@pytest.fixture(params=["path", "Path", "bytes", "ModelProto"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path = tmp_path / "model.onnx"
    onnx.save(MODEL, path)
    return {"path": str(path), "Path": path, "bytes": path.read_bytes(), "ModelProto": MODEL}[request.param]


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "pickle 2", "copy", "deepcopy"])
def test_a_copy_is_as_the_session_was_made(source: Any, copied: Callable[[InferenceSession], InferenceSession]) -> None:
    options = onnxgpu.SessionOptions()
    options.graph_optimization_level = onnxgpu.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("onnxgpu.placement", "op:Neg=CPUExecutionProvider;mode=listed")
    options.add_free_dimension_override_by_name("N", 2)
    made = InferenceSession(source, options, LOOPBACK)
    made.run(None, {"x": X})
    other = copied(made)
    assert other is not made
    assert str(other.plan) == str(made.plan)
    assert other.get_provider_options() == made.get_provider_options()
    assert other.get_session_options().config_entries == options.config_entries
    assert other.get_inputs() == made.get_inputs()
    np.testing.assert_array_equal(other.run(None, {"x": X})[0], made.run(None, {"x": X})[0])


def test_provider_options_and_disabled_rules_come_along() -> None:
    made = InferenceSession(MODEL, None, ["LoopbackExecutionProvider"], [{"device_id": "3"}], disabled_optimizers=["remove_identity"])
    other = copy.deepcopy(made)
    assert other.get_provider_options() == made.get_provider_options()
    assert str(other.plan) == str(made.plan)
    assert "loopback:3" in str(other.plan)


def test_a_relative_path_is_that_of_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(MODEL, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    made = InferenceSession("model.onnx", providers=CPU)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    stored = pickle.dumps(made)
    np.testing.assert_array_equal(pickle.loads(stored).run(None, {"x": X})[0], [-1, 0])
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(NoSuchFile):
        pickle.loads(stored)


def test_a_pickled_path_is_small(tmp_path: Path) -> None:
    big = model("g (float[4] x) => (float[4] y) { y = Add(x, w) }")
    big.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1000, 4), np.float32), "w"))
    del big.graph.output[0].type.tensor_type.shape.dim[:]
    big.graph.output[0].type.tensor_type.shape.dim.add()
    big.graph.output[0].type.tensor_type.shape.dim.add()
    onnx.save(big, tmp_path / "big.onnx")
    assert len(pickle.dumps(InferenceSession(tmp_path / "big.onnx", providers=CPU))) < 4000


FORK = """
import os, sys, threading
import numpy as np, onnx, onnxgpu

providers = sys.argv[1].split(",")
big = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
text = '<ir_version: 10, opset_import: ["" : 21]> g (float[N,300] x) => (float[N,300] y) { h = MatMul(x, x) y = Tanh(h) }'
model = onnx.parser.parse_model(text).SerializeToString()

def made():
    return onnxgpu.InferenceSession(model, providers=providers)

parent = made() if sys.argv[2] == "before" else None
expected = None
if parent is not None:
    for _ in range(3):
        expected = parent.run(None, {"x": big})[0]
    binding = parent.io_binding()
    binding.bind_cpu_input("x", big)
    binding.bind_output("y")
    parent.run_with_iobinding(binding)
child = os.fork()
session = parent or made()
for _ in range(3):
    found = session.run(None, {"x": big})[0]
    assert expected is None or np.allclose(found, expected)
if parent is not None:
    parent.run_with_iobinding(binding)
    assert np.allclose(binding.copy_outputs_to_cpu()[0], expected)
done = threading.Event()
results = []
session.run_async(None, {"x": big}, lambda r, u, e: (results.append((r, e)), done.set()), None)
assert done.wait(60) and results[0][1] == ""
assert np.allclose(results[0][0][0], np.tanh(big @ big), atol=1e-4)
if child == 0:
    sys.stdout.flush()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("both")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="the system has no fork")
@pytest.mark.parametrize("providers", ["CPUExecutionProvider", "LoopbackExecutionProvider,CPUExecutionProvider"])
@pytest.mark.parametrize("made", ["before", "after"])
def test_sessions_work_on_both_sides_of_a_fork(providers: str, made: str) -> None:
    program = ["import onnx.parser", FORK]
    outcome = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", "\n".join(program), providers, made],
        cwd=Path(onnxgpu.__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (outcome.returncode, outcome.stdout) == (0, "both\n"), outcome.stderr
