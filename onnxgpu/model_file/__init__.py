"""Stage 1: bytes or a path to a checked onnx-ir model. Only this folder and `rewrite/` know protobuf."""

from onnxgpu.metadata import ModelMetadata
from onnxgpu.model_file.external_data import ExternalPlace
from onnxgpu.model_file.free_dimensions import override_dimensions
from onnxgpu.model_file.load import KNOWN_DOMAINS, load
from onnxgpu.model_file.loaded import LoadedModel, ValueType
from onnxgpu.model_file.saving import save, serialized
from onnxgpu.model_file.tensors import array_of, external_place, is_constant
from onnxgpu.model_file.types import infer_types, shapes_at
from onnxgpu.model_file.value_types import value_type_of

__all__ = [
    "KNOWN_DOMAINS",
    "ExternalPlace",
    "LoadedModel",
    "ModelMetadata",
    "ValueType",
    "array_of",
    "external_place",
    "infer_types",
    "is_constant",
    "load",
    "override_dimensions",
    "save",
    "serialized",
    "shapes_at",
    "value_type_of",
]
