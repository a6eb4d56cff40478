"""Operators that move data: shape rules against onnxruntime, views, errors, sequences and optionals, control flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnxgpu.errors import Fail, InvalidArgument, OnnxGpuError
from onnxgpu.provider import Claim, Operation, Refusal, Subgraph, ValueInfo
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases.element_types import counting

MAX, MIN = np.iinfo(np.int64).max, np.iinfo(np.int64).min


def claimed(operator: str, input_count: int, attributes: Mapping[str, Any], opset: int, outputs: Sequence[ValueInfo | None]) -> Claim:
    inputs = tuple(ValueInfo(f"x{i}") for i in range(input_count))
    claim = CPUProvider().claim(Operation(operator, inputs, tuple(outputs), "", opset, "node", attributes))
    assert isinstance(claim, Claim), claim.reason
    return claim


def run(operator: str, *inputs: Any, opset: int = 23, outputs: int = 1, **attributes: Any) -> Any:
    """The one output of a node, or the list of its outputs, written into given memory where the kernel knows its specs."""
    kernel = claimed(operator, len(inputs), attributes, opset, [ValueInfo(f"y{i}") for i in range(outputs)]).build()
    specs = kernel.outputs(inputs)
    memory = None if specs is None else [CPUProvider().allocate(spec) for spec in specs]
    results = list(kernel.launch(inputs, memory, None))
    return results[0] if outputs == 1 else results


def run_with_bodies(
    operator: str, *inputs: Any, bodies: Mapping[str, Callable[..., Any]], opset: int = 23, outputs: Sequence[ValueInfo], **attributes: Any
) -> list[Any]:
    given_attributes = dict(attributes) | {name: Subgraph((), ()) for name in bodies}
    kernel: Any = claimed(operator, len(inputs), given_attributes, opset, outputs).build()
    assert kernel.outputs(inputs) is None
    return list(kernel.launch_with_bodies(inputs, bodies))


@cache
def peer(
    operator: str, kinds: tuple[int, ...], attributes: tuple[tuple[str, Any], ...] = (), opset: int = 21, outputs: int = 1
) -> onnxruntime.InferenceSession:
    """An onnxruntime session of one node with inputs of these element types and unknown shapes."""
    names = [f"x{i}" for i in range(len(kinds))]
    node = helper.make_node(operator, names, [f"y{i}" for i in range(outputs)], **dict(attributes))
    infos = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, kinds, strict=True)]
    graph = helper.make_graph([node], "peer", infos, [onnx.ValueInfoProto(name=f"y{i}") for i in range(outputs)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def assert_like_peer(operator: str, *inputs: np.ndarray, opset: int = 21, outputs: int = 1, **attributes: Any) -> None:
    """Same result as onnxruntime, or an error where it raises one."""
    session = peer(operator, tuple(helper.np_dtype_to_tensor_dtype(x.dtype) for x in inputs), tuple(attributes.items()), opset, outputs)
    try:
        expected = session.run(None, {f"x{i}": x for i, x in enumerate(inputs)})
    except Exception:
        with pytest.raises(OnnxGpuError):
            run(operator, *inputs, opset=opset, outputs=outputs, **attributes)
        return
    results = run(operator, *inputs, opset=opset, outputs=outputs, **attributes)
    for actual, wanted in zip([results] if outputs == 1 else results, expected, strict=True):
        assert actual.shape == wanted.shape
        assert actual.dtype == wanted.dtype
        np.testing.assert_array_equal(actual, wanted)


shapes = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
positions = st.one_of(st.integers(-6, 6), st.sampled_from([MAX, MIN, MAX - 1]))
steps = st.one_of(st.integers(-3, 3).filter(bool), st.sampled_from([100, -100]))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_slice_follows_onnxruntime(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    rank = len(shape)
    axes = data.draw(st.lists(st.integers(-rank, rank - 1), min_size=1, max_size=rank, unique_by=lambda axis: axis % rank))
    columns = [data.draw(st.lists(kind, min_size=len(axes), max_size=len(axes))) for kind in (positions, positions, steps)]
    starts, ends, strides = (np.array(column, np.int64) for column in columns)
    assert_like_peer("Slice", counting(shape), starts, ends, np.array(axes, np.int64), strides)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_pad_follows_onnxruntime(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    pads = data.draw(st.lists(st.integers(-2, 3), min_size=2 * len(shape), max_size=2 * len(shape)))
    leaves = [size + min(a, 0) + min(b, 0) for size, a, b in zip(shape, pads, pads[len(shape) :], strict=False)]
    mode = data.draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    if min(leaves) < 0 or (mode != "constant" and min(leaves) == 0):
        return
    assert_like_peer("Pad", counting(shape), np.array(pads, np.int64), mode=mode)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_gather_follows_onnxruntime(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    wanted = data.draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    size = shape[axis]
    indices = data.draw(st.lists(st.integers(-size - 1, size), min_size=int(np.prod(wanted)), max_size=int(np.prod(wanted))))
    assert_like_peer("Gather", counting(shape), np.array(indices, np.int64).reshape(wanted), axis=axis)


@settings(max_examples=120, deadline=None)
@given(shapes, st.lists(st.integers(-1, 6), min_size=1, max_size=4))
def test_reshape_follows_onnxruntime(shape: tuple[int, ...], requested: list[int]) -> None:
    assert_like_peer("Reshape", counting(shape), np.array(requested, np.int64))


@settings(max_examples=80, deadline=None)
@given(shapes, shapes)
def test_expand_follows_onnxruntime(shape: tuple[int, ...], requested: tuple[int, ...]) -> None:
    assert_like_peer("Expand", counting(shape), np.array(requested, np.int64))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_top_k_follows_onnxruntime(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    values = data.draw(
        st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf]), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    )
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(0, shape[axis]))
    largest = data.draw(st.integers(0, 1))
    assert_like_peer("TopK", np.array(values, "f").reshape(shape), np.array([k]), outputs=2, axis=axis, largest=largest)


X = counting((2, 3))


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "error", "message"),
    [
        ("Reshape", [X, np.array([5])], {}, Fail, r"cannot be reshaped to the requested shape. Input shape:\{2,3\}, requested shape:\{5\}"),
        ("Reshape", [X, np.array([-1, -1])], {}, Fail, "At most one dimension can be -1"),
        ("Reshape", [X, np.array([-2])], {}, Fail, "A dimension cannot be less than -1, got -2"),
        ("Reshape", [X, np.array([1, 1, 0])], {}, Fail, "exceeds the dimension size of the input tensor"),
        ("Squeeze", [X, np.array([1])], {}, Fail, r"Dimension of input 1 must be 1 instead of 3. shape=\{2,3\}"),
        ("Squeeze", [X, np.array([4])], {}, Fail, r"axis 4 is not in valid range \[-2,1\]"),
        ("Unsqueeze", [X, np.array([0, 0])], {}, InvalidArgument, "each axis once"),
        ("Transpose", [X], {"perm": (0,)}, InvalidArgument, "perm size: 1 does not match input rank: 2"),
        ("Transpose", [X], {"perm": (0, 0)}, InvalidArgument, "each of the axes 0 to 1 once"),
        ("Expand", [X, np.array([4, 3])], {}, InvalidArgument, r"invalid expand shape: \{4,3\}"),
        ("Concat", [X, X.T], {"axis": 0}, Fail, "Axis 1 has mismatched dimensions of 2 and 3"),
        ("Split", [X, np.array([1, 1])], {"axis": 1}, Fail, "Sum of sizes in 'split'"),
        ("Tile", [X, np.array([2])], {}, InvalidArgument, "'repeat' input tensor must have the same length"),
        ("Slice", [X, np.array([0]), np.array([1]), np.array([0]), np.array([0])], {}, InvalidArgument, "'step' value cannot be 0"),
        ("Slice", [X, np.array([0]), np.array([1]), np.array([2])], {}, InvalidArgument, "outside of the tensor dimension count"),
        (
            "Pad",
            [X, np.array([0, 3, 0, 0])],
            {"mode": "reflect"},
            InvalidArgument,
            r"pre-pad \(3\) exceeds maximum allowed \(2\) for axis 1",
        ),
        ("Pad", [X, np.array([0, 0, 0])], {}, Fail, "twice the number of axes"),
        (
            "Gather",
            [X, np.array([2, 0])],
            {},
            InvalidArgument,
            r"indices element out of data bounds, idx=2 must be within the inclusive range \[-2,1\]",
        ),
        ("Gather", [X, np.array(-3)], {}, InvalidArgument, r"idx=-3 must be within the inclusive range \[-2,1\]"),
        ("GatherElements", [X, np.array([[7]])], {}, InvalidArgument, "idx=7"),
        ("GatherND", [X, np.array([[0, 3]])], {}, InvalidArgument, "invalid index found, index = 3"),
        ("ScatterElements", [X, np.array([[7]]), np.ones((1, 1), "f")], {}, InvalidArgument, "idx=7"),
        ("ScatterND", [X, np.array([[0]]), np.ones((1, 2), "f")], {}, InvalidArgument, "updates shape"),
        ("TopK", [X, np.array([4])], {}, Fail, r"k argument \[4\] should not be greater than specified axis dim value \[3\]"),
        ("OneHot", [np.array([0]), np.array(0), np.ones(2, "f")], {}, InvalidArgument, "Depth is negative"),
        ("ReverseSequence", [X, np.array([1, 9, 1])], {}, Fail, r"Invalid sequence length: 9. Value must be in range \[0,2\]"),
        ("DepthToSpace", [counting((1, 3, 1, 1))], {"blocksize": 2}, InvalidArgument, "multiple of"),
        ("ArgMax", [counting((0, 2))], {}, InvalidArgument, "at least one element"),
        ("CumSum", [X, np.array(4)], {}, InvalidArgument, "axis"),
        ("SequenceAt", [[X], np.array(1)], {}, InvalidArgument, r"Invalid sequence index \(1\) specified for sequence of size \(1\)"),
        ("SequenceErase", [[]], {}, InvalidArgument, "at least one element"),
        ("OptionalGetElement", [None], {}, InvalidArgument, "got an empty one"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_say_what_was_expected(
    operator: str, inputs: list[Any], attributes: dict[str, Any], error: type[OnnxGpuError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(operator, *inputs, **attributes)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("Reshape", [np.array([3, 2])], {}),
        ("Flatten", [], {}),
        ("Unsqueeze", [np.array([0])], {}),
        ("Squeeze", [], {}),
        ("Transpose", [], {}),
        ("Expand", [np.array([4, 1, 1])], {}),
        ("Slice", [np.array([0]), np.array([2]), np.array([1])], {}),
        ("Split", [np.array([1, 1])], {}),
    ],
)
def test_views_share_the_input_memory(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    x = counting((2, 3))
    outputs = 2 if operator == "Split" else 1
    assert claimed(operator, 1 + len(inputs), attributes, 23, [None] * outputs).view_of == 0
    results = run(operator, x, *inputs, outputs=outputs, **attributes)
    for result in results if outputs > 1 else [results]:
        assert np.shares_memory(result, x)


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("ScatterND", [np.array([[1]]), np.full((1, 3), 9, "f")]),
        ("ScatterElements", [np.array([[1, 0, 1]]), np.full((1, 3), 9, "f")]),
        ("TensorScatter", [np.full((2, 1), 9, "f"), np.array([2, 0])]),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_scatter_into_the_memory_of_the_data(operator: str, inputs: list[Any], transposed: bool) -> None:
    attributes = {"axis": 1} if operator == "TensorScatter" else {}
    data = counting((3, 2)).T if transposed else counting((2, 3))
    expected = run(operator, data.copy(), *inputs, opset=24, **attributes)
    kernel = claimed(operator, 1 + len(inputs), attributes, 24, [None]).build()
    specs = kernel.outputs([data, *inputs])
    assert specs is not None
    assert specs[0].may_reuse == (0,)
    memory = np.ndarray((2, 3), "f", data if data.base is None else data.base)
    kernel.launch([data, *inputs], [memory], None)
    np.testing.assert_array_equal(memory, expected)


def test_shape_inputs_are_wanted_on_the_host() -> None:
    expected = {
        "Reshape": (2, {1}),
        "Slice": (5, {1, 2, 3, 4}),
        "Pad": (4, {1, 2, 3}),
        "Tile": (2, {1}),
        "TopK": (2, {1}),
        "Loop": (3, {0, 1}),
        "If": (1, {0}),
    }
    for operator, (count, host) in expected.items():
        bodies = {"Loop": ["body"], "If": ["then_branch", "else_branch"]}.get(operator, [])
        claim = claimed(operator, count, {name: Subgraph((), ()) for name in bodies}, 23, [None])
        assert claim.host_inputs == host, operator
    assert claimed("Shape", 1, {}, 23, [None]).shape_only_inputs == {0}


def test_sequences_are_not_changed_in_place() -> None:
    a, b = counting((2,)), counting((3,))
    sequence = run("SequenceConstruct", a, b)
    longer = run("SequenceInsert", sequence, a, np.array(0))
    shorter = run("SequenceErase", sequence, np.array(-2))
    assert [len(s) for s in (sequence, longer, shorter, run("SequenceEmpty"))] == [2, 3, 1, 0]
    assert [x.size for x in longer] == [2, 2, 3]
    assert [x.size for x in run("SequenceInsert", sequence, a, np.array(-1))] == [2, 2, 3]
    assert run("SequenceAt", sequence, np.array(-1)) is sequence[1]
    assert run("SequenceLength", longer) == 3
    assert not np.shares_memory(sequence[0], a)


def test_sequences_split_and_join() -> None:
    x = counting((2, 5))
    assert [part.shape for part in run("SplitToSequence", x, np.array(2), axis=1)] == [(2, 2), (2, 2), (2, 1)]
    assert [part.shape for part in run("SplitToSequence", x, np.array([4, 1]), axis=-1, keepdims=0)] == [(2, 4), (2, 1)]
    assert [part.shape for part in run("SplitToSequence", x, axis=1)] == [(2, 1)] * 5
    rows = run("SplitToSequence", x, axis=0, keepdims=0)
    assert [part.shape for part in rows] == [(5,), (5,)]
    np.testing.assert_array_equal(run("ConcatFromSequence", rows, axis=-1, new_axis=1), x.T)
    np.testing.assert_array_equal(run("ConcatFromSequence", rows, axis=0), x.reshape(-1))


def test_optionals_hold_something_or_nothing() -> None:
    x = counting((2,))
    assert run("OptionalGetElement", run("Optional", x)) is x
    assert run("Optional", type="tensor(float)") is None
    assert [bool(run("OptionalHasElement", *inputs)) for inputs in ([x], [[x]], [None], [])] == [True, True, False, False]


def test_if_runs_one_branch() -> None:
    bodies = {"then_branch": lambda: [np.array(1)], "else_branch": lambda: [[np.array(2)]]}
    outputs = [ValueInfo("y")]
    assert run_with_bodies("If", np.array([True]), bodies=bodies, outputs=outputs) == [1]
    assert run_with_bodies("If", np.array(False), bodies=bodies, outputs=outputs) == [[2]]
    with pytest.raises(InvalidArgument, match="one element"):
        run_with_bodies("If", np.array([True, False]), bodies=bodies, outputs=outputs)


def _doubling(iteration: np.ndarray, condition: np.ndarray, value: np.ndarray) -> list[Any]:
    return [np.asarray(value < 8), value * 2, value]


@pytest.mark.parametrize(("trip_count", "condition", "runs"), [(3, None, 3), (None, True, 4), (99, True, 4), (5, False, 0), (0, None, 0)])
def test_loop_stops_at_count_or_condition(trip_count: int | None, condition: bool | None, runs: int) -> None:
    inputs = [None if v is None else np.asarray(v) for v in (trip_count, condition)]
    outputs = [ValueInfo("v"), ValueInfo("s", np.dtype(np.float64), (None,))]
    value, scanned = run_with_bodies("Loop", *inputs, np.asarray(1.0), bodies={"body": _doubling}, outputs=outputs)
    assert value == 2.0**runs
    assert scanned.tolist() == [2.0**i for i in range(runs)]
    assert scanned.dtype == np.float64


def test_loop_without_iterations_gives_empty_scan_outputs_of_the_declared_shape() -> None:
    outputs = [ValueInfo("a", np.dtype(np.int32), ("n", 3, None)), ValueInfo("b", np.dtype(object), (None,)), ValueInfo("c")]
    a, b, c = run_with_bodies("Loop", np.asarray(0), None, bodies={"body": _doubling}, outputs=outputs)
    assert [(x.shape, x.dtype) for x in (a, b, c)] == [((0, 3, 0), np.int32), ((0,), object), ((0,), np.float32)]


def test_loop_carries_sequences_strings_and_nothing() -> None:
    def body(iteration: np.ndarray, condition: np.ndarray, sequence: list[Any], nothing: Any) -> list[Any]:
        return [condition, [*sequence, iteration], nothing, np.array(f"step {iteration}", object)]

    outputs = [ValueInfo(name) for name in "abc"]
    sequence, nothing, texts = run_with_bodies("Loop", np.asarray(3), None, [], None, bodies={"body": body}, outputs=outputs)
    assert (sequence, nothing, texts.tolist()) == ([0, 1, 2], None, ["step 0", "step 1", "step 2"])


def _running_sum(total: np.ndarray, row: np.ndarray) -> list[Any]:
    return [total + row, total + row]


def test_scan_axes_and_directions() -> None:
    x = counting((3, 2))
    outputs = [ValueInfo("state"), ValueInfo("scanned")]

    def scanned(**attributes: Any) -> list[Any]:
        return run_with_bodies("Scan", np.zeros(2, "f"), x, bodies={"body": _running_sum}, outputs=outputs, num_scan_inputs=1, **attributes)

    total, sums = scanned()
    np.testing.assert_array_equal(total, x.sum(0))
    np.testing.assert_array_equal(sums, x.cumsum(0))
    np.testing.assert_array_equal(scanned(scan_input_directions=(1,))[1], x[::-1].cumsum(0))
    np.testing.assert_array_equal(scanned(scan_output_directions=(1,))[1], x.cumsum(0)[::-1])
    np.testing.assert_array_equal(scanned(scan_output_axes=(-1,))[1], x.cumsum(0).T)
    state = np.zeros(3, "f")
    columns = run_with_bodies("Scan", state, x, bodies={"body": _running_sum}, outputs=outputs, num_scan_inputs=1, scan_input_axes=(-1,))
    np.testing.assert_array_equal(columns[1], x.cumsum(1).T)


def test_scan_over_nothing() -> None:
    outputs = [ValueInfo("state"), ValueInfo("scanned", np.dtype(np.float32), (None, 2))]
    state, scanned = run_with_bodies(
        "Scan", np.ones(2, "f"), np.zeros((0, 2), "f"), bodies={"body": _running_sum}, outputs=outputs, num_scan_inputs=1
    )
    assert state.tolist() == [1, 1]
    assert scanned.shape == (0, 2)


def test_scan_8_runs_each_of_a_batch_for_its_length() -> None:
    x = counting((2, 3, 2))
    outputs = [ValueInfo("state"), ValueInfo("scanned")]
    state = np.zeros((2, 2), "f")
    total, sums = run_with_bodies(
        "Scan", np.array([2, 3]), state, x, bodies={"body": _running_sum}, opset=8, outputs=outputs, num_scan_inputs=1
    )
    np.testing.assert_array_equal(total, [x[0, :2].sum(0), x[1].sum(0)])
    np.testing.assert_array_equal(sums[0], [*x[0].cumsum(0)[:2], [0, 0]])
    np.testing.assert_array_equal(sums[1], x[1].cumsum(0))
    backwards = run_with_bodies(
        "Scan", None, state, x, bodies={"body": _running_sum}, opset=8, outputs=outputs, num_scan_inputs=1, directions=(1,)
    )
    np.testing.assert_array_equal(backwards[1], x[:, ::-1].cumsum(1))


def test_sequence_map_pairs_sequences_and_repeats_tensors() -> None:
    outputs = [ValueInfo("sum"), ValueInfo("difference")]
    bodies = {"body": lambda a, b, c: [a + b + c, a - b]}
    sums, differences = run_with_bodies("SequenceMap", [1, 2], [10, 20], np.array(100), bodies=bodies, outputs=outputs)
    assert (sums, differences) == ([111, 122], [-9, -18])
    with pytest.raises(InvalidArgument, match="sequences of one length"):
        run_with_bodies("SequenceMap", [1, 2], [10], np.array(100), bodies=bodies, outputs=outputs)


def test_a_regular_expression_that_cannot_be_read_is_refused_with_a_reason() -> None:
    operation = Operation("RegexFullMatch", (ValueInfo("x"),), (ValueInfo("y"),), "", 20, "node", {"pattern": r"\pN["})
    refusal = CPUProvider().claim(operation)
    assert isinstance(refusal, Refusal)
    assert "cannot read the pattern" in refusal.reason
