"""The numeric audit: what it keeps in float32, that it is no more than needed, and how a provider gets to know."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxgpu.errors import InvalidArgument, NoSuchFile
from onnxgpu.providers.tensorrt.precision import PrecisionSettings, settings_of
from onnxgpu.providers.tensorrt.precision.__main__ import main
from onnxgpu.providers.tensorrt.precision.audit import audit
from onnxgpu.providers.tensorrt.precision.whole_model import cut_of, rewritten
from tests.tensorrt.precision_support import Feeds, error, normal, reduced_model, run, types, with_weights

FLOAT16 = PrecisionSettings(float16=True)
EYE = np.eye(8, dtype=np.float32)


def overflowing() -> onnx.ModelProto:
    """Two products whose results leave float16's range, before a norm; two that do not, behind it."""
    text = """g (float[4,8] x) => (float[4,8] y) {
        [calm] a = MatMul(x, w)
        [large] b = MatMul(a, v)
        [act] c = Relu(b)
        [larger] d = MatMul(c, v)
        [norm] e = LayerNormalization(d, g)
        [again] f = MatMul(e, w)
        [last] y = MatMul(f, w)
    }"""
    return with_weights(text, w=normal(8, 8, scale=0.3), v=normal(8, 8, seed=1, scale=3e3), g=np.ones(8, np.float32))


def cancelling() -> onnx.ModelProto:
    """The difference of two products that are nearly the same; nothing overflows."""
    text = """g (float[4,8] x) => (float[4,8] y) {
        [p] a = MatMul(x, w)
        [q] b = MatMul(x, v)
        [difference] d = Sub(a, b)
        [other] c = MatMul(x, u)
        [act] e = Relu(c)
        [sum] y = Add(d, e)
    }"""
    w = normal(8, 8, scale=100)
    return with_weights(text, w=w, v=(w + normal(8, 8, seed=1, scale=0.05)).astype(np.float32), u=normal(8, 8, seed=2, scale=0.01))


SAMPLES: list[Feeds] = [{"x": normal(4, 8, seed=seed)} for seed in (3, 4)]


def error_with(proto: onnx.ModelProto, kept: dict[str, str]) -> float:
    result, _ = reduced_model(proto, float32_nodes=kept)
    errors = [error(run(proto, feeds), run(result, feeds)) for feeds in SAMPLES]
    return float("inf") if np.isnan(errors).any() else max(errors)


@pytest.mark.parametrize("proto", [overflowing(), cancelling()], ids=["overflow", "cancellation"])
def test_the_audit_keeps_enough_and_nothing_too_much(proto: onnx.ModelProto) -> None:
    report = audit(cut_of(proto), SAMPLES, FLOAT16)
    assert report.error_before > report.bound == 1e-2 and report.is_met and report.error_after <= report.bound
    assert report.error_after == pytest.approx(error_with(proto, dict(report.float32)))
    for name in report.float32:
        assert error_with(proto, {other: why for other, why in report.float32.items() if other != name}) > report.bound, name


def test_what_overflows_is_named_with_its_range() -> None:
    report = audit(cut_of(overflowing()), SAMPLES, FLOAT16)
    assert set(report.float32) <= {"large", "act", "larger"} and "larger" in report.float32
    assert "beyond float16" in report.float32["larger"]
    rows = {node.name: node for node in report.nodes}
    assert rows["larger"].error_before == float("inf") and rows["larger"].error_after is not None and rows["larger"].error_after < 1e-2
    assert rows["larger"].highest > 65504 and rows["larger"].computes_in == "float32" and rows["larger"].reason
    assert rows["again"].computes_in == "float16" and not rows["again"].reason


def test_a_model_that_is_well_has_nothing_to_keep() -> None:
    proto = with_weights("g (float[4,8] x) => (float[4,8] y) { y = MatMul(x, w) }", w=EYE)
    report = audit(cut_of(proto), SAMPLES, FLOAT16)
    assert report.float32 == {} and report.runs == 1 and report.error_before == report.error_after < 1e-3


def test_bfloat16_has_the_range_and_a_bound_of_its_own() -> None:
    report = audit(cut_of(overflowing()), SAMPLES, PrecisionSettings(bfloat16=True))
    assert report.is_met and report.bound == 5e-2 and report.float32 == {}


