"""The ONNX model that an engine out of a model of compiled segments was built from: it has the weights that such an engine may lack."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxgpu.dtypes import dtype_of, name_of
from onnxgpu.errors import EPFail, InvalidArgument, NoSuchFile
from onnxgpu.providers.tensorrt.engine import Engine
from onnxgpu.providers.tensorrt.library import tensorrt, version
from onnxgpu.providers.tensorrt.messages import listening, trt_logger
from onnxgpu.providers.tensorrt.network import errors_of, takes_references
from onnxgpu.providers.tensorrt.support import HALF_BYTES

if TYPE_CHECKING:
    import onnx

_WHERE = "give trt_onnx_model_folder_path, the folder of the model, or trt_onnx_bytestream and trt_onnx_bytestream_size, its bytes"


def give_weights(engine: Engine, options: Mapping[str, Any], filename: str, name: str) -> None:
    """Refit an engine that was built without weights, as onnxruntime's options say.

    Args:
        engine: nothing was run with it yet.
        options: `trt_onnx_bytestream`, `trt_onnx_bytestream_size`, `trt_external_data_bytestream` and `…_size`: addresses and sizes
            of the model and of its external data in this process; `trt_onnx_model_folder_path`.
        filename: of the model, as the engine's node has it.
        name: of the segment, for messages.

    Raises:
        EPFail: nothing says where the weights are, or TensorRT does not take them.
        InvalidArgument: the file's name leaves the folder.
        NoSuchFile: the model is not there.
    """
    trt = tensorrt()
    with listening() as told:
        refitter = trt.Refitter(engine.raw, trt_logger())
        parser = trt.OnnxParserRefitter(refitter, trt_logger())
        if not (_read(parser, options, filename, name) and refitter.refit_cuda_engine()):
            raise EPFail(f"TensorRT does not take the weights for {name}: {'; '.join(errors_of(parser).values()) or told.reason()}")


def _read(parser: Any, options: Mapping[str, Any], filename: str, name: str) -> bool:
    address, size = int(options.get("trt_onnx_bytestream", 0)), int(options.get("trt_onnx_bytestream_size", 0))
    folder = str(options.get("trt_onnx_model_folder_path", ""))
    if address and size:
        content = ctypes.string_at(address, size)
        if options.get("trt_external_data_bytestream"):
            return _read_with_data(parser, content, options)
        return bool(parser.refit_from_bytes(content, str(Path(folder) / filename)) if folder else parser.refit_from_bytes(content))
    if not (folder and filename):
        raise EPFail(f"the engine of {name} has no weights, and nothing says where they are: {_WHERE}")
    if Path(filename).name != filename:
        raise InvalidArgument(f"the engine of {name} names its model '{filename}', which is no file in trt_onnx_model_folder_path itself")
    path = Path(folder) / filename
    if not path.is_file():
        raise NoSuchFile(f"the model '{path}', which has the weights for {name}, is not there: {_WHERE}")
    return bool(parser.refit_from_file(str(path)))


def _read_with_data(parser: Any, content: bytes, options: Mapping[str, Any]) -> bool:
    """The model's bytes, and its external data at an address."""
    import onnx

    start, size = int(options["trt_external_data_bytestream"]), int(options.get("trt_external_data_bytestream_size", 0))
    if not takes_references(parser):
        raise EPFail(
            f"TensorRT {version()} cannot take external data from memory (trt_external_data_bytestream): give "
            "trt_onnx_model_folder_path, where the model lies beside its data, or use TensorRT 10.13 or later"
        )
    model = onnx.ModelProto.FromString(content)
    places = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            places[tensor.name] = offset, length = _place(tensor)
            if offset + length > size:
                raise InvalidArgument(
                    f"option 'trt_external_data_bytestream_size' is {size}, and initializer '{tensor.name}' ends at {offset + length}"
                )
            del tensor.external_data[:]  # there is no file to look into
    return (
        bool(parser.load_model_proto(model.SerializeToString()))
        and all(parser.load_initializer(name, start + offset, length) for name, (offset, length) in places.items())
        and bool(parser.refit_model_proto())
    )


def _place(tensor: onnx.TensorProto) -> tuple[int, int]:
    """Where the elements begin, and how many bytes they take, which a writer need not tell."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    return int(told.get("offset", 0)), int(told.get("length", 0)) or _size(tensor)


def _size(tensor: onnx.TensorProto) -> int:
    count, dtype = prod(map(int, tensor.dims)), dtype_of(tensor.data_type)
    return (count + 1) // 2 if name_of(dtype) in HALF_BYTES else count * dtype.itemsize
