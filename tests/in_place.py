"""What `may_reuse` promises, for the kernels of any provider: the result is the same when the output is an input's own memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Claim, Spec
from tests.cases import Case


def by_operator(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """The cases of each operator, by its name with the domain."""
    families: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        families[f"{case.domain}.{case.operator}".lstrip(".")].append(case)
    return families


def check_in_place(
    case: Case,
    claim: Claim,
    *,
    upload: Callable[[np.ndarray], Array] = np.copy,
    empty: Callable[[Spec], Array] = lambda spec: np.empty(spec.shape, spec.dtype),
    download: Callable[[Array], np.ndarray] = np.asarray,
) -> None:
    """Run a case into memory of its own and over each input that an output may take over.

    Args:
        case: whose inputs are used.
        claim: of the provider.
        upload: a copy of a dense host array where the kernel works.
        empty: memory there.
        download: an array there, on the host.

    Raises:
        AssertionError: a result is another when written over an input, or that input is not the output's like.
    """

    def inputs_of() -> list[Any]:
        dense = [None if x is None else np.ascontiguousarray(x).reshape(x.shape) for x in case.inputs]
        return [x if x is None or i in claim.host_inputs else upload(x) for i, x in enumerate(dense)]

    kernel, inputs = claim.build(), inputs_of()
    specs = kernel.outputs(inputs)
    if specs is None or not any(spec.may_reuse for spec in specs) or not claim.deterministic:
        return
    workspace = empty(Spec((kernel.workspace(inputs),), np.dtype(np.uint8)))
    expected = [download(result).tobytes() for result in kernel.launch(inputs, [empty(spec) for spec in specs], workspace)]
    for position, spec in enumerate(specs):
        for reused in spec.may_reuse:
            inputs = inputs_of()
            assert tuple(inputs[reused].shape) == spec.shape, f"{case}: input {reused} has not the output's shape"
            assert inputs[reused].dtype == spec.dtype, f"{case}: input {reused} has not the output's dtype"
            outputs = [empty(s) for s in specs]
            outputs[position] = inputs[reused]
            for result, right in zip(kernel.launch(inputs, outputs, workspace), expected, strict=True):
                assert download(result).tobytes() == right, f"{case}: wrong when written over input {reused}"
