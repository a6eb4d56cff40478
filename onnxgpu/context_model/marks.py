"""What a model's metadata says of its engines: version and hardware, so that a program can ask whether they fit without loading them."""

from __future__ import annotations

import json

from onnxgpu.segment_provider import Engine

COMPATIBILITY = "ep_compatibility_info."
"""A provider's name follows; onnxruntime's key."""


def marks(engine: Engine) -> str:
    """Version and hardware of `engine`, as text."""
    return json.dumps({"version": engine.version, "hardware": engine.hardware})


def marks_in(text: str) -> tuple[str, str] | None:
    """Version and hardware from the text of `marks`; None if it is something else."""
    try:
        told = json.loads(text)
        return str(told["version"]), str(told["hardware"])
    except (ValueError, TypeError, KeyError):
        return None
