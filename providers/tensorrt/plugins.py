"""Shared libraries with plugins for operators, loaded once a process."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnxgpu.errors import EPFail, InvalidArgument
from onnxgpu.providers.tensorrt.library import tensorrt
from onnxgpu.providers.tensorrt.messages import listening


def load_plugins(paths: tuple[str, ...]) -> None:
    """Register the plugins of these libraries, which engines may hold, before a network is parsed or an engine read.

    Raises:
        InvalidArgument: TensorRT does not load one.
    """
    for path in paths:
        _load(tensorrt(), path)


@cache
def _load(module: Any, path: str) -> Any:
    """The library's handle, which keeps it registered."""
    registry = module.get_plugin_registry()
    if registry is None:
        raise EPFail("TensorRT has no plugin registry")
    with listening() as told:
        handle = registry.load_library(path)
    if handle is None:
        reason = told.reason("it is no library of plugins, or its plugins are registered already")
        raise InvalidArgument(f"option 'trt_extra_plugin_lib_paths': TensorRT does not load '{path}': {reason}")
    return handle
