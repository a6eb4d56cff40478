"""Runs the operator cases that CUDA has through CuPy alone, without cuBLAS: `python -m tests.emulated.without_cublas`.

Prints how many ran; what asks for CuPy's bindings of cuBLAS fails, and so does a result that is not the oracle's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from onnxgpu.provider import Claim, Operation
from onnxgpu.providers.cuda.provider import CUDAProvider
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case, all_cases
from tests.cases.oracles import expected_outputs
from tests.cases.tolerances import assert_same
from tests.test_operator_cases import operation_of

CUBLAS = "cupy_backends.cuda.libs.cublas"


def cases(provider: CUDAProvider) -> Iterator[tuple[Case, Claim, list[Any]]]:
    """Those without a kernel of our own, with their outputs."""
    provider.domains()  # registers the operators
    for case in all_cases():
        entry = REGISTRY.entry(case.operator, case.domain, case.opset)
        if any(x is not None and x.dtype == object for x in case.inputs) or (entry and entry.refusal(operation_of(case)) is None):
            continue
        expected = expected_outputs(case)
        claim = provider.claim(_with_types(operation_of(case), expected))
        if isinstance(claim, Claim) and not claim.body_host:
            yield case, claim, expected


def _with_types(operation: Operation, expected: list[Any]) -> Operation:
    outputs = zip(operation.outputs, expected, strict=False)
    return replace(operation, outputs=tuple(value and replace(value, dtype=getattr(array, "dtype", None)) for value, array in outputs))


def run(case: Case, claim: Claim, provider: CUDAProvider) -> list[Any]:
    """Outputs on the host."""
    kernel = claim.build()
    with provider.launching():
        on_host = claim.host_inputs | claim.shape_only_inputs
        inputs = [x if x is None or i in on_host else provider.upload(np.asarray(x)) for i, x in enumerate(case.inputs)]
        specs, wanted = kernel.outputs(inputs), kernel.workspace(inputs)
        outputs = None if specs is None else [provider.allocate(spec) for spec in specs]
        scratch = provider._cupy_device.cupy.empty(wanted, np.uint8) if wanted else None
        results = list(kernel.launch(inputs, outputs, scratch))[: case.outputs]
        return [x if x is None or isinstance(x, np.ndarray) else provider.download(x) for x in results]


def main() -> None:
    """See the module's docstring."""
    sys.modules[CUBLAS] = None  # type: ignore[assignment]  # an import of it raises ImportError
    provider, count = CUDAProvider({}), 0
    for case, claim, expected in cases(provider):
        try:
            assert_same(run(case, claim, provider), expected, case.rtol, case.atol)
        except Exception as error:
            raise SystemExit(f"{case}: {type(error).__name__}: {error}") from error
        count += 1
    print(count, "cases")


if __name__ == "__main__":
    main()
