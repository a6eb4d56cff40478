"""Each restriction of TensorRT's parser refuses a node, and lets a node through that heeds it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx
import pytest

from onnxgpu.providers.tensorrt.stand_in import restrictions
from onnxgpu.providers.tensorrt.stand_in.restrictions import Check, refusals, rules
from onnxgpu.providers.tensorrt.stand_in.typed_graph import Node, TypedGraph, inferred
from tests.tensorrt.engines import Trt, model_of

RECURRENT = "float[1,16,3] w, float[1,16,4] r"
BOTH_WAYS = "float[2,16,3] w, float[2,16,4] r"
BRANCHES = (
    "y = If (c) <then_branch = t () => (float[{0}] {1}) {{ {1} = Identity (x) }}, "
    "else_branch = e () => (float[{2}] {3}) {{ {3} = Identity (z) }}>"
)

CASES: list[tuple[Check, str, str]] = [
    (restrictions.windows, "float[1,1,4,4] x", "y = AveragePool <kernel_shape = [2,2], dilations = [{1,1|2,1}]> (x)"),
    (restrictions.windows, "float[1,1,{4,4|2,2,2,2}] x", "y = MaxPool <kernel_shape = [{1,1|1,1,1,1}]> (x)"),
    (restrictions.no_indices, "float[1,1,4,4] x", "{y|y, i} = MaxPool <kernel_shape = [2,2]> (x)"),
    (restrictions.first_or_second_norm, "float[1,1,4,4] x", "y = LpPool <kernel_shape = [2,2], p = {2|3}> (x)"),
    (
        restrictions.no_batch_statistics,
        "float[1,2,4] x, float[2] s, float[2] b, float[2] m, float[2] v",
        "y = BatchNormalization <training_mode = {0|1}> (x, s, b, m, v)",
    ),
    (restrictions.cast_types, "float[2] x", "y = Cast <to = {10|12}> (x)"),
    (restrictions.plain_constants, "float[2] x", 'y = Constant <value_{float = 1.0|string = "a"}> ()'),
    (restrictions.constant_axis, "float[2] x, int64 a", "y = CumSum (x, {zero|a})"),
    (restrictions.constant_axes, "float[2] x, int64[1] a", "y = Unsqueeze (x, {one|a})"),
    (restrictions.constant_axes_behind, "float[2,2] x, int64[1] a", "y = Slice (x, one, one, {one|a})"),
    (restrictions.slice_inputs, "float[2] x", "y = Slice (x, one{, one|})"),
    (
        restrictions.deformable,
        "float[1,1,4,4] x, float[1,1,2,2] w, float[1,8,4,4] o",
        "y = DeformConv <kernel_shape = [2,2], pads = [0,0,{0,0|1,1}]> (x, w, o)",
    ),
    (restrictions.symmetric, "int8[4] x, float s", "y = DequantizeLinear (x, s, {zero_point|three})"),
    (restrictions.positive_scales, "int8[4] x", "y = DequantizeLinear (x, {half|nothing})"),
    (restrictions.signed, "float[4] x, float s", "y = QuantizeLinear (x, s{, zero_point|})"),
    (restrictions.no_training, "float[4] x", "y = Dropout (x, half, {no|yes})"),
    (restrictions.static_input, "float[4,{4|n}] x", "y = EyeLike (x)"),
    (restrictions.four_dimensional, "float[1,1,4,4{|,4}] x, float[1,2,2,{2|2,3}] g", "y = GridSample (x, g)"),
    (
        restrictions.same_both_ways,
        f"float[5,2,3] x, {BOTH_WAYS}",
        'y = LSTM <hidden_size = 4, direction = "bidirectional", activations = '
        '["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "{Tanh|Relu}"]> (x, w, r)',
    ),
    (restrictions.lstm_attributes, f"float[5,2,3] x, {RECURRENT}", "y = LSTM <hidden_size = 4, input_forget = {0|1}> (x, w, r)"),
    (restrictions.lstm_attributes, f"float[5,2,3] x, {RECURRENT}", "y = LSTM <hidden_size = 4, layout = {0|1}> (x, w, r)"),
    (restrictions.constant_extent, "float[2,{3|n}] x", "y = Hardmax (x)"),
    (restrictions.one_output, "float[2,3] x, float[3] s", "y{|, m} = LayerNormalization (x, s)"),
    (restrictions.constant_depth, "int64[2] x, int64[1] d, float[2] v", "y = OneHot (x, {one|d}, v)"),
    (restrictions.equal_branches, "float[2] x, float[2] z, bool c", BRANCHES.format(2, "a", 2, "{b|a}")),
    (restrictions.equal_branches, "float[2] x, float[2{|,2}] z, bool c", BRANCHES.format(2, "a", "2{|,2}", "b")),
    (restrictions.resizing, "float[1,1,4,4] x", 'y = Resize <mode = "linear", antialias = {0|1}> (x, , scales)'),
    (
        restrictions.resizing,
        "float[1,1,4,4] x",
        'y = Resize <coordinate_transformation_mode = "{asymmetric|tf_crop_and_resize}"> (x, , scales)',
    ),
    (restrictions.resizing, "float[1,1,4,4] x", 'y = Resize <keep_aspect_ratio_policy = "{stretch|not_larger}"> (x, , , sizes)'),
    (restrictions.resizing, "float[1,1,4,4] x", "y = Resize <axes = [{0,1,2,3|3,2,1,0}]> (x, , scales)"),
    (restrictions.constant_scales, "float[1,1,4,4] x, float[4] s", "y = Resize (x, , {scales|s})"),
    (restrictions.upsampling, "float[1,1,4,4] x", 'y = Upsample <mode = "{nearest|cubic}"> (x, scales)'),
    (restrictions.two_axes, "float[3,3] x, int64[3] l", "y = ReverseSequence <batch_axis = {1|0}, time_axis = 0> (x, l)"),
    (restrictions.aligned_regions, "float[1,1,4,4] x, float[1,4] r, int64[1] b", "y = RoiAlign <sampling_ratio = {0|-1}> (x, r, b)"),
    (restrictions.plain_scatter, "float[4] x, int64[1,1] i, float[1] u", 'y = ScatterND <reduction = "{none|add}"> (x, i, u)'),
    (restrictions.top, "float[4] x", "y, i = TopK <sorted = {1|0}> (x, one)"),
    (restrictions.equation, "float[2] x, float[2] z", 'y = Einsum <equation = "{i,i->i|I,I->I}"> (x, z)'),
    (restrictions.random_types, "float[2] x", "y = RandomNormalLike <dtype = {10|16}> (x)"),
]  # fmt: skip

CONSTANTS = (
    "int64[1] one = {1}, int64 zero = {0}, int8 zero_point = {0}, int8 three = {3}, float half = {0.5}, "
    "float nothing = {0.0}, bool no = {0}, bool yes = {1}, "
    "float[4] scales = {1, 1, 2, 2}, int64[4] sizes = {1, 1, 8, 8}"
)


def variants(inputs: str, node: str) -> tuple[str, str]:
    """The node that heeds the restriction, and the one that does not; `{a|b}` is a in the first and b in the second."""
    text = f"g ({inputs}) => (y) <{CONSTANTS}> {{ {node} }}"
    heeding, breaking = (re.sub(r"\{([^{}|]*)\|([^{}|]*)\}", chosen, text) for chosen in (r"\1", r"\2"))
    return heeding, breaking


def node_of(text: str) -> Node:
    model = inferred(model_of(text))
    return next(iter(TypedGraph(model, {}).nodes()))


@pytest.mark.parametrize(("rule", "inputs", "node"), CASES)
def test_a_restriction(trt: Trt, rule: Check, inputs: str, node: str) -> None:
    heeding, breaking = variants(inputs, node)
    assert rule(node_of(heeding)) is None
    reason = rule(node_of(breaking))
    assert reason and reason in refusals(node_of(breaking))


def test_every_restriction_is_tried() -> None:
    assert {rule for rule, _, _ in CASES} == rules()


def test_versions_of_operators(trt: Trt) -> None:
    """Before opset 10 the ends of a slice are attributes."""
    text = '<ir_version: 7, opset_import: ["" : 9]> g (float[4] x) => (y) { y = Slice <starts = [0], ends = [2]> (x) }'
    assert list(_all_refusals(onnx.parser.parse_model(text))) == []


def _all_refusals(model: onnx.ModelProto) -> Iterator[str]:
    for node in TypedGraph(inferred(model), {}).nodes():
        yield from refusals(node)
