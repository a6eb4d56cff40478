"""onnx's backend interface over sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.backend.base import Backend, BackendRep

from onnxgpu import GraphOptimizationLevel, backend, get_device
from onnxgpu.errors import InvalidArgument
from tests.models import model

ADD = model("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1.0, 2.0}> { y = Add(x, w) }")
X = np.array([1, 2], np.float32)


def test_it_is_a_backend() -> None:
    assert issubclass(backend.OnnxGpuBackend, Backend)
    assert isinstance(backend.prepare(ADD), BackendRep)
    assert backend.is_compatible(ADD)


@pytest.mark.parametrize("inputs", [[X], (X,), X, {"x": X}, [X, np.array([1, 2], np.float32)], [[1.0, 2.0]]], ids=repr)
def test_inputs_in_order_alone_and_by_name(inputs: Any) -> None:
    np.testing.assert_array_equal(backend.prepare(ADD).run(inputs)[0], [2, 4])
    np.testing.assert_array_equal(backend.run_model(ADD, inputs)[0], [2, 4])


def test_models_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(ADD, path)
    for given in (ADD, ADD.SerializeToString(), str(path), path, backend.prepare(ADD)):
        np.testing.assert_array_equal(backend.prepare(given).run([X])[0], [2, 4])


def test_too_many_inputs() -> None:
    with pytest.raises(InvalidArgument, match=r"the model takes 2 inputs \['x', 'w'\], got 3"):
        backend.prepare(ADD).run([X, X, X])


@pytest.mark.parametrize(
    ("node", "inputs", "expected"),
    [
        (helper.make_node("Add", ["x", "y"], ["z"]), [X, X], [2, 4]),
        (helper.make_node("Mul", ["x", "x"], ["z"]), [X], [1, 4]),
        (helper.make_node("Clip", ["x", "", "high"], ["z"]), [X, np.float32(1)], [1, 1]),
        (helper.make_node("Gelu", ["x"], ["z"], domain="com.microsoft"), X, [0.8413447, 1.9544997]),
    ],
    ids=lambda value: getattr(value, "op_type", None),
)
def test_single_nodes(node: onnx.NodeProto, inputs: Any, expected: list[float]) -> None:
    (result,) = backend.run_node(node, inputs)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_a_node_of_an_older_opset() -> None:
    node = helper.make_node("Clip", ["x"], ["z"], max=1.0)
    np.testing.assert_array_equal(backend.run_node(node, [X], opset_version=6)[0], [1, 1])


@pytest.mark.parametrize(
    ("device", "served"), [("CPU", True), ("CPU:0", True), ("CUDA", get_device() == "GPU"), ("CUDA:0", get_device() == "GPU"), ("X", False)]
)
def test_devices(device: str, served: bool) -> None:
    assert backend.supports_device(device) == served


def test_the_cpu_means_the_cpu_and_options_are_taken() -> None:
    level = GraphOptimizationLevel.ORT_DISABLE_ALL
    made = backend.prepare(ADD, "CPU", graph_optimization_level=level, no_such_option=1)
    assert made.session.get_providers() == ["CPUExecutionProvider"]
    assert made.session.get_session_options().graph_optimization_level is level
