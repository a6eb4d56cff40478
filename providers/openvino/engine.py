"""Segments as OpenVINO's models: converting, compiling, and the few settings that decide what is computed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np

from onnxgpu.host_provider import host_array
from onnxgpu.log import logger
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.provider import Spec

_ADDRESS = "*/_ORT_MEM_ADDR_/*"
"""The location by which OpenVINO's ONNX reader takes external data from memory of this process; the offset is its address."""

HONEST: Mapping[str, Any] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "PERFORMANCE_HINT": "LATENCY",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "KV_CACHE_PRECISION": "f32",
}
"""float32 means float32: OpenVINO's own defaults compute in bfloat16 or int8 where the processor is faster at that."""


@cache
def core() -> Any:
    """OpenVINO's own state, one a process."""
    import openvino

    return openvino.Core()


def convert(model: CutModel) -> Any:
    """An `openvino.Model` over the weights where they lie; they have to stay there as long as it, or what it becomes, is used.

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
    return core().read_model(proto.SerializeToString())


_NOISE = ("Exception from", "Check '", "FrontEnd API", "Model wasn't", "Summary:", "To facilitate", "While validating", "at ")


def reason_of(error: Exception) -> str:
    """The first sentence of an error that says what is wrong, without OpenVINO's own sources."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(_NOISE) and not line.endswith("with a message:")]
    return (told or lines or [type(error).__name__])[0][:300]


def tensor_over(array: np.ndarray) -> Any:
    """An `openvino.Tensor` over the memory of a dense array, which it does not keep alive."""
    import openvino

    if array.dtype.kind == "V":
        return openvino.Tensor(_writeable(array.view(np.uint16)), array.shape, openvino.Type.bf16)
    return openvino.Tensor(_writeable(array), shared_memory=True)


def _writeable(array: np.ndarray) -> np.ndarray:
    """The same memory for OpenVINO, which wants to be allowed to write even into what it only reads."""
    return array if array.flags.writeable else host_array(array.ctypes.data, Spec(array.shape, array.dtype), array)


def compiled(model: Any, device: str, settings: Mapping[str, Any]) -> Any:
    """An `openvino.CompiledModel`.

    Raises:
        RuntimeError: OpenVINO's, with its reason.
    """
    return core().compile_model(model, device, dict(settings))


def exported(model: Any) -> bytes:
    """A compiled model as bytes."""
    stream: bytes = model.export_model().getvalue()
    return stream


def imported(content: bytes | memoryview, device: str, settings: Mapping[str, Any]) -> Any:
    """The compiled model of `exported`; `content` has to stay in memory as long as it is used.

    Raises:
        RuntimeError: OpenVINO's, with its reason.
    """
    return core().import_model(tensor_over(np.frombuffer(content, np.uint8)), device, dict(settings))


def imported_from_cache(content: bytes, device: str, settings: Mapping[str, Any]) -> Any | None:
    """The compiled model of `exported`; None if this OpenVINO does not take it."""
    try:
        return core().import_model(BytesIO(content), device, dict(settings))
    except RuntimeError as error:
        logger.warning("OpenVINO does not take the compiled segment from the cache (%s): it is compiled again", reason_of(error))
        return None


def version() -> str:
    """OpenVINO's version, with its build."""
    import openvino

    return str(openvino.get_version())


def hardware(device: str) -> str:
    """What an engine for the device runs on; finer differences OpenVINO finds itself."""
    return f"{device} {core().get_property(device, 'DEVICE_ARCHITECTURE')}"


def device_name(device: str) -> str:
    """What the device calls itself."""
    return str(core().get_property(device, "FULL_DEVICE_NAME"))
