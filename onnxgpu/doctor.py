"""Which providers are available here, which libraries were found where, and what is missing."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from onnxgpu import discovery, knobs
from onnxgpu.errors import InvalidArgument
from onnxgpu.release import __version__

PACKAGES = ("numpy", "onnx", "onnx-ir", "ml_dtypes", "rich")


def diagnosis() -> dict[str, Any]:
    """What `onnxgpu doctor` shows: `versions`, `providers` (name, available, cause, libraries), `knobs`."""
    return {
        "versions": {"onnxgpu": __version__, "python": sys.version.split()[0], "platform": platform.platform()}
        | {n: _version(n) for n in PACKAGES},
        "providers": [_provider(name) for name in discovery.providers()],
        "knobs": {knob.name: {"value": _value(knob), "meaning": knob.meaning} for knob in knobs.ALL},
        "conflicts": _conflicts(),
    }


def _provider(name: str) -> dict[str, Any]:
    provider = discovery.providers()[name]
    cause = provider.unavailable()
    libraries = [
        {
            "name": item.name,
            "found": item.found,
            "version": item.version,
            "needed": item.needed,
            "remedy": item.remedy if item.found is None else "",
        }
        for item in provider.libraries()
    ]
    return {"name": name, "available": cause is None, "cause": cause or "", "libraries": libraries}


def _value(knob: knobs.Knob) -> Any:
    """Its value, or what is wrong with it: the doctor is there to tell."""
    try:
        return knob()
    except InvalidArgument as error:
        return error.message


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"


def _conflicts() -> list[str]:
    """Installations that are known to get in one another's way."""
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name) != "missing"]
    if len(both) == 2:
        return ["onnxruntime and onnxruntime-gpu are both installed: they overwrite each other's files (onnxgpu is not affected)"]
    return []
