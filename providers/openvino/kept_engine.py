"""Compiled segments in models: written with what decides their numbers, and read without OpenVINO's model of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from onnxgpu.errors import EPFail
from onnxgpu.log import logger
from onnxgpu.providers.openvino.engine import HONEST, bindings, hardware, imported, reason_of, version
from onnxgpu.providers.openvino.kernel import SegmentKernel
from onnxgpu.segment_provider import Engine, Segment


def kept(kernel: SegmentKernel, device: str, settings: Mapping[str, Any]) -> Engine:
    """What `kernel` runs, for a model."""
    notes = {"settings": json.dumps({name: settings[name] for name in HONEST}), "passed": json.dumps(kernel.passed)}
    return Engine(kernel.compiled.export_model().getbuffer(), version(), hardware(device), notes)


def kernel_of(segment: Segment, engine: Engine, device: str, settings: Mapping[str, Any]) -> SegmentKernel:
    """A kernel that runs an engine out of a model.

    Args:
        segment: see `SegmentProvider.claim_engine`.
        engine: may come from another program, as onnxruntime.
        device: OpenVINO's.
        settings: of the session; those that decide numbers are the engine's own.

    Raises:
        EPFail: OpenVINO does not take the engine, or it does not fit the node that holds it.
    """
    try:
        compiled = imported(engine.content, device, {**settings, **_own_settings(engine, settings)})
    except RuntimeError as error:
        raise EPFail(_refusal(segment, f"is not taken by OpenVINO {version()}: {reason_of(error)}")) from error
    if len(compiled.inputs) > len(segment.inputs):
        raise EPFail(_refusal(segment, f"reads {len(compiled.inputs)} values, and its node gives {len(segment.inputs)}"))
    return SegmentKernel(_typed(segment, compiled), None, compiled, engine.content, _passed(engine, segment))


def _refusal(segment: Segment, reason: str) -> str:
    return f"the engine '{segment.name}' for OpenVINO {reason}; compile the model again with what is here (ModelCompiler)"


def _own_settings(engine: Engine, settings: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in _noted(engine, "settings").items() if name in HONEST}
    if differing := {name: value for name, value in told.items() if settings[name] != value}:
        logger.warning("a compiled segment keeps the settings that it was compiled with, whatever the session's options say: %s", differing)
    return told


def _passed(engine: Engine, segment: Segment) -> dict[int, int] | None:
    """Outputs that are inputs; None if the engine does not say."""
    if "passed" not in engine.notes:
        return None
    passed = {int(output): source for output, source in _noted(engine, "passed").items() if output.isdecimal()}
    if not all(output < len(segment.outputs) and source in range(len(segment.inputs)) for output, source in passed.items()):
        raise EPFail(
            _refusal(segment, f"passes {passed} on, and its node has {len(segment.inputs)} inputs, {len(segment.outputs)} outputs")
        )
    return passed


def _noted(engine: Engine, key: str) -> dict[str, Any]:
    """What the engine's notes say, which are as much to be trusted as the file that they come from."""
    try:
        told = json.loads(engine.notes.get(key, "{}"))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise EPFail(f"the notes of an engine for OpenVINO are damaged: {key} is {engine.notes[key][:80]!r}; compile the model again")
    return told


def _typed(segment: Segment, compiled: Any) -> Segment:
    """The segment with the types of the engine's outputs, which its node may leave out, but not contradict."""
    types = [_dtype(port) for port in compiled.outputs]
    told = [value.dtype for value in segment.outputs]
    if len(types) != len(told) or any(dtype not in (None, own) for dtype, own in zip(told, types, strict=True)):
        raise EPFail(_refusal(segment, f"gives {[str(t) for t in types]}, and its node declares {[str(t) for t in told]}"))
    return replace(segment, outputs=tuple(replace(value, dtype=own) for value, own in zip(segment.outputs, types, strict=True)))


def _dtype(port: Any) -> np.dtype:
    import ml_dtypes

    is_brief = port.element_type == bindings().Type.bf16
    dtype: np.dtype = np.dtype(ml_dtypes.bfloat16 if is_brief else port.element_type.to_dtype())
    return dtype
