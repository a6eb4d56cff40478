"""What stays in float32, and what goes wrong where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxgpu.providers.tensorrt.precision import reduce
from onnxgpu.providers.tensorrt.precision.choices import Choice, Kind
from tests.tensorrt.precision_support import TOLERANCE, Feeds, error, normal, reduced_model, run, run_in_onnxruntime, types, with_weights


@pytest.fixture
def without_islands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node that has a form in the small type computes in it, and masks stay as they are."""
    from onnxgpu.providers.tensorrt.precision.operators import reducible

    def careless(view: object, constants: object, settings: object) -> list[Choice]:
        found = []
        for index in range(len(view.nodes)):  # type: ignore[attr-defined]
            changes = reducible(view, index, constants.small)  # type: ignore[arg-type,attr-defined]
            found.append(Choice(Kind.UNTOUCHED) if isinstance(changes, str) else Choice(Kind.SMALL, changes=changes))
        return found

    monkeypatch.setattr(reduce, "choices", careless)
    monkeypatch.setattr(reduce, "with_finite_masks", lambda view, small: (view.model, ()))


def between_products(body: str, width: int = 8, /, **weights: np.ndarray) -> onnx.ModelProto:
    """`body` computes `b` from `a`; the products before and after it are the identity."""
    text = f"g (float[4,{width}] x) => (float[4,{width}] y) {{ a = MatMul(x, w)\n {body}\n y = MatMul(b, w) }}"
    return with_weights(text, w=np.eye(width, dtype=np.float32), **weights)


def scalar(number: float | np.floating[Any]) -> np.ndarray:
    return np.array(number, np.float32)


AXES = np.array([-1], np.int64)
LARGE = normal(4, 8, scale=3000)
NORM_OPERATOR = between_products("b = LayerNormalization(a, g)", g=np.ones(8, np.float32))
NORM = between_products(
    """m = ReduceMean(a, axes)
       d = Sub(a, m)
       p = Pow(d, two)
       v = ReduceMean(p, axes)
       e = Add(v, epsilon)
       s = Sqrt(e)
       b = Div(d, s)""",
    axes=AXES, two=scalar(2), epsilon=scalar(1e-12),
)  # fmt: skip
ROOT_MEAN_SQUARE = between_products(
    "p = Mul(a, a)\n v = ReduceMean(p, axes)\n e = Add(v, epsilon)\n s = Sqrt(e)\n r = Reciprocal(s)\n b = Mul(a, r)",
    axes=AXES, epsilon=scalar(1e-12),
)  # fmt: skip
LENGTH = between_products("n = ReduceL2(a, axes)\n c = Max(n, least)\n b = Div(a, c)", axes=AXES, least=scalar(1e-12))
SOFTMAX = between_products("m = ReduceMax(a, axes)\n d = Sub(a, m)\n e = Exp(d)\n s = ReduceSum(e, axes)\n b = Div(e, s)", axes=AXES)
SIGMOID = between_products("n = Neg(a)\n e = Exp(n)\n s = Add(e, one)\n b = Div(one, s)", one=scalar(1))
CUBE = between_products("p = Pow(a, three)\n q = Mul(p, k)\n r = Add(a, q)\n b = Tanh(r)", three=scalar(3), k=scalar(0.045))
LENGTHS = between_products("q = ReduceSumSquare(a, axes)\n s = Sqrt(q)\n b = Div(a, s)", axes=AXES)
ZEROS = np.zeros((4, 8), np.float32)

OVERFLOWS: dict[str, tuple[onnx.ModelProto, np.ndarray]] = {
    "written norm of large numbers": (NORM, LARGE),
    "written norm of equal numbers": (NORM, np.ones((4, 8), np.float32)),
    "norm by the root of squares": (ROOT_MEAN_SQUARE, LARGE),
    "norm by the root of the squares of zeros": (ROOT_MEAN_SQUARE, ZEROS),
    "division by the length of zeros": (LENGTH, ZEROS),
    "division by the length": (LENGTHS, LARGE),
    "softmax": (SOFTMAX, normal(4, 8, scale=100)),
}


