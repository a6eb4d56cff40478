"""Providers that take the place of those that programs name: of `as_onnxruntime`, else of a knob."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxgpu import knobs
from onnxgpu.log import logger

Requested = str | tuple[str, Mapping[Any, Any]]
"""A provider's name, or its name and options."""

_forced: tuple[Requested, ...] | None = None
_said: set[str] = set()


def force(providers: Sequence[Requested] | None) -> None:
    """Sessions made from here on use `providers`, whatever they are given; None: what they are given."""
    global _forced
    _forced = None if providers is None else tuple(providers)


def forced() -> Sequence[Requested] | None:
    """What `force` was given."""
    return _forced


def override() -> Sequence[Requested] | None:
    """The providers to use in place of those that a program names, if any; says so in the log, once."""
    if _forced is not None:
        providers, source = _forced, "as_onnxruntime(providers=…)"
    elif knobs.PROVIDERS():
        providers, source = knobs.PROVIDERS(), knobs.PROVIDERS.name
    else:
        return None
    text = ",".join(item if isinstance(item, str) else f"{item[0]} {dict(item[1])}" for item in providers)
    if f"{source}={text}" not in _said:
        _said.add(f"{source}={text}")
        logger.warning("%s: sessions use %s in place of the providers that programs name", source, text)
    return providers
