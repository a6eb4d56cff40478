"""Plugins for operators, TensorRT's own and those of other libraries, registered once a process."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnxgpu.errors import EPFail, InvalidArgument
from onnxgpu.providers.tensorrt.library import tensorrt
from onnxgpu.providers.tensorrt.messages import listening, trt_logger


def load_plugins(paths: tuple[str, ...]) -> None:
    """Register TensorRT's plugins and those of these libraries, before a network is parsed or an engine read that may hold some.

    Raises:
        InvalidArgument: TensorRT does not load one.
    """
    module = tensorrt()
    _register_own(module)
    for path in paths:
        _load(module, path)


@cache
def _register_own(module: Any) -> None:
    """Of TensorRT, which its parser uses for some operators of ONNX."""
    with listening() as told:
        if not module.init_libnvinfer_plugins(trt_logger(), ""):
            raise told.failed(EPFail, "TensorRT does not register its own plugins")


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