@pytest.mark.parametrize("case", OVERFLOWS)
def test_written_out_operators_overflow_without_islands(case: str, without_islands: None) -> None:
    proto, x = OVERFLOWS[case]
    result, report = reduced_model(proto)
    assert set(types(report).values()) == {"float16"}
    got = run(result, {"x": x})
    if case != "softmax":
        assert not error(run(proto, {"x": x}), got) < 0.5


@pytest.mark.parametrize("case", OVERFLOWS)
def test_written_out_operators_are_fine_with_islands(case: str) -> None:
    proto, x = OVERFLOWS[case]
    result, report = reduced_model(proto)
    assert report.casts == 4, "two into and out of the segment, two around the island"
    for runner in (run, run_in_onnxruntime):
        got = runner(result, {"x": x})
        assert np.isfinite(got[0]).all() and error(runner(proto, {"x": x}), got) < TOLERANCE["float16"]


@pytest.mark.parametrize("proto", [NORM, ROOT_MEAN_SQUARE, LENGTHS], ids=["norm", "root mean square", "length"])
def test_written_out_norms_stay_in_float32_as_a_whole(proto: onnx.ModelProto) -> None:
    _, report = reduced_model(proto)
    assert [node.computes_in for node in report.nodes] == ["float16", *["float32"] * (len(report.nodes) - 2), "float16"]
    assert all(node.reason for node in report.nodes[1:-1])


def test_scale_and_shift_behind_a_written_out_norm_are_small() -> None:
    text = """g (float[4,8] x) => (float[4,8] y) {
        a = MatMul(x, w)
        m = ReduceMean(a, axes)
        d = Sub(a, m)
        p = Mul(d, d)
        v = ReduceMean(p, axes)
        s = Sqrt(v)
        n = Div(d, s)
        [scale] t = Mul(n, g)
        [shift] b = Add(t, g)
        y = MatMul(b, w)
    }"""
    _, report = reduced_model(with_weights(text, w=np.eye(8, dtype=np.float32), axes=AXES, g=normal(8)))
    assert types(report)["scale"] == types(report)["shift"] == "float16"


def test_a_cube_ends_at_the_bounded_function() -> None:
    result, report = reduced_model(CUBE)
    assert [node.computes_in for node in report.nodes] == ["float16", "float32", "float32", "float32", "float32", "float16"]
    assert error(run(CUBE, {"x": LARGE}), run(result, {"x": LARGE})) < TOLERANCE["float16"]


def test_a_sigmoid_written_out() -> None:
    result, report = reduced_model(SIGMOID)
    assert {node.operator: node.computes_in for node in report.nodes if node.operator in ("Exp", "Add", "Div")} == dict.fromkeys(
        ("Exp", "Add", "Div"), "float32"
    )
    x = normal(4, 8, scale=10)
    assert error(run(SIGMOID, {"x": x}), run(result, {"x": x})) < TOLERANCE["float16"]


@pytest.mark.parametrize("small", ["float16", "bfloat16"])
def test_the_operator_of_a_norm_stays_unless_that_is_not_wanted(small: str) -> None:
    _, report = reduced_model(NORM_OPERATOR, small)
    assert report.nodes[1].computes_in == "float32" and "normalization" in report.nodes[1].reason
    _, report = reduced_model(NORM_OPERATOR, small, norms_in_float32=False)
    assert report.nodes[1].computes_in == small


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("b = Pow(a, c)", "powers"),
        ("b = Exp(a)", "overflows"),
        ("b = Log(a)", "vanish"),
        ("b = Sqrt(a)", "vanish"),
        ("b = CumSum(a, axis)", "last terms"),
        ("b = Sin(a)", "angles"),
        ("b, i = TopK(a, k)", "change places"),
        ("b = Mul(a, a)", "powers"),
        ("b = Add(a, huge)", "overflows in float16"),
        ("b = Max(a, tiny)", "vanishes in float16"),
    ],
)
def test_what_stays_says_why(body: str, reason: str) -> None:
    constants = {
        "c": scalar(2), "axis": np.array(1, np.int64), "k": np.array([8], np.int64), "huge": scalar(1e6), "tiny": scalar(1e-9),
    }  # fmt: skip
    proto = between_products(body, **{name: array for name, array in constants.items() if f" {name})" in body})
    _, report = reduced_model(proto)
    assert report.nodes[1].computes_in == "float32" and reason in report.nodes[1].reason


