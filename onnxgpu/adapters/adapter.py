"""Adapters as programs use them: `AdapterFormat` writes and reads the file, `LoraAdapter` feeds it to runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.adapters.flatbuffer import ELEMENT_TYPES, FORMAT_VERSION, AdapterFile, NotAnAdapter, decoded, encoded
from onnxgpu.atomic_file import whole_file
from onnxgpu.dtypes import code_of

if TYPE_CHECKING:
    from onnxgpu.ort_value import OrtValue


class AdapterFormat:
    """The contents of an adapter file.

    Args:
        adapter: contents that were read; None: an adapter without parameters.
    """

    def __init__(self, adapter: AdapterFile | None = None) -> None:
        self._adapter_version = adapter.adapter_version if adapter else 0
        self._model_version = adapter.model_version if adapter else 0
        self._format_version = adapter.format_version if adapter else FORMAT_VERSION
        self._parameters: dict[str, np.ndarray] = dict(adapter.parameters) if adapter else {}

    @staticmethod
    def read_adapter(file_path: str | os.PathLike[str]) -> AdapterFormat:
        """The adapter in a file; its parameters are views of the file.

        Raises:
            RuntimeError: there is no such file, or it is no adapter.
        """
        return AdapterFormat(_read(file_path))

    def export_adapter(self, file_path: str | os.PathLike[str]) -> None:
        """Write the adapter to a file, which appears whole or not at all.

        Raises:
            RuntimeError: the file cannot be written, or a parameter is of a type or shape that the format does not hold.
        """
        types = {name: _element_type(name, array) for name, array in self._parameters.items()}
        try:
            content = encoded(AdapterFile(self._adapter_version, self._model_version, self._parameters), types)
            with whole_file(file_path) as file:
                file.write(content)
        except (OSError, ValueError) as error:
            raise RuntimeError(f'Failed to open file:"{os.fspath(file_path)}" for writing. {error}') from error

    def get_format_version(self) -> int:
        """The version of the file format."""
        return self._format_version

    def set_adapter_version(self, adapter_version: int) -> None:
        """Set the author's number for this adapter.

        Raises:
            TypeError: it is no integer of 32 bits.
        """
        self._adapter_version = _integer32(adapter_version)

    def get_adapter_version(self) -> int:
        """The author's number for this adapter."""
        return self._adapter_version

    def set_model_version(self, model_version: int) -> None:
        """Set the version of the model that this adapter is for.

        Raises:
            TypeError: it is no integer of 32 bits.
        """
        self._model_version = _integer32(model_version)

    def get_model_version(self) -> int:
        """The version of the model that this adapter is for."""
        return self._model_version

    def set_parameters(self, params: Mapping[str, OrtValue]) -> None:
        """Set the parameters; their elements are not copied.

        Raises:
            TypeError: a value is no `OrtValue`.
        """
        for name, value in params.items():
            if not callable(getattr(value, "numpy", None)):
                raise TypeError(f"parameter '{name}' wants an OrtValue, got {type(value).__name__}")
        self._parameters = {name: np.asarray(value.numpy()) for name, value in params.items()}

    def get_parameters(self) -> dict[str, OrtValue]:
        """The parameters by name."""
        from onnxgpu.ort_value import OrtValue

        return {name: OrtValue.ortvalue_from_numpy(array) for name, array in self._parameters.items()}


class LoraAdapter:
    """An adapter for `RunOptions.add_active_adapter`."""

    def __init__(self) -> None:
        self._parameters: Mapping[str, np.ndarray] = {}

    def Load(self, file_path: str) -> None:
        """Map the file and take its parameters.

        Raises:
            RuntimeError: there is no such file, or it is no adapter.
            TypeError: `file_path` is no path.
        """
        self._parameters = _read(file_path).parameters

    @property
    def parameters(self) -> Mapping[str, np.ndarray]:
        """Input name → value."""
        return self._parameters


def with_adapters(feed: Mapping[str, Any], adapters: tuple[LoraAdapter, ...]) -> dict[str, Any]:
    """`feed` with the parameters of `adapters`, which come before it; of two adapters the first counts."""
    merged = dict(feed)
    for adapter in reversed(adapters):
        merged.update(adapter.parameters)
    return merged


def _read(path: str | os.PathLike[str]) -> AdapterFile:
    try:
        empty = Path(path).stat().st_size == 0
        data = memoryview(b"") if empty else memoryview(np.memmap(path, np.uint8, "r").data)
        return decoded(data)
    except OSError as error:
        where = f"the adapter '{os.fspath(path)}'"
        raise RuntimeError(f"[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : {where} cannot be opened: {error}") from error
    except NotAnAdapter as error:
        raise RuntimeError(f"{error} ('{os.fspath(path)}')") from None


def _element_type(name: str, array: np.ndarray) -> int:
    element_type = code_of(array.dtype)
    if element_type not in ELEMENT_TYPES:
        raise RuntimeError(f"Lora Param '{name}': {array.dtype} is not a supported LoRA parameter type (numbers of 8 to 64 bits are)")
    if array.ndim == 0:
        raise RuntimeError(f"Lora Param '{name}': dims is missing or empty; give it the shape [1]")
    return element_type


def _integer32(value: int) -> int:
    if not hasattr(value, "__index__") or not -(2**31) <= int(value) < 2**31:
        raise TypeError(f"incompatible function arguments: a version is an integer of 32 bits, got {value!r}")
    return int(value)
