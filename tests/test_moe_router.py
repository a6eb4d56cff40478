"""MoEGroupRouter's full scores, which leave out its first output."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxgpu
from tests.cases.random_arrays import normal
from tests.cases.tolerances import assert_same
from tests.side_by_side import ort, session


@pytest.mark.parametrize("projected", [False, True])
def test_full_scores(projected: bool) -> None:
    feeds = {"x": normal(3, 256 if projected else 8), "bias": normal(8)} | ({"w": normal(8, 256) * np.float32(0.1)} if projected else {})
    node = helper.make_node("MoEGroupRouter", list(feeds), ["", "scores", "weights"], domain="com.microsoft", top_k=2)
    graph = helper.make_graph(
        [node],
        "router",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feeds.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 8]) for name in ("scores", "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10)
    expected = session(ort, model).run(None, feeds)
    assert_same(session(onnxgpu, model).run(None, feeds), expected)