@pytest.mark.parametrize(
    ("body", "width", "computes_in"),
    [
        ("b = Softmax(a)", 8, "float16"),
        ("b = Softmax(a)", 2048, "float32"),
        ("s = ReduceSum(a, axes)\n b = Add(a, s)", 8, "float16"),
        ("s = ReduceSum(a, axes)\n b = Add(a, s)", 2048, "float32"),
        ("s = ReduceMean(a, axes)\n b = Add(a, s)", 2048, "float32"),
        ("s = ReduceMax(a, axes)\n b = Add(a, s)", 2048, "float16"),
    ],
)
def test_sums_by_their_length(body: str, width: int, computes_in: str) -> None:
    _, report = reduced_model(between_products(body, width, **({"axes": AXES} if "axes" in body else {})))
    assert report.nodes[1].computes_in == computes_in
    assert computes_in == "float16" or f"over {width} elements" in report.nodes[1].reason


def test_a_length_that_is_not_known_is_too_long() -> None:
    text = "g (float[2,n] x) => (float[2,2] y) { a = MatMul(x, x2)\n s = Softmax(x)\n b = MatMul(s, x2)\n y = Add(a, b) }"
    proto = with_weights(text)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("x2", TensorProto.FLOAT, ["n", 2]))
    _, report = reduced_model(proto)
    assert "not known" in next(node.reason for node in report.nodes if node.operator == "Softmax")
    _, report = reduced_model(proto, reduced_operators=frozenset({"Softmax"}))
    assert next(node.computes_in for node in report.nodes if node.operator == "Softmax") == "float16"


def test_pools_by_their_length() -> None:
    text = """g (float[1,4,64,64] x) => (float[1,4,1,1] y) {
        a = Conv(x, w)
        p = AveragePool<kernel_shape: ints = [2,2]>(a)
        b = Conv(p, w)
        q = GlobalAveragePool(b)
        y = Conv(q, w)
    }"""
    _, report = reduced_model(with_weights(text, w=normal(4, 4, 1, 1)))
    assert {node.operator: node.computes_in for node in report.nodes} == {
        "Conv": "float16", "AveragePool": "float16", "GlobalAveragePool": "float32",
    }  # fmt: skip


def attention(mask: str, **weights: np.ndarray) -> onnx.ModelProto:
    """Scores with a mask before a softmax; `m` is 1 where there is something to see."""
    text = f"""g (float[4,8] x, float[4,4] m) => (float[4,8] y) {{
        q = MatMul(x, w)
        s = Gemm<transB: int = 1>(q, q)
        {mask}
        p = Softmax(masked)
        y = MatMul(p, q)
    }}"""
    return with_weights(text, w=np.eye(8, dtype=np.float32), **weights)


LEAST = float(np.finfo(np.float32).min)
MASKS: dict[str, Callable[[float], onnx.ModelProto]] = {
    "multiplied": lambda least: attention("i = Sub(one, m)\n k = Mul(i, least)\n masked = Add(s, k)", one=scalar(1), least=scalar(least)),
    "chosen": lambda least: attention(
        "c = Cast<to: int = 9>(m)\n k = Where(c, zero, least)\n masked = Add(s, k)", zero=scalar(0), least=scalar(least)
    ),
    "in place of scores": lambda least: attention("c = Cast<to: int = 9>(m)\n masked = Where(c, s, least)", least=scalar(least)),
}


def masked_feeds() -> Feeds:
    """One row is masked as a whole."""
    seen = np.ones((4, 4), np.float32)
    seen[1, 2:], seen[2, 0], seen[3] = 0, 0, 0
    return {"x": normal(4, 8, scale=2), "m": seen}


