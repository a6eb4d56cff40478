"""Run one operation by itself, on the host (constant folding does this)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxgpu.execute.loop import new_memory
from onnxgpu.provider import HOST, Claim, Operation, Provider, Value


def run_on_host(operation: Operation, inputs: Sequence[Value], providers: Sequence[Provider]) -> Sequence[Value] | None:
    """The outputs, or None where no host provider runs the operation, or a second run could give something else."""
    for provider in providers:
        if provider.place != HOST:
            continue
        claim = provider.claim(operation)
        if isinstance(claim, Claim):
            if not claim.deterministic:
                return None
            given = [None if i in claim.absorbed_inputs else value for i, value in enumerate(inputs)]
            kernel = claim.build()
            with np.errstate(all="ignore"):
                return kernel.launch(given, *new_memory(kernel, provider, given))
    return None
