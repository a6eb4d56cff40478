"""Providers that a program adds while it runs: a Python file, a module, or an installed entry point."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from onnxgpu import discovery
from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.provider import Provider


def register_execution_provider_library(arg0: str, arg1: str) -> None:
    """Add a provider: from then on it is listed, and sessions can name it.

    Args:
        arg0: the name under which `unregister_execution_provider_library` takes it away.
        arg1: a Python file (`provider.py`) or a module with the provider class as `PROVIDER`, `module:Class`, or the name of
            an installed entry point of the group `onnxgpu.providers`.

    Raises:
        Fail: there is no such file or module, it cannot be imported, or the name or the provider is registered already.
        InvalidArgument: what it holds is no provider; a compiled library for onnxruntime is none.
    """
    if arg0 in discovery.registered():
        raise Fail(f"library is already registered under {arg0}")
    try:
        provider = _provider_at(arg1, arg0)
    except (OSError, ImportError, SyntaxError, AttributeError) as error:
        raise Fail(f"Failed to load library {arg1} with error: {error}") from error
    if not (isinstance(provider, type) and issubclass(provider, Provider)):
        raise InvalidArgument(f"{arg1} holds {provider!r}; expected a subclass of onnxgpu.provider.Provider as PROVIDER, or module:Class")
    discovery.register(arg0, provider)


def unregister_execution_provider_library(arg0: str) -> None:
    """Take away a provider; sessions that use it keep it.

    Raises:
        Fail: no provider is registered under that name.
    """
    discovery.unregister(arg0)


def _provider_at(location: str, name: str) -> object:
    if location.endswith((".so", ".dll", ".dylib")):
        if not Path(location).is_file():
            raise FileNotFoundError(f"{location}: cannot open shared object file: No such file or directory")
        raise InvalidArgument(
            f"{location} is compiled for onnxruntime's C API, which onnxgpu does not have; a provider here is a Python class"
        )
    if location.endswith(".py"):
        return _module_of_file(Path(location), name).PROVIDER
    if ":" in location:
        module, _, attribute = location.partition(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=discovery.ENTRY_POINT_GROUP, name=location):
        return point.load()
    return import_module(location).PROVIDER


def _module_of_file(path: Path, name: str) -> ModuleType:
    module_name = f"onnxgpu_plugin_{''.join(c if c.isalnum() else '_' for c in name)}"
    spec = spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module
