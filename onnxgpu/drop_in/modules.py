"""The modules that `import onnxruntime` gives while onnxgpu is in its place."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from onnxgpu.drop_in.distribution import CompatibleDistribution
from onnxgpu.release import COMPATIBLE_VERSION

REAL = "onnxruntime"

SERVED = {
    "onnxruntime": "onnxgpu",
    "onnxruntime.backend": "onnxgpu.backend",
    "onnxruntime.capi": "onnxgpu.capi",
    "onnxruntime.capi._pybind_state": "onnxgpu.capi._pybind_state",
    "onnxruntime.capi.onnxruntime_inference_collection": "onnxgpu.capi.onnxruntime_inference_collection",
    "onnxruntime.capi.onnxruntime_pybind11_state": "onnxgpu.capi.onnxruntime_pybind11_state",
    "onnxruntime.capi.onnxruntime_validation": "onnxgpu.capi.onnxruntime_validation",
}
"""Module of onnxruntime → the module of onnxgpu that stands for it. All others come from onnxruntime itself, if it is installed."""

_PACKAGES = frozenset({"onnxruntime", "onnxruntime.backend", "onnxruntime.capi"})
_TOOLS = frozenset({"onnxruntime.datasets", "onnxruntime.quantization", "onnxruntime.tools", "onnxruntime.transformers"})
_VERSIONED = {"__version__": COMPATIBLE_VERSION, "version": COMPATIBLE_VERSION, "get_version_string": lambda: COMPATIBLE_VERSION}


class _View(ModuleType):
    """Another module under a name of onnxruntime; what a program sets on it stays on it."""

    def __init__(self, spec: ModuleSpec, source: ModuleType) -> None:
        super().__init__(spec.name, source.__doc__)
        self._source = source
        self.__file__ = source.__file__
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        self.__dict__.update((name, value) for name, value in _VERSIONED.items() if hasattr(source, name))

    def __getattr__(self, name: str) -> Any:
        if f"{self.__name__}.{name}" in SERVED:
            return import_module(f"{self.__name__}.{name}")
        try:
            return getattr(self._source, name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r}, which is {self._source.__name__}, has no attribute {name!r}") from None

    def __dir__(self) -> Iterable[str]:
        return sorted({*self.__dict__, *dir(self._source)} - {"_source"})


class OnnxruntimeFinder(DistributionFinder, Loader):
    """Finds `onnxruntime` and its submodules in onnxgpu, and its tools where it is installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of a module of onnxruntime.

        Raises:
            ModuleNotFoundError: a tool of onnxruntime, where the package is not installed.
        """
        if fullname in SERVED:
            return self._served(fullname)
        if fullname in _TOOLS and not real_folders():
            raise ModuleNotFoundError(
                f"{fullname} is a tool of the package onnxruntime, not part of its runtime, and onnxgpu has none of its own. "
                "Install onnxruntime beside onnxgpu to use it: the tool then runs its models with onnxgpu",
                name=fullname,
            )
        return None

    def _served(self, fullname: str) -> ModuleSpec:
        spec = ModuleSpec(fullname, self, origin=import_module(SERVED[fullname]).__file__, is_package=fullname in _PACKAGES)
        if spec.submodule_search_locations is not None:
            folders = [Path(folder, *fullname.split(".")[1:]) for folder in real_folders()]
            spec.submodule_search_locations += [str(folder) for folder in folders if folder.is_dir()]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """A module of onnxgpu under onnxruntime's name."""
        return _View(spec, import_module(SERVED[spec.name]))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Distribution]:
        """The distribution `onnxruntime`, for `importlib.metadata`."""
        name = None if context is None else context.name
        return [CompatibleDistribution()] if name is None or name.lower() == REAL else []


def real_folders() -> list[str]:
    """Where the package onnxruntime is installed; empty if it is not."""
    spec = PathFinder.find_spec(REAL)
    return list(spec.submodule_search_locations or ()) if spec is not None else []


def imported() -> dict[str, ModuleType]:
    """Everything of onnxruntime that is imported now, by name."""
    return {name: module for name, module in sys.modules.items() if name == REAL or name.startswith(f"{REAL}.")}


def real_modules_kept() -> list[str]:
    """Names of the modules that hold a module, class or function of the real onnxruntime, and would keep it."""
    real = {id(module) for module in imported().values() if not isinstance(module.__loader__, OnnxruntimeFinder)}
    if not real:
        return []
    others = [(name, module) for name, module in list(sys.modules.items()) if not _is_of_onnxruntime(name)]
    return sorted(name for name, module in others if isinstance(getattr(module, "__dict__", None), dict) and _holds(module, real))


def _holds(module: ModuleType, real: set[int]) -> bool:
    values = list(module.__dict__.values())
    return any(id(value) in real or (isinstance(value, type) and _is_of_onnxruntime(value.__module__)) for value in values)


def _is_of_onnxruntime(name: object) -> bool:
    return isinstance(name, str) and name.split(".", 1)[0] == REAL
