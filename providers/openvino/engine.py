"""Segments as OpenVINO's models: converting, compiling, and the few settings that decide what is computed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from onnxgpu.bare_imports import import_bare
from onnxgpu.host_provider import host_array
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.provider import Spec

_ADDRESS = "*/_ORT_MEM_ADDR_/*"
"""The location by which OpenVINO's ONNX reader takes external data from memory of this process; the offset is its address."""

_PROCESSOR = Path("/proc/cpuinfo")


def sums_are_exact(processor: Path = _PROCESSOR, machine: str | None = None) -> bool:
    """True if this processor is known to sum products of 8-bit numbers in 32 bits.

    On x86 that takes VNNI: before it, OpenVINO's sums saturate at 16 bits. Only Linux says which processors have it.

    Args:
        processor: what Linux says of it.
        machine: the architecture; None: this machine's.
    """
    if (machine or platform.machine()).lower() not in ("x86_64", "amd64"):
        return True
    try:
        with processor.open(encoding="utf-8") as lines:
            return any("vnni" in line for line in lines if line.startswith("flags"))
    except OSError:
        return False


HONEST: Mapping[str, Any] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "PERFORMANCE_HINT": "LATENCY",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "KV_CACHE_PRECISION": "f32",
    **({} if sums_are_exact() else {"LP_TRANSFORMS_MODE": "NO"}),
}
"""float32 means float32: OpenVINO's own defaults compute in bfloat16 or int8 where the processor is faster at that; and quantized models
are computed in integers only where these are summed exactly, else in float32 between their QuantizeLinear and DequantizeLinear."""


@cache
def bindings() -> Any:
    """OpenVINO's Python bindings, which its package wraps in classes of its own."""
    return import_bare("openvino._pyopenvino")


@cache
def core() -> Any:
    """OpenVINO's own state, one a process."""
    return bindings().Core()


def convert(model: CutModel) -> Any:
    """A `Model` over the weights where they lie; they have to stay there as long as it, or what it becomes, is used.

    OpenVINO's reader copies weights. It is left to decide what they become, then its copies are exchanged for what they are copies of.

    Raises:
        RuntimeError: OpenVINO's, with its reason.
    """
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        array = model.weights.get(tensor.name)
        if array is not None:
            for key, value in (("location", _ADDRESS), ("offset", array.ctypes.data), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
    converted = core().read_model(proto.SerializeToString())
    _share(converted, model.weights)
    return converted


def outline(model: CutModel) -> Any:
    """A `Model` that tells shapes: large weights are inputs of it, so that nothing is copied.

    Raises:
        RuntimeError: OpenVINO's, with its reason.
    """
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    del proto.graph.initializer[:]
    for tensor in model.proto.graph.initializer:
        if tensor.name in model.weights:
            proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            proto.graph.initializer.append(tensor)
    try:
        return core().read_model(proto.SerializeToString())
    except RuntimeError:  # a weight whose values its reader wants
        return convert(model)


def _share(model: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Let constants of a `Model` that are copies of `weights` be these."""
    constant = bindings().op.Constant
    for node in model.get_ops():
        array = weights.get(node.get_friendly_name()) if node.get_type_name() == "Constant" else None
        if array is None or not _same(tensor_over(array), node):
            continue
        shared = constant(tensor_over(array), shared_memory=True)
        shared.set_friendly_name(node.get_friendly_name())
        shared.output(0).get_tensor().set_names(node.output(0).get_names())
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(shared.output(0))


def _same(tensor: Any, node: Any) -> bool:
    """True if a constant holds the tensor, byte by byte."""
    port = node.output(0)
    if port.get_element_type() != tensor.element_type or port.get_shape() != tensor.shape:
        return False
    return bool(np.array_equal(tensor.data.view(np.uint8), node.data.view(np.uint8)))


_NOISE = ("Exception from", "Check '", "FrontEnd API", "Model wasn't", "Summary:", "To facilitate", "While validating", "at ")


def reason_of(error: Exception) -> str:
    """The first sentence of an error that says what is wrong, without OpenVINO's own sources."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(_NOISE) and not line.endswith("with a message:")]
    return (told or lines or [type(error).__name__])[0][:300]


def tensor_over(array: np.ndarray) -> Any:
    """A `Tensor` over the memory of a dense array, which it does not keep alive."""
    if array.dtype.kind == "V":
        return bindings().Tensor(_writeable(array.view(np.uint16)), array.shape, bindings().Type.bf16)
    return bindings().Tensor(_writeable(array), shared_memory=True)


def _writeable(array: np.ndarray) -> np.ndarray:
    """The same memory for OpenVINO, which wants to be allowed to write even into what it only reads."""
    return array if array.flags.writeable else host_array(array.ctypes.data, Spec(array.shape, array.dtype), array)


def compiled(model: Any, device: str, settings: Mapping[str, Any]) -> Any:
    """A `CompiledModel`.

    Raises:
        RuntimeError: OpenVINO's, with its reason.
    """
    return core().compile_model(model, device, dict(settings))


def imported(content: bytes | memoryview, device: str, settings: Mapping[str, Any]) -> Any:
    """The compiled model of `CompiledModel.export_model`; `content` has to stay in memory as long as it is used.

    Raises:
        RuntimeError: OpenVINO's, with its reason.
    """
    return core().import_model(tensor_over(np.frombuffer(content, np.uint8)), device, dict(settings))


def version() -> str:
    """OpenVINO's version, with its build."""
    return str(bindings().get_version())


def hardware(device: str) -> str:
    """What an engine for the device runs on; finer differences OpenVINO finds itself."""
    return f"{device} {core().get_property(device, 'DEVICE_ARCHITECTURE')}"


def device_name(device: str) -> str:
    """What the device calls itself."""
    return str(core().get_property(device, "FULL_DEVICE_NAME"))
