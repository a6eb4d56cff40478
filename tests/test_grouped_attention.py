"""What operator cases cannot say of attention over caches: padded steps, and caches bound as both past and present."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxgpu
from onnxgpu.errors import InvalidArgument
from tests.cases.random_arrays import normal, uniform
from tests.side_by_side import ort, session

_HEADS, _GROUPS, _SIZE = 4, 2, 16


def _model(operator: str, inputs: dict[str, np.ndarray], **attributes: Any) -> onnx.ModelProto:
    outputs = ["y", "present_key", "present_value"]
    node = helper.make_node(operator, list(inputs), outputs, domain="com.microsoft", num_heads=_HEADS, kv_num_heads=_GROUPS, **attributes)
    graph = helper.make_graph(
        [node],
        "attention",
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for name, x in inputs.items() if name],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10)


def _projected(batch: int, length: int) -> dict[str, np.ndarray]:
    return {name: normal(batch, length, n * _SIZE, seed=i) for i, (name, n) in enumerate((("q", _HEADS), ("k", _GROUPS), ("v", _GROUPS)))}


def _caches(batch: int, places: int) -> dict[str, np.ndarray]:
    return {name: normal(batch, _GROUPS, places, _SIZE, seed=i) for i, name in enumerate(("past_key", "past_value"))}


@pytest.mark.parametrize(
    ("places", "totals", "valid", "kept", "attributes"),
    [
        (9, (4, 6), (2, 3), (4, 6), {}),
        (9, (4, 6), (0, 3), (4, 6), {"local_window_size": 3}),
        (6, (10, 5), (2, 3), (4, 5), {"sliding_window_cache": 1, "local_window_size": 4}),
    ],
)
def test_padded_step(
    places: int, totals: tuple[int, ...], valid: tuple[int, ...], kept: tuple[int, ...], attributes: dict[str, int]
) -> None:
    """Valid rows of the output and of the caches; what lies behind them is not specified."""
    angles = {name: uniform(32, _SIZE // 2, seed=i) for i, name in enumerate(("cos", "sin"))}
    lengths = {"seqlens": np.array([total - 1 for total in totals], "int32"), "total": np.array(12, "int32")}
    inputs = _projected(2, 3) | _caches(2, places) | lengths | angles
    step = {"query_seqlens": np.array(valid, "int32")}
    model = _model("GroupQueryAttention", inputs | step, do_rotary=1, **attributes)
    positions = [""] * 7
    node = model.graph.node[0]
    del node.input[:]
    node.input.extend([*inputs, *positions, "query_seqlens"])
    expected = session(ort, model).run(None, inputs | step)
    actual = session(onnxgpu, model).run(None, inputs | step)
    for row, (new, held) in enumerate(zip(valid, kept, strict=True)):
        np.testing.assert_allclose(actual[0][row, :new], expected[0][row, :new], rtol=1e-4, atol=1e-5)
        for cache in (1, 2):
            np.testing.assert_allclose(actual[cache][row, :, :held], expected[cache][row, :, :held], rtol=1e-4, atol=1e-5)


def test_past_that_is_too_short() -> None:
    lengths = {"seqlens": np.array([5, 5], "int32"), "total": np.array(6, "int32")}
    inputs = _projected(2, 1) | _caches(2, 3) | lengths
    with pytest.raises(InvalidArgument, match="expected a past of 5 tokens for the longest sequence, got 3 places"):
        session(onnxgpu, _model("GroupQueryAttention", inputs)).run(None, inputs)


_LAYOUTS = np.array([[[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]], [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1]]])


def _compressed(layouts: np.ndarray) -> dict[str, np.ndarray]:
    rows = [np.concatenate(([0], np.cumsum(layout.sum(axis=1)))) for layout in layouts]
    columns = [np.nonzero(layout)[1] for layout in layouts]
    widest = max(map(len, columns))
    padded = [np.pad(places, (0, widest - len(places)), constant_values=-1) for places in columns]
    return {"rows": np.array(rows, "int32"), "columns": np.array(padded, "int32")}


@pytest.mark.parametrize("layouts", [1, 2])
@pytest.mark.parametrize(("length", "total"), [(40, 40), (64, 64), (5, 50), (1, 50)])
def test_sparse_attention(layouts: int, length: int, total: int) -> None:
    """onnxruntime wants past and present in one piece of memory."""
    lengths = {"total": np.array([total], "int32"), "totals": np.array([total, total], "int32")}
    angles = {name: uniform(64, _SIZE // 2, seed=i) for i, name in enumerate(("cos", "sin"))}
    inputs = _projected(2, length) | _caches(2, 64) | _compressed(_LAYOUTS[:layouts]) | lengths | angles
    model = _model("SparseAttention", inputs, do_rotary=1, sparse_block_size=16)
    actual = session(onnxgpu, model).run(None, inputs)
    reference = session(ort, model)
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
    binding = reference.io_binding()
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    binding.bind_output("y")
    for past, present in (("past_key", "present_key"), ("past_value", "present_value")):
        binding.bind_ortvalue_output(present, values[past])
    reference.run_with_iobinding(binding)
    for mine, theirs in zip(actual, binding.get_outputs(), strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-4, atol=1e-5)
