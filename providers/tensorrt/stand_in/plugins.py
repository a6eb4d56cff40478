"""The registry of plugins: libraries that a program loads by path, and the operators that they bring."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from onnxgpu.providers.tensorrt.stand_in.registry import implements

_libraries: dict[int, Mapping[str, onnx.FunctionProto]] = {}
"""Handle → operator → what it computes."""


@implements("IPluginRegistry")
class PluginRegistry:
    """What was loaded.

    The stand-in runs no code of others: a library is a file with functions in ONNX's text form, one for each operator of its plugins.
    """

    def __init__(self) -> None:
        self.error_recorder: Any = None
        self.parent_search_enabled = True

    @property
    def all_creators(self) -> list[Any]:
        """None that programs may ask: plugins of the stand-in are names."""
        return []

    def load_library(self, plugin_path: str) -> int | None:
        """Load a library; the handle is for `deregister_library`. None: it is not there, or no library."""
        try:
            texts = re.split(r"(?m)^(?=<)", Path(plugin_path).read_text())
            functions = [onnx.parser.parse_function(text) for text in texts if text.strip()]
        except (OSError, UnicodeDecodeError, onnx.parser.ParseError):
            return None
        handle = max(_libraries, default=0) + 1
        _libraries[handle] = {function.name: function for function in functions}
        return handle

    def deregister_library(self, handle: int) -> None:
        """Unload a library."""
        del _libraries[handle]


def plugin_operators() -> Mapping[str, onnx.FunctionProto]:
    """The operators that libraries brought, and what they compute."""
    return {name: function for functions in _libraries.values() for name, function in functions.items()}


def unload_all() -> None:
    """As at the start."""
    _libraries.clear()


_registry: PluginRegistry | None = None


@implements("get_plugin_registry")
def get_plugin_registry() -> PluginRegistry:
    """The process's."""
    global _registry
    _registry = _registry or PluginRegistry()
    return _registry


@implements("get_builder_plugin_registry")
def get_builder_plugin_registry(capability: Any) -> PluginRegistry:
    """The same, whatever is built."""
    return get_plugin_registry()


@implements("init_libnvinfer_plugins")
def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
    """TensorRT's own plugins, of which the stand-in has none."""
    return True