@pytest.mark.parametrize("small", ["float16", "bfloat16"])
@pytest.mark.parametrize("least", [LEAST, -1e9])
@pytest.mark.parametrize("form", MASKS)
def test_masks(form: str, least: float, small: str) -> None:
    proto, feeds = MASKS[form](least), masked_feeds()
    result, report = reduced_model(proto, small)
    assert report.masks == (("least",) if small == "float16" or least == LEAST else ())
    got = run(result, feeds)
    visible = slice(0, 4) if form == "in place of scores" else slice(0, 3)
    assert np.isfinite(got[0]).all()
    assert error([run(proto, feeds)[0][visible]], [got[0][visible]]) < TOLERANCE[small]


@pytest.mark.parametrize("form", MASKS)
def test_masks_that_stay_give_no_numbers(form: str, without_islands: None) -> None:
    result, _ = reduced_model(MASKS[form](LEAST))
    assert np.isnan(run(result, masked_feeds())[0]).any()


def test_a_filled_mask() -> None:
    proto = attention(
        "sh = Shape(m)\n f = ConstantOfShape<value: tensor = float[1] {-3.4e38}>(sh)\n c = Cast<to: int = 9>(m)\n masked = Where(c, s, f)"
    )
    result, report = reduced_model(proto)
    assert report.masks == ("f",)
    feeds = masked_feeds()
    assert error(run(proto, feeds), run(result, feeds)) < TOLERANCE["float16"]


def test_a_mask_that_is_an_input_is_bounded_before_its_cast() -> None:
    proto = attention("masked = Add(s, m)")
    result, report = reduced_model(proto)
    assert {node.computes_in for node in report.nodes} == {"float16"}
    mask = np.where(masked_feeds()["m"] == 1, 0, LEAST).astype(np.float32)
    got = run(result, {"x": normal(4, 8, scale=2), "m": mask})[0]
    assert np.isfinite(got).all()
    assert error([run(proto, {"x": normal(4, 8, scale=2), "m": mask})[0][:3]], [got[:3]]) < TOLERANCE["float16"]


def test_a_bound_that_bounds_nothing_goes() -> None:
    proto = between_products("b = Clip(a, least, greatest)", least=scalar(-1), greatest=scalar(np.finfo(np.float32).max))
    result, report = reduced_model(proto)
    assert [node.computes_in for node in report.nodes] == ["float16"] * 3
    x = normal(4, 8)
    assert error(run(proto, {"x": x}), run(result, {"x": x})) < TOLERANCE["float16"]
    _, report = reduced_model(between_products("b = Clip(a, least)", least=scalar(-1e6)))
    assert report.nodes[1].computes_in == "float32"


@pytest.mark.parametrize("opset", [23, 24])
def test_the_mask_of_an_attention(opset: int) -> None:
    text = """g (float[1,2,4,8] q, float[4,4] m) => (float[1,2,4,8] y) {
        b = Mul(m, least)
        y = Attention(q, q, q, b)
    }"""
    proto = with_weights(text, opset, least=scalar(LEAST))
    result, report = reduced_model(proto)
    assert report.masks == ("least",) and {node.computes_in for node in report.nodes} == {"float16"}
    feeds = {"q": normal(1, 2, 4, 8), "m": np.triu(np.ones((4, 4), np.float32), 1)}
    assert error(run(proto, feeds), run(result, feeds)) < TOLERANCE["float16"]


def test_what_follows_a_value_of_unknown_type_stays() -> None:
    text = "g (float[2,4] x) => (float[2,4] y) { a = com.microsoft.QuickGelu(x)\n b = MatMul(a, w)\n y = MatMul(b, w) }"
    proto = with_weights(text, w=normal(4, 4))
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    result, report = reduced_model(proto)
    assert {node.computes_in for node in report.nodes} == {"float32"} and "'a' is not known" in report.nodes[0].reason
    assert error(run(proto, {"x": normal(2, 4)}), run(result, {"x": normal(2, 4)})) < 1e-6


