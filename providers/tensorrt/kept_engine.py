"""Engines in models: written as TensorRT serializes them, and read by what TensorRT itself says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from onnxgpu.errors import EPFail
from onnxgpu.providers.cuda.capture import going_on
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.segments.misfit import misfit as general_misfit
from onnxgpu.providers.segments.shapes import Profile, Range
from onnxgpu.providers.tensorrt.compiler import capability
from onnxgpu.providers.tensorrt.engine import Engine
from onnxgpu.providers.tensorrt.kernel import EngineKernel
from onnxgpu.providers.tensorrt.library import tensorrt, version
from onnxgpu.providers.tensorrt.messages import listening
from onnxgpu.providers.tensorrt.network import UNKNOWN
from onnxgpu.providers.tensorrt.original_model import give_weights
from onnxgpu.providers.tensorrt.settings import BuildSettings
from onnxgpu.segment_provider import Engine as KeptEngine
from onnxgpu.segment_provider import Segment

_AND_LATER = "+"
_WEIGHTS, _INSIDE = "weights", "inside"
"""A note: an engine of ours has its weights, which are those of the rewritten model and not those of the file."""

_DTYPES = {
    "BOOL": "bool",
    "FLOAT": "float32",
    "HALF": "float16",
    "INT32": "int32",
    "INT64": "int64",
    "INT8": "int8",
    "UINT8": "uint8",
}
"""TensorRT's element types → NumPy's."""


def kept(engine: Engine, device: Gpu, settings: BuildSettings, name: str) -> KeptEngine:
    """An engine for a model, with its weights.

    Raises:
        EPFail: TensorRT does not serialize it.
    """
    with going_on, device.working(), listening() as told:
        config = engine.raw.create_serialization_config()
        config.clear_flag(tensorrt().SerializationFlag.EXCLUDE_WEIGHTS)  # of an engine that was built without, whatever the default
        memory = engine.raw.serialize_with_config(config)
    if memory is None:
        raise told.failed(EPFail, f"TensorRT {version()} does not serialize the engine of {name}")
    architecture = f"80{_AND_LATER}" if settings.hardware_compatible else capability(device)
    return KeptEngine(bytes(memory), version(), architecture, {_WEIGHTS: _INSIDE})


def misfit(made_by: str, hardware: str, device: Gpu) -> str | None:
    """Why an engine of this version and for this compute capability (`90`, or `80+` for it and later ones) cannot run on `device`."""
    here = capability(device)
    least = hardware.removesuffix(_AND_LATER)
    is_later = hardware.endswith(_AND_LATER) and least.isdecimal() and int(here) >= int(least)
    return general_misfit(made_by, here if is_later else hardware, version(), here)


def kernel_of(segment: Segment, kept_engine: KeptEngine, device: Gpu, settings: BuildSettings, options: Mapping[str, Any]) -> EngineKernel:
    """A kernel that runs an engine out of a model.

    Args:
        segment: see `SegmentProvider.claim_engine`.
        kept_engine: may come from another program, as onnxruntime.
        device: to run on.
        settings: those of them that concern reading.
        options: of the provider.

    Raises:
        EPFail: TensorRT does not read it, or it is no engine of the node that holds it.
    """
    with going_on, device.working():
        engine = Engine(bytes(kept_engine.content), settings, str(segment), int(options.get("trt_weight_streaming_budget", 0)))
        if settings.strips_weights and kept_engine.notes.get(_WEIGHTS) != _INSIDE:
            give_weights(engine, options, kept_engine.model_file, str(segment))
        raw = engine.raw
        names = [str(raw.get_tensor_name(index)) for index in range(raw.num_io_tensors)]
        inputs = [name for name in names if raw.get_tensor_mode(name) == tensorrt().TensorIOMode.INPUT]
        outputs = [name for name in names if name not in inputs]
        for what, own, values in (("reads", inputs, segment.inputs), ("gives", outputs, segment.outputs)):
            if set(own) != {value.name for value in values}:
                raise _of_another_node(segment, f"{what} {own}, and its node has {[value.name for value in values]}")
        on_host = {name for name in inputs if engine.reads_on_host(name)}
        profiles = _profiles(raw, inputs, on_host)
        results = tuple(replace(value, dtype=_dtype(raw, value.name, value.dtype, segment)) for value in segment.outputs)
    host_inputs = frozenset(index for index, value in enumerate(segment.inputs) if value.name in on_host)
    return EngineKernel(replace(segment, outputs=results), engine, profiles, device, host_inputs)


def _profiles(raw: Any, inputs: list[str], on_host: set[str]) -> tuple[Profile, ...]:
    """What the inputs may be, as far as that is not fixed; none if all of it is."""
    by_value = {name for name in on_host if raw.is_shape_inference_io(name)}  # of others the engine does not tell what they may be
    ranging = [name for name in inputs if name in by_value or (name not in on_host and UNKNOWN in tuple(raw.get_tensor_shape(name)))]
    if not ranging:
        return ()
    return tuple(
        tuple((name, _range(raw, name, number, is_values=name in by_value)) for name in ranging)
        for number in range(raw.num_optimization_profiles)
    )


def _range(raw: Any, name: str, number: int, *, is_values: bool) -> Range:
    found = raw.get_tensor_profile_values(number, name) if is_values else raw.get_tensor_profile_shape(name, number)
    least, best, most = (tuple(int(size) for size in sizes) for sizes in found)
    return Range(least, best, most)


def _dtype(raw: Any, name: str, declared: np.dtype | None, segment: Segment) -> np.dtype:
    """The element type of an output: as the node declares it, or the engine's own."""
    known = _DTYPES.get(raw.get_tensor_dtype(name).name)
    if declared is None and known is None:
        raise _of_another_node(segment, f"gives {name} as {raw.get_tensor_dtype(name).name}, and its node declares no type")
    own: np.dtype = np.dtype(known) if known is not None else declared  # type: ignore[assignment]
    if declared not in (None, own):
        raise _of_another_node(segment, f"gives {name} as {own}, and its node declares {declared}")
    return own


def _of_another_node(segment: Segment, reason: str) -> EPFail:
    return EPFail(f"the engine '{segment.name}' for TensorRT {reason}; compile the model again (ModelCompiler)")
