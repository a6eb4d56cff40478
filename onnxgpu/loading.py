"""Loading a model as its session options say."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from onnxgpu.errors import NotImplemented
from onnxgpu.options import SessionOptions

if TYPE_CHECKING:
    import onnx

    from onnxgpu.metadata import ModelMetadata
    from onnxgpu.model_file import LoadedModel

    ModelSource = str | os.PathLike[str] | bytes | onnx.ModelProto
    """A model file, its bytes, or the parsed protobuf."""


def loaded_for(source: ModelSource, options: SessionOptions, *, known_domains: Collection[str]) -> LoadedModel:
    """The model at `source`, with the initializers, external files and the data folder of `options`.

    Raises:
        OnnxGpuError: see `onnxgpu.model_file.load`.
        NotImplemented: the options say that it is in onnxruntime's own format.
    """
    from onnxgpu.model_file import load

    config = options.config_entries
    if config.get("session.load_model_format", "").upper() == "ORT":
        raise NotImplemented("session.load_model_format=ORT: onnxgpu does not read onnxruntime's .ort format; give the ONNX model instead")
    folder = config.get("session.model_external_initializers_file_folder_path", "")
    return load(source, known_domains=known_domains, supplied=options.supplied_data, data_folder=folder)


def metadata_of(source: ModelSource, options: SessionOptions) -> ModelMetadata:
    """The metadata of the model at `source`."""
    from onnxgpu.discovery import providers

    domains = frozenset[str]().union(*(provider().domains() for provider in providers().values() if provider.unavailable() is None))
    return loaded_for(source, options, known_domains=domains - {""}).metadata
