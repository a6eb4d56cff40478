"""Where what is built once is kept."""

from __future__ import annotations

import os
from pathlib import Path

from onnxgpu import knobs


def cache_folder() -> Path:
    """That of the environment variable, or the user's."""
    chosen = knobs.CACHE()
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onnxgpu"