def test_a_large_constant_that_is_no_mask_is_not_clamped() -> None:
    proto = between_products("b = Add(a, large)", large=scalar(-1e9))
    result, report = reduced_model(proto)
    assert not report.masks and report.nodes[1].computes_in == "float32"
    assert -1e9 in [onnx.numpy_helper.to_array(i) for i in result.graph.initializer if i.name == "large"]


def test_weights_that_overflow_stay_and_with_both_types_are_bfloat16() -> None:
    proto = with_weights(
        "g (float[2,4] x) => (float[2,4] y) { a = MatMul(x, v)\n y = MatMul(a, w) }", v=normal(4, 4, scale=1e6), w=normal(4, 4)
    )
    _, report = reduced_model(proto)
    assert [node.computes_in for node in report.nodes] == ["float32", "float32"]
    assert "'v' overflows" in report.nodes[0].reason and "reads 'a', which may overflow" in report.nodes[1].reason
    result, report = reduced_model(proto, bfloat16=True)
    assert [node.computes_in for node in report.nodes] == ["bfloat16", "bfloat16"]
    assert not any(node.reason for node in report.nodes)
    assert error(run(proto, {"x": normal(2, 4)}), run(result, {"x": normal(2, 4)})) < TOLERANCE["bfloat16"]


def test_a_product_of_what_may_overflow() -> None:
    proto = between_products("e = Exp(a)\n c = MatMul(e, w)\n b = Tanh(c)")
    x = np.full((4, 8), 20, np.float32)
    for small, computes_in in (("float16", "float32"), ("bfloat16", "bfloat16")):
        result, report = reduced_model(proto, small)
        assert report.nodes[2].computes_in == computes_in
        assert error(run(proto, {"x": x}), run(result, {"x": x})) < TOLERANCE[small]


def test_weights_that_vanish_are_counted() -> None:
    w = normal(4, 4)
    w[0, :3] = 1e-9
    _, report = reduced_model(with_weights("g (float[2,4] x) => (float[2,4] y) { y = MatMul(x, w) }", w=w))
    (weight,) = report.weights
    assert (weight.name, weight.flushed, weight.elements) == ("w", 3, 16) and weight.largest == pytest.approx(np.abs(w).max())
    assert "3 of 16 elements of 'w' became 0" in str(report)


def test_positions_become_angles_in_float32() -> None:
    text = """g (int64[1,s] i, float[1,4,s] x) => (float[1,4,s] y) {
        [cast] p = Cast<to: int = 1>(i)
        r = Unsqueeze(p, axes)
        [outer] a = MatMul(f, r)
        [two] t = Mul(a, k)
        c = Cos(t)
        y0 = MatMul(w, x)
        y = Mul(y0, c)
    }"""
    proto = with_weights(
        text, f=np.array([[[1.0], [0.5], [0.1], [0.01]]], np.float32), axes=np.array([1], np.int64), k=scalar(1), w=normal(4, 4)
    )
    result, report = reduced_model(proto)
    assert {types(report)[name] for name in ("cast", "outer", "two")} == {"float32"}
    feeds = {"i": np.arange(5000, 5016)[None], "x": normal(1, 4, 16)}
    assert error(run(proto, feeds), run(result, feeds)) < TOLERANCE["float16"]


