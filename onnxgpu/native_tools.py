"""The compiler and the adapter file as onnxruntime's native layer has them; the public classes do the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from onnxgpu.adapters import AdapterFormat
from onnxgpu.model_compiler import ModelCompiler
from onnxgpu.options import GraphOptimizationLevel, SessionOptions
from onnxgpu.ort_value import OrtValue


class NativeAdapterFormat:
    """An adapter file: versions and parameters as attributes."""

    def __init__(self) -> None:
        self._format = AdapterFormat()

    @classmethod
    def read_adapter(cls, arg0: str) -> Self:
        """Read the file at a path."""
        self = cls()
        self._format = AdapterFormat.read_adapter(arg0)
        return self

    def export_adapter(self, arg0: str) -> None:
        """Write the file."""
        self._format.export_adapter(arg0)

    @property
    def format_version(self) -> int:
        """Of the file's form."""
        return self._format.get_format_version()

    @property
    def adapter_version(self) -> int:
        """Of the adapter."""
        return self._format.get_adapter_version()

    @adapter_version.setter
    def adapter_version(self, version: int) -> None:
        self._format.set_adapter_version(version)

    @property
    def model_version(self) -> int:
        """Of the model that it belongs to."""
        return self._format.get_model_version()

    @model_version.setter
    def model_version(self, version: int) -> None:
        self._format.set_model_version(version)

    @property
    def parameters(self) -> dict[str, Any]:
        """Name → value."""
        return {name: value._ortvalue for name, value in self._format.get_parameters().items()}

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        self._format.set_parameters({name: OrtValue(value) for name, value in values.items()})


class NativeModelCompiler(ModelCompiler):
    """A compiler of the model `arg1`.

    Args:
        arg0: options.
        arg1: a path, or the bytes of a model.
        arg2: True: `arg1` is a path.
        arg3: put compiled data into the model.
        arg4: file for large initializers; empty for none.
        arg5: bytes from which an initializer is large.
        arg6: flags of `OrtCompileApiFlags`.
        arg7: how much is rewritten.
        arg8: says where an initializer goes; None: as above.
    """

    def __init__(
        self,
        arg0: SessionOptions,
        arg1: str | bytes,
        arg2: bool,
        arg3: bool = False,
        arg4: str = "",
        arg5: int = 1024,
        arg6: int = 0,
        arg7: GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL,
        arg8: Callable[..., Any] | None = None,
    ) -> None:
        if arg2 != isinstance(arg1, str):
            raise TypeError(f"ModelCompiler(): expected {'a path' if arg2 else 'the bytes of a model'}, got {type(arg1).__name__}")
        super().__init__(
            arg0,
            arg1,
            embed_compiled_data_into_model=arg3,
            external_initializers_file_path=arg4 or None,
            external_initializers_size_threshold=arg5,
            flags=arg6,
            graph_optimization_level=arg7,
            get_initializer_location_func=arg8,
        )
