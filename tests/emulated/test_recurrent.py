"""How RNN, GRU and LSTM are launched: all steps at once, a step at a time, or with products of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from onnxgpu.provider import Claim
from onnxgpu.providers.array_ops.recurrent import lstm
from onnxgpu.providers.cuda import state_products
from onnxgpu.providers.cuda.kernel import CupyKernel
from onnxgpu.providers.cuda.kernels import Function
from onnxgpu.providers.cuda.narrow import bits_of, stored_dtype, typed
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case
from tests.cases.recurrent import CASES
from tests.emulated import PLAIN
from tests.emulated.test_operator_cases import check_kernel, downloaded
from tests.test_operator_cases import operation_of

CHECKED = replace(PLAIN, checked=True, schedule=7)
STEPS = 6


@pytest.fixture
def with_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels multiply nothing."""
    monkeypatch.setattr(state_products, "MOST_ELEMENTS", dict.fromkeys((2, 4, 8), 0))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.usefixtures("with_products", "exact_bounds")
def test_products_of_their_own(case: Case, device: Any, cp: Any) -> None:
    device.configure(CHECKED)
    check_kernel(case, REGISTRY.claim(cp, operation_of(case)), device, cp)


@pytest.mark.parametrize("at_once", [0, 1, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.usefixtures("exact_bounds")
def test_few_blocks_at_once(case: Case, at_once: int, device: Any, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None: the device has no cooperative launches, and a step is a launch. Few: a block does the work of several."""
    monkeypatch.setattr(Function, "blocks_at_once", lambda *_: at_once)
    device.configure(CHECKED)
    check_kernel(case, REGISTRY.claim(cp, operation_of(case)), device, cp)


def launched(cp: Any, device: Any, name: str, dtype: Any = np.float32, **attributes: Any) -> tuple[int, list[np.ndarray]]:
    """How often a run launches a kernel, and its outputs; with the inputs of `arrays`."""
    inputs = [x.astype(dtype) for x in arrays({"RNN": 1, "GRU": 3, "LSTM": 4}[name])]
    case = Case(name, inputs, {"hidden_size": 16, **attributes}, opset=22, outputs=2)
    claim = REGISTRY.claim(cp, operation_of(case))
    assert isinstance(claim, Claim), claim.reason
    kernel = CupyKernel(claim.build(), cp, cp.cuda.Device(), operation_of(case), claim.host_inputs)
    operands = [typed(cp.asarray(bits_of(x)), x.dtype) for x in case.inputs if x is not None]
    specs = kernel.outputs(operands)
    assert specs is not None
    outputs = [typed(cp.empty(spec.shape, stored_dtype(spec.dtype)), spec.dtype) for spec in specs]
    workspace = cp.empty(kernel.workspace(operands), np.uint8)
    device.counters(clear=True)
    kernel.launch(operands, outputs, workspace)
    return device.counters()["launches"], [downloaded(cp, output) for output in outputs]


def arrays(gates: int) -> list[np.ndarray]:
    """X, W and R for nine sequences."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) / 4 for shape in ((STEPS, 9, 5), (1, gates * 16, 5), (1, gates * 16, 16))]


@pytest.mark.parametrize(
    ("name", "attributes", "more"),
    [("RNN", {}, 1), ("LSTM", {}, 1), ("GRU", {"linear_before_reset": 1}, 1), ("GRU", {}, 2 * STEPS)],
    ids=["RNN", "LSTM", "GRU that resets after its product", "GRU that resets before it"],
)
def test_all_steps_are_one_launch(name: str, attributes: dict[str, int], more: int, device: Any, cp: Any) -> None:
    """Beside the product with the inputs; a GRU that resets before its product has two launches a step."""
    one = launched(cp, device, name, **attributes)[0] - more
    assert one == 1


@pytest.mark.usefixtures("with_products")
def test_with_products_a_step_is_several_launches(device: Any, cp: Any) -> None:
    assert launched(cp, device, "LSTM")[0] >= 2 * STEPS


def test_bfloat16(device: Any, cp: Any) -> None:
    """As in float32, but that inputs and hidden states are rounded."""
    _, outputs = launched(cp, device, "LSTM", ml_dtypes.bfloat16)
    x, w, r = (x.astype(ml_dtypes.bfloat16).astype(np.float32) for x in arrays(4))
    for actual, expected in zip(outputs, lstm(np, x, w, r, output_count=2), strict=True):
        np.testing.assert_allclose(actual.astype(np.float32), expected, rtol=2e-2, atol=1e-2)