@pytest.mark.parametrize(("opset", "reason"), [(18, "Conv of opset 18 has no bfloat16"), (22, "")])
def test_an_operator_that_has_no_bfloat16_at_this_opset_stays(opset: int, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    proto = with_weights(
        "g (float[1,4,8,8] x) => (float[1,4,8,8] y) { a = Conv(x, k)\n y = MatMul(a, w) }", opset, w=normal(8, 8), k=normal(4, 4, 1, 1)
    )
    _, report = reduced_model(proto, "bfloat16")
    assert [node.reason for node in report.nodes] == [reason, ""]
    assert report.missing == ({reason: 1} if reason else {})
    warned = [record.getMessage() for record in caplog.records if "in part" in record.getMessage()]
    assert [text.startswith(f"segment 'g' stays in float32 in part (nodes: 1): {reason}; ") for text in warned] == [True] * bool(reason)


def test_the_users_lists() -> None:
    proto = between_products("[act] b = Relu(a)")
    _, report = reduced_model(proto, float32_operators=frozenset({"Relu"}))
    assert types(report)["act"] == "float32" and "user's list" in report.nodes[1].reason
    for name in ("act", "b"):
        _, report = reduced_model(proto, float32_nodes={name: "because"})
        assert report.nodes[1].reason == "because"
    _, report = reduced_model(between_products("b = Exp(a)"), reduced_operators=frozenset({"Exp"}))
    assert report.nodes[1].computes_in == "float16"


def test_integers_and_shapes_are_untouched() -> None:
    text = """g (float[2,4] x, int64[2] i) => (float[2,4] y, int64[2] j) {
        a = MatMul(x, w)
        [shape] s = Shape(a)
        [sum] j = Add(i, s)
        y = Reshape(a, s)
    }"""
    result, report = reduced_model(with_weights(text, w=normal(4, 4)))
    assert types(report)["sum"] == types(report)["shape"] == "unchanged"
    assert result.graph.node[1].op_type == "MatMul" and result.graph.node[2].input[0] == "a_float16", "the shape is read off what is there"
    assert np.array_equal(run(result, {"x": normal(2, 4), "i": np.zeros(2, np.int64)})[1], [2, 4])


@pytest.mark.parametrize("width", [2049, 4097])
def test_arithmetic_on_sizes_stays(width: int) -> None:
    text = """g (float[1,s] x, float[1,1] v) => (float[1,1] y, float[1,t] z) {
        s = Shape(x)
        f = Cast<to: int = 1>(s)
        h = Mul(f, k)
        [floor] i = Floor(h)
        j = Cast<to: int = 7>(i)
        z = Expand(v, j)
        [product] y = MatMul(v, w)
    }"""
    proto = with_weights(text, k=np.array([1, 1], np.float32), w=np.ones((1, 1), np.float32))
    result, report = reduced_model(proto)
    assert types(report)["floor"] == "float32" and types(report)["product"] == "float16"
    feeds = {"x": np.zeros((1, width), np.float32), "v": np.ones((1, 1), np.float32)}
    assert run(result, feeds)[1].shape == (1, width)


def test_whole_numbers_of_small_values_stay() -> None:
    text = """g (float[4,8] x) => (int64[4,8] y) {
        a = MatMul(x, w)
        [far] b = Mul(a, k)
        [floor] c = Floor(b)
        y = Cast<to: int = 7>(c)
    }"""
    proto = with_weights(text, w=np.eye(8, dtype=np.float32), k=scalar(1000))
    result, report = reduced_model(proto)
    assert types(report)["far"] == types(report)["floor"] == "float32" and "whole number" in report.nodes[2].reason
    x = np.arange(32, dtype=np.float32).reshape(4, 8)
    np.testing.assert_array_equal(run(proto, {"x": x})[0], run(result, {"x": x})[0])


def test_resize_keeps_its_scales() -> None:
    text = "g (float[1,4,8,8] x) => (float[1,4,16,16] y) { a = Conv(x, w)\n b = Resize(a, , s)\n y = Conv(b, w) }"
    result, report = reduced_model(with_weights(text, w=normal(4, 4, 1, 1), s=np.array([1, 1, 2, 2], np.float32)))
    assert [node.computes_in for node in report.nodes] == ["float16"] * 3
    assert next(i for i in result.graph.initializer if i.name == "s").data_type == TensorProto.FLOAT


def test_the_report_as_data_and_text() -> None:
    _, report = reduced_model(NORM)
    data = report.to_json()
    assert data["casts"] == 4 and data["nodes"][3]["operator"] == "Pow" and data["nodes"][3]["computes_in"] == "float32"
    assert "2 nodes in float16, 7 nodes in float32; 4 casts" in str(report)
