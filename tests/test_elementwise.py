"""What the operator cases cannot say of elementwise operators: random numbers, NaN of 8-bit types, views, sparse constants."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto as T

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Claim, Operation, Refusal, Spec, ValueInfo
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases.samples import floats

FLOAT8 = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz, ml_dtypes.bfloat16]


def claimed(operator: str, inputs: list[np.ndarray], opset: int = 25, **attributes: Any) -> Claim | Refusal:
    """The CPU provider's answer for one node."""
    infos = tuple(ValueInfo(f"x{i}", x.dtype, x.shape) for i, x in enumerate(inputs))
    return CPUProvider().claim(Operation(operator, infos, (ValueInfo("y"),), "", opset, "case", attributes))


def run(operator: str, inputs: list[np.ndarray], opset: int = 25, **attributes: Any) -> np.ndarray:
    """The node's output, in memory of the announced spec where there is one."""
    claim = claimed(operator, inputs, opset, **attributes)
    assert isinstance(claim, Claim), claim.reason
    kernel = claim.build()
    specs = kernel.outputs(inputs)
    with np.errstate(all="ignore"):
        return np.asarray(kernel.launch(inputs, None if specs is None else [np.empty(s.shape, s.dtype) for s in specs], None)[0])


@pytest.mark.parametrize("dtype", FLOAT8, ids=lambda t: t.__name__)
def test_special_values_of_small_floats(dtype: Any) -> None:
    with np.errstate(invalid="ignore"):
        x = np.array([np.nan, np.inf, -np.inf, 0, 1, -1]).astype(dtype)
    wide = x.astype(np.float32)
    np.testing.assert_array_equal(run("IsNaN", [x]), np.isnan(wide))
    np.testing.assert_array_equal(run("IsInf", [x]), np.isinf(wide))
    np.testing.assert_array_equal(run("IsInf", [x], detect_positive=0), wide == -np.inf)


@pytest.mark.parametrize("operator", ["Sigmoid", "Gelu", "Erf", "HardSwish"])
def test_strided_input_and_output(operator: str) -> None:
    """Views with strides of their own, longer than one piece."""
    x = floats((300, 400))
    claim = claimed(operator, [x.T])
    assert isinstance(claim, Claim)
    memory = np.empty((400, 600), np.float32)
    with np.errstate(all="ignore"):
        claim.build().launch([x.T], [memory[:, ::2]], None)
    np.testing.assert_array_equal(memory[:, ::2], run(operator, [x]).T)


@pytest.mark.parametrize("dtype", [T.FLOAT, T.DOUBLE, T.FLOAT16, T.BFLOAT16])
def test_random_normal(dtype: int) -> None:
    drawn = run("RandomNormal", [], shape=(100, 200), dtype=dtype, mean=3.0, scale=2.0, seed=1.0).astype(np.float64)
    assert drawn.shape == (100, 200)
    assert abs(drawn.mean() - 3) < 0.1
    assert abs(drawn.std() - 2) < 0.1
    like = run("RandomNormalLike", [np.zeros((100, 200), "i4")], dtype=dtype, mean=3.0, scale=2.0, seed=1.0)
    np.testing.assert_array_equal(like.astype(np.float64), drawn)


@pytest.mark.parametrize("dtype", [T.FLOAT, T.DOUBLE, T.FLOAT16, T.BFLOAT16])
def test_random_uniform(dtype: int) -> None:
    drawn = run("RandomUniform", [], shape=(20_000,), dtype=dtype, low=-1.0, high=3.0, seed=1.0).astype(np.float64)
    assert drawn.min() >= -1
    assert drawn.max() <= 3
    assert abs(drawn.mean() - 1) < 0.1
    like = run("RandomUniformLike", [np.zeros(20_000, "f")], low=-1.0, high=3.0)
    assert like.dtype == np.float32
    assert abs(float(like.mean()) - 1) < 0.1


def test_without_a_seed_every_run_differs() -> None:
    first, second = (run("RandomUniform", [], shape=(50,)) for _ in range(2))
    assert not np.array_equal(first, second)
    claim = claimed("RandomUniform", [], shape=(50,))
    assert isinstance(claim, Claim)
    assert not claim.deterministic


def test_bernoulli() -> None:
    drawn = run("Bernoulli", [np.full(20_000, 0.3, np.float32)], dtype=T.INT32, seed=2.0)
    assert drawn.dtype == np.int32
    assert abs(float(drawn.mean()) - 0.3) < 0.02
    edges = np.array([0.0, 1.0] * 100, np.float16)
    np.testing.assert_array_equal(run("Bernoulli", [edges]), edges)


def test_multinomial() -> None:
    logits = np.log(np.array([[0.1, 0.2, 0.7], [1.0, 1e-30, 1e-30]], np.float32))
    drawn = run("Multinomial", [logits], sample_size=20_000, dtype=T.INT64, seed=4.0)
    assert drawn.shape == (2, 20_000)
    shares = np.bincount(drawn[0], minlength=3) / 20_000
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.7], atol=0.02)
    assert not drawn[1].any()


@pytest.mark.parametrize("indices", [np.array([1, 5]), np.array([[0, 1], [1, 2]])], ids=["flat", "coordinates"])
def test_sparse_constant_becomes_dense(indices: np.ndarray) -> None:
    dense = run("Constant", [], sparse_value=(np.array([1.5, 2.5], np.float32), indices, (2, 3)))
    np.testing.assert_array_equal(dense, np.array([[0, 1.5, 0], [0, 0, 2.5]], np.float32))


@pytest.mark.parametrize(("operator", "attributes"), [("Identity", {}), ("Dropout", {}), ("BitCast", {"to": T.INT32})])
def test_views_share_the_input(operator: str, attributes: dict[str, Any]) -> None:
    x = floats((2, 3))
    claim = claimed(operator, [x], opset=26, **attributes)
    assert isinstance(claim, Claim)
    assert claim.view_of == 0
    assert np.shares_memory(run(operator, [x], opset=26, **attributes), x)


def test_a_long_chain_of_conversions_is_exact() -> None:
    x = np.arange(-8, 8).astype(ml_dtypes.int4)
    there = run("Cast", [run("Cast", [x], to=T.FLOAT8E4M3FN)], to=T.INT4)
    assert there.tobytes() == x.tobytes()


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(InvalidArgument, match="a string is not a number"):
        run("Cast", [np.array(["abc"], object)], to=T.FLOAT)
    with pytest.raises(InvalidArgument, match="expected types of one width"):
        run("BitCast", [np.zeros(2, np.float32)], opset=26, to=T.INT64)
    with pytest.raises(InvalidArgument, match="delta other than 0"):
        run("Range", [np.array(0), np.array(1), np.array(0)])
    with pytest.raises(InvalidArgument, match="scale has 2 elements, axis 1"):
        run("QuantizeLinear", [np.zeros((2, 3), "f"), np.ones(2, "f")])
    refusal = claimed("Cast", [np.zeros(2, "f")], to=999)
    assert isinstance(refusal, Refusal)
    assert "999" in refusal.reason


def test_specs_of_unknown_memory() -> None:
    """Strings are in no planned memory, so that their kernels return arrays of their own."""
    words = np.array(["a", "b"], object)
    for operator, inputs in (("Where", [np.array([True, False]), words, words]), ("Identity", [words])):
        claim = claimed(operator, inputs)
        assert isinstance(claim, Claim)
        assert claim.build().outputs(inputs) is None
    claim = claimed("Not", [np.array([True])])
    assert isinstance(claim, Claim)
    assert claim.build().outputs([np.array([True])]) == (Spec((1,), np.dtype(bool), (0,)),)
