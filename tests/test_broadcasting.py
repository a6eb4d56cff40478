"""ONNX's broadcasting rules, on shapes that hypothesis makes up."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Claim
from onnxgpu.providers.array_ops.specs import broadcast_shapes
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases import Case
from tests.test_operator_cases import operation_of

BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Add": np.add,
    "Mul": np.multiply,
    "Less": np.less,
    "Max": np.maximum,
    "PRelu": lambda x, slope: np.where(x > 0, x, x * slope),
}


def numbers(shape: tuple[int, ...], start: int = 1) -> np.ndarray:
    """Distinct numbers of both signs."""
    return np.asarray((np.arange(start, start + prod(shape)) * np.where(np.arange(prod(shape)) % 2, -1, 1)).reshape(shape), np.float32)


def run(operator: str, inputs: list[np.ndarray], attributes: dict[str, Any] | None = None, opset: int = 21) -> np.ndarray:
    """The operator's output on the CPU, in memory of the announced shape and dtype."""
    claim = CPUProvider().claim(operation_of(Case(operator, inputs, attributes or {}, opset)))
    assert isinstance(claim, Claim), claim.reason
    kernel = claim.build()
    specs = kernel.outputs(inputs)
    assert specs is not None
    return np.asarray(kernel.launch(inputs, [np.empty(s.shape, s.dtype) for s in specs], None)[0])


@settings(max_examples=100, deadline=None)
@given(mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=4, min_side=0))
def test_shapes_of_three_operands(shapes: Any) -> None:
    assert broadcast_shapes(*shapes.input_shapes) == shapes.result_shape


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(BINARY)), mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=0))
def test_two_operands(operator: str, shapes: Any) -> None:
    a, b = (numbers(shape, start) for start, shape in enumerate(shapes.input_shapes, 1))
    result = run(operator, [a, b])
    assert result.shape == shapes.result_shape
    np.testing.assert_array_equal(result, BINARY[operator](a, b))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["Sum", "Min", "Mean", "Where"]), mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=4, min_side=0))
def test_three_operands(operator: str, shapes: Any) -> None:
    a, b, c = (numbers(shape, start) for start, shape in enumerate(shapes.input_shapes, 1))
    if operator == "Where":
        np.testing.assert_array_equal(run(operator, [a > 0, b, c]), np.where(a > 0, b, c))
        return
    expected = {"Sum": a + b + c, "Min": np.minimum(np.minimum(a, b), c), "Mean": (a + b + c) / np.float32(3)}[operator]
    np.testing.assert_array_equal(run(operator, [a, b, c]), expected)


@settings(max_examples=60, deadline=None)
@given(array_shapes(min_dims=1, max_dims=4, max_side=4), st.data())
def test_axis_of_the_first_opsets(shape: tuple[int, ...], data: Any) -> None:
    """The second operand's axes start at `axis` of the first."""
    start = data.draw(st.integers(0, len(shape) - 1))
    stop = data.draw(st.integers(start + 1, len(shape)))
    a, b = numbers(shape), numbers(shape[start:stop], 5)
    axis = data.draw(st.sampled_from([start, start - len(shape)]))
    expected = a - b.reshape(shape[start:stop] + (1,) * (len(shape) - stop))
    np.testing.assert_array_equal(run("Sub", [a, b], {"axis": axis, "broadcast": 1}, opset=6), expected)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(InvalidArgument, match=r"\[2, 3\] and \[4\] cannot be broadcast"):
        run("Add", [numbers((2, 3)), numbers((4,))])
