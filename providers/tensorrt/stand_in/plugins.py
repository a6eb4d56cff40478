"""The registry of plugins: libraries that a program loads by path, and the operators that they bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnxgpu.providers.tensorrt.stand_in.registry import implements

_libraries: dict[str, str] = {}


@implements("IPluginRegistry")
class PluginRegistry:
    """What was loaded; the stand-in reads no code, so a library brings the operators that a line in its file names.

    A file that begins with `operators: A, B` stands for a library with plugins for the operators A and B.
    """

    def __init__(self) -> None:
        self.error_recorder: Any = None
        self.parent_search_enabled = True

    @property
    def all_creators(self) -> list[Any]:
        """None that programs may ask: plugins of the stand-in are names."""
        return []

    def load_library(self, plugin_path: str) -> int | None:
        """Load a library; the handle is for `deregister_library`. None: it is not there."""
        try:
            _libraries[plugin_path] = Path(plugin_path).read_text(errors="replace").partition("\n")[0]
        except OSError:
            return None
        return len(_libraries)

    def deregister_library(self, handle: int) -> None:
        """Unload a library."""
        path = list(_libraries)[handle - 1]
        del _libraries[path]


def plugin_operators() -> frozenset[str]:
    """Operators that libraries brought."""
    lines = [line.removeprefix("operators:") for line in _libraries.values() if line.startswith("operators:")]
    return frozenset(name.strip() for line in lines for name in line.split(",") if name.strip())


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
