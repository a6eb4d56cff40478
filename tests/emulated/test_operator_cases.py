"""Every operator case with a CUDA kernel of our own, on the emulated device, in every mode."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import onnxgpu.providers.cuda.operators  # noqa: F401  registers the operators
from onnxgpu.provider import Claim, Refusal
from onnxgpu.providers.cuda.kernel import CupyKernel
from onnxgpu.providers.cuda.libraries import attention_products, convolution_products, convolutions, fused_attention, products, recurrent
from onnxgpu.providers.cuda.libraries.selection import Selection
from onnxgpu.providers.cuda.narrow import bits_of, stored_dtype, typed
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case, all_cases
from tests.cases.oracles import expected_outputs
from tests.cases.tolerances import assert_same
from tests.emulated import LIBRARIES_MISSING, PLAIN
from tests.test_operator_cases import operation_of

LIBRARIES = (
    ("enable_cublas", products.REGISTRY),
    ("enable_cublas", convolution_products.PRODUCTS),
    ("enable_cublas", recurrent.REGISTRY),
    ("enable_cudnn", fused_attention.REGISTRY),
    ("enable_cublas", attention_products.REGISTRY),
    ("enable_cudnn", convolutions.REGISTRY),
)
NOT_COVERED = ("takes no empty", "whose gradient has this size", "one query or no key", "no cap and no sink", "multiples of 16 bytes")
OWN = {(entry.domain, entry.operator) for entry in REGISTRY.entries()}
SIZED_BY_DATA = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}
"""Their outputs' size, and nothing else, comes to the host."""

WORK = ("launches", "library_calls", "copies_on_device", "memsets")

MODES = [replace(PLAIN), replace(PLAIN, lazy=True, schedule=1), replace(PLAIN, checked=True), replace(PLAIN, checked=True, schedule=7)]
MODE_NAMES = ["plain", "lazy-1", "checked", "checked-7"]


def own_cases() -> list[Case]:
    """Cases that one of our kernels takes; strings stay on the host."""
    found = []
    for case in all_cases():
        if (case.domain, case.operator) in OWN and all(x is None or x.dtype != object for x in case.inputs):
            entry = REGISTRY.entry(case.operator, case.domain, case.opset)
            if entry is not None and entry.refusal(operation_of(case)) is None:
                found.append(case)
    return found


def library_cases() -> list[Any]:
    """Cases that a library takes, and the option that switches it on."""
    found = []
    for case in all_cases():
        for option, registry in LIBRARIES:
            entry = registry.entry(case.operator, case.domain, case.opset)
            if entry is not None and entry.refusal(operation_of(case)) is None:
                found.append(pytest.param(case, option, id=f"{case}-{option}"))
    return found


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
@pytest.mark.parametrize("case", own_cases(), ids=str)
def test_kernel(case: Case, mode: Any, device: Any, cp: Any, exact_bounds: None) -> None:
    """Our own kernel."""
    device.configure(mode)
    check_kernel(case, REGISTRY.claim(cp, operation_of(case)), device, cp)


@pytest.mark.skipif(LIBRARIES_MISSING is not None, reason=str(LIBRARIES_MISSING))
@pytest.mark.parametrize("mode", MODES[:2], ids=MODE_NAMES[:2])
@pytest.mark.parametrize(("case", "option"), library_cases())
def test_library_kernel(
    case: Case, option: str, mode: Any, device: Any, cp: Any, exact_bounds: None, caplog: pytest.LogCaptureFixture
) -> None:
    """That of NVIDIA's library, with our own behind it for the few shapes that the library does not have."""
    caplog.set_level(logging.INFO, "onnxgpu")
    device.configure(mode)
    own = REGISTRY.claim(cp, operation_of(case))
    assert isinstance(own, Claim), own.reason
    options = {"enable_cublas": False, "enable_cudnn": False, option: True}
    claim = Selection(cp, 0, options).preferred(operation_of(case), own)
    assert claim.note.startswith("by cuBLASLt" if option == "enable_cublas" else "by cuDNN")
    check_kernel(case, claim, device, cp)
    told = [record.getMessage() for record in caplog.records]
    assert all(any(reason in message for reason in NOT_COVERED) for message in told), told


def check_kernel(case: Case, claim: Claim | Refusal, device: Any, cp: Any) -> None:
    """Given memory is written, specs are true, inputs stay as they were, and nothing is computed on the host.

    What the kernel says it would launch on the same arrays again is as many launches, with the same result.
    """
    assert isinstance(claim, Claim), claim.reason
    kernel = CupyKernel(claim.build(), cp, cp.cuda.Device(), operation_of(case), claim.host_inputs)
    inputs = [x if x is None or i in claim.host_inputs else typed(cp.asarray(bits_of(x)), x.dtype) for i, x in enumerate(case.inputs)]
    given = [None if i in claim.absorbed_inputs else x for i, x in enumerate(inputs)]
    specs = kernel.outputs(given)
    is_sized_by_data = case.operator in SIZED_BY_DATA
    assert specs is not None or claim.view_of is not None or is_sized_by_data
    outputs = None if specs is None else [typed(cp.full(spec.shape, 77, stored_dtype(spec.dtype)), spec.dtype) for spec in specs]
    wanted = kernel.workspace(given)
    device.counters(clear=True)
    workspace = cp.empty(wanted, np.uint8) if wanted else None
    results = kernel.launch(given, outputs, workspace)
    counted = device.counters()
    cp.cuda.Device().synchronize()
    assert counted["copies_to_host"] <= is_sized_by_data
    assert_same([downloaded(cp, result) for result in results][: case.outputs], expected_outputs(case), case.rtol, case.atol)
    repeat = None if outputs is None else kernel.repeating(given, outputs, workspace)
    if repeat is not None and outputs is not None:
        for output in outputs:
            bits_of(output).fill(77)
        cp.cuda.Device().synchronize()
        device.counters(clear=True)
        repeat()
        again = device.counters()
        cp.cuda.Device().synchronize()
        assert {name: again[name] for name in WORK} == {name: counted[name] for name in WORK}
        assert_same([downloaded(cp, output) for output in outputs][: case.outputs], expected_outputs(case), case.rtol, case.atol)
    for before, after in zip(case.inputs, inputs, strict=True):
        if before is not None:
            np.testing.assert_array_equal(downloaded(cp, after), before)


def downloaded(cp: Any, array: Any) -> np.ndarray:
    """The array on the host, with its element type."""
    result: np.ndarray = cp.asnumpy(bits_of(array))
    return result.view(array.dtype)
