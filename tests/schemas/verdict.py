"""Whether onnxgpu gives what the oracles give on one example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from onnxgpu.errors import OnnxGpuError
from tests.cases.tolerances import assert_same
from tests.schemas.disagreements import Disagreement, known
from tests.schemas.examples import Example, Typed
from tests.schemas.oracles import ort, ours, output_dtypes, reference

ORACLES = {"onnxruntime": ort, "reference": reference}


class Difference(AssertionError):
    """onnxgpu and an oracle differ, and no known fault of the oracle explains it."""


def judge(schema: onnx.defs.OpSchema, example: Example) -> str:
    """Compare; the first oracle that runs the example decides, unless it is known to be wrong there.

    Returns:
        "onnxruntime" or "reference", whichever it was compared with, "refused" for an invalid node, "" if no oracle runs it.

    Raises:
        Difference: what differs.
    """
    before = [x.copy() if isinstance(x, np.ndarray) else x for x in example.inputs]
    try:
        runs: Sequence[Sequence[Any]] | OnnxGpuError = ours(schema, example)
    except OnnxGpuError as error:
        runs = error
    except Exception as error:
        raise Difference(f"{shown(schema, example)}\nonnxgpu raises {type(error).__name__}: {error}") from error
    for x, kept in zip(example.inputs, before, strict=True):
        if isinstance(x, np.ndarray) and x.dtype.kind != "O" and x.tobytes() != kept.tobytes():
            raise Difference(f"{shown(schema, example)}\nonnxgpu changed an input")
    if example.invalid:
        if isinstance(runs, OnnxGpuError):
            return "refused"
        raise Difference(f"{shown(schema, example)}\nonnxgpu gives {runs[0]}, which has to be refused: {example.invalid}")
    for name, oracle in ORACLES.items():
        faults = known(name, schema, example)
        if any(fault.repair is None for fault in faults):
            continue
        try:
            expected = oracle(schema, example)
        except Exception:
            continue
        for fault in faults:
            assert fault.repair is not None
            expected = fault.repair(expected, output_dtypes(schema, example))
        _compare(schema, example, runs, expected, name)
        return name
    return ""


def _compare(
    schema: onnx.defs.OpSchema, example: Example, runs: Sequence[Sequence[Any]] | OnnxGpuError, expected: Sequence[Any], oracle: str
) -> None:
    if isinstance(runs, OnnxGpuError):
        raise Difference(f"{shown(schema, example)}\nonnxgpu refuses: {runs}\n{oracle} gives {expected}")
    for number, actual in enumerate(runs):
        try:
            if example.values:
                assert_same(list(actual), list(expected), example.rtol, example.atol)
            else:
                assert [(a.dtype, a.shape) for a in actual] == [(e.dtype, e.shape) for e in expected]
        except AssertionError as error:
            raise Difference(f"{shown(schema, example)}\nrun {number}, against {oracle}: {error}") from None


def shown(schema: onnx.defs.OpSchema, example: Example) -> str:
    """The example as text, to read and to build again."""
    lines = [f"{schema.domain or 'ai.onnx'}.{schema.name}-{schema.since_version} {dict(example.attributes)} outputs={example.outputs}"]
    for i, x in enumerate(example.inputs):
        constant = " constant" if i in example.constant else ""
        value = x.value if isinstance(x, Typed) else x
        form = f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else ""
        text = repr(value.tolist() if isinstance(value, np.ndarray) else value)
        lines.append(f"  x{i}{constant} {form} {text if len(text) < 600 else text[:600] + '…'}")
    return "\n".join(lines)


def is_needed(entry: Disagreement, schema: onnx.defs.OpSchema, example: Example) -> bool:
    """Whether `entry` explains why its oracle differs from onnxgpu on `example`."""
    if example.invalid or entry not in known(entry.oracle, schema, example):
        return False
    try:
        runs, expected = ours(schema, example), ORACLES[entry.oracle](schema, example)
    except Exception:
        return False
    try:
        _compare(schema, example, runs, expected, entry.oracle)
    except Difference:
        return True
    return False