def test_the_bound_can_be_given() -> None:
    proto = with_weights("g (float[4,8] x) => (float[4,8] y) { [p] y = MatMul(x, w) }", w=normal(8, 8))
    report = audit(cut_of(proto), SAMPLES, FLOAT16, bound=0.0)
    assert set(report.float32) == {"p"} and report.error_after == 0.0


def test_few_runs_still_meet_the_bound() -> None:
    report = audit(cut_of(overflowing()), SAMPLES, FLOAT16, most_runs=1)
    assert report.is_met


def test_data_and_text() -> None:
    report = audit(cut_of(overflowing()), SAMPLES, FLOAT16)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    row = next(node for node in data["nodes"] if node["name"] == "larger")
    assert row["error_before"] == "inf" and data["is_met"] is True and data["float32"] == dict(report.float32)
    text = str(report)
    assert "within the bound" in text and "MatMul 'larger'" in text and "NOT" not in text


def test_the_table_tells_the_provider(tmp_path: Path) -> None:
    proto = overflowing()
    report = audit(cut_of(proto), SAMPLES, FLOAT16)
    report.save(tmp_path / "table.json")
    settings = settings_of({"trt_fp16_enable": True, "trt_precision_table": str(tmp_path / "table.json")})
    assert settings.float32_nodes == report.float32
    result, reduced = reduced_model(proto, float32_nodes=settings.float32_nodes)
    assert all(types(reduced)[name] == "float32" for name in report.float32)
    assert all(error(run(proto, feeds), run(result, feeds)) <= report.bound for feeds in SAMPLES)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"onnxgpu_precision_table": 2, "float32": {}}'])
def test_what_is_no_table_says_so(content: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(content)
    with pytest.raises(InvalidArgument, match='"onnxgpu_precision_table": 1'):
        settings_of({"trt_precision_table": str(tmp_path / "t")})
    with pytest.raises(NoSuchFile, match="trt_precision_table"):
        settings_of({"trt_precision_table": str(tmp_path / "none")})


def test_what_an_audit_wants() -> None:
    cut = cut_of(overflowing())
    with pytest.raises(InvalidArgument, match="at least one set of inputs"):
        audit(cut, [], FLOAT16)
    for settings in (PrecisionSettings(), PrecisionSettings(float16=True, bfloat16=True)):
        with pytest.raises(InvalidArgument, match="one small type"):
            audit(cut, SAMPLES, settings)
    with pytest.raises(InvalidArgument, match="give other samples"):
        audit(cut, [{"x": np.full((4, 8), np.nan, np.float32)}], FLOAT16)


def test_masks_are_no_errors() -> None:
    text = """g (float[4,8] x, float[4,4] m) => (float[4,8] y) {
        s = Gemm<transB: int = 1>(x, x)
        k = Mul(m, least)
        t = Add(s, k)
        p = Softmax(t)
        y = MatMul(p, x)
    }"""
    proto = with_weights(text, least=np.array(np.finfo(np.float32).min, np.float32))
    samples = [{"x": normal(4, 8), "m": np.triu(np.ones((4, 4), np.float32), 1)}]
    report = audit(cut_of(proto), samples, FLOAT16)
    assert report.is_met and not report.float32
    assert all(node.error_before is not None and node.error_before < 1e-2 for node in report.nodes)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(overflowing(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", SAMPLES[0]["x"])
    arguments = [str(tmp_path / "m.onnx"), "--precision", "fp16", "--input", f"x={tmp_path / 'x.npy'}", "--table", str(tmp_path / "t")]
    assert main(arguments) == 0
    assert "within the bound" in capsys.readouterr().out
    assert "larger" in settings_of({"trt_precision_table": str(tmp_path / "t")}).float32_nodes
    assert main([*arguments[:-2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["small"] == "float16"
    assert main([str(tmp_path / "none.onnx")]) == 1
    assert "none.onnx" in capsys.readouterr().err


def test_a_rewritten_model_has_its_constants_folded() -> None:
    text = "g (float[4,8] x) => (float[4,8] y) { k = Constant<value_float: float = 2.0>()\n v = Mul(w, k)\n y = MatMul(x, v) }"
    cut = rewritten(with_weights(text, w=normal(8, 8)))
    assert [node.op_type for node in cut.proto.graph.node] == ["MatMul"]
