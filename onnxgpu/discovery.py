"""Which providers there are: every folder of `onnxgpu.providers` with a `provider.py`, and installed plug-ins.

A plug-in is an entry point of the group `onnxgpu.providers` that names a `Provider` class, or a class that the program registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from onnxgpu import knobs
from onnxgpu.errors import EPFail, Fail
from onnxgpu.provider import Provider

ENTRY_POINT_GROUP = "onnxgpu.providers"

_registered: dict[str, type[Provider]] = {}


def folders() -> tuple[str, ...]:
    """The provider folders, by name."""
    from pathlib import Path

    root = Path(import_module("onnxgpu.providers").__path__[0])
    return tuple(sorted(path.parent.name for path in root.glob("*/provider.py")))


@cache
def _all() -> dict[str, tuple[str, type[Provider]]]:
    from importlib.metadata import entry_points

    found: dict[str, tuple[str, type[Provider]]] = {}
    for folder in folders():
        provider: type[Provider] = import_module(f"onnxgpu.providers.{folder}.provider").PROVIDER
        found[provider.name] = (folder, provider)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            provider = point.load()
        except Exception as error:
            raise EPFail(
                f"provider plug-in {point.name!r} ({point.value}) could not be imported: {error}; repair or uninstall it"
            ) from error
        if provider.name in found:
            raise EPFail(
                f"provider plug-in {point.name!r} ({point.value}) calls itself {provider.name}, as {found[provider.name][0]!r} does; "
                "uninstall it"
            )
        found[provider.name] = (point.name, provider)
    return found


def providers() -> dict[str, type[Provider]]:
    """Every provider class by onnxruntime's name, in preference order, without those that a knob leaves out."""
    left_out = set(knobs.PROVIDERS_DISABLED())
    known = _all() | {cls.name: (name, cls) for name, cls in _registered.items()}
    enabled = [(folder, name, cls) for name, (folder, cls) in known.items() if folder not in left_out and name not in left_out]
    enabled.sort(key=lambda item: (item[2].preference, item[1]))
    return {name: cls for _, name, cls in enabled}


def registered() -> Mapping[str, type[Provider]]:
    """The providers that the program registered, by the names under which it did."""
    return dict(_registered)


def register(name: str, provider: type[Provider]) -> None:
    """Add a provider under a name of the program's.

    Raises:
        Fail: there is a provider of that class's name already.
    """
    if provider.name in providers():
        raise Fail(f"provider {provider.name} is already registered")
    _registered[name] = provider


def unregister(name: str) -> None:
    """Take away a provider that was registered under `name`.

    Raises:
        Fail: there is none.
    """
    if name not in _registered:
        raise Fail(f"Execution provider library: {name} was not registered.")
    del _registered[name]


def get_available_providers() -> list[str]:
    """Names of the providers that can be used on this machine, in order of preference."""
    return [name for name, cls in providers().items() if cls.listed and not cls.last_resort and cls.unavailable() is None]


def get_all_providers() -> list[str]:
    """Names of all providers onnxgpu has, available here or not."""
    return [name for name, cls in providers().items() if cls.listed and not cls.last_resort]
