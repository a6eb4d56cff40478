"""Stage 4: placed graph to placed graph, one rule a file."""

from __future__ import annotations

from typing import Any


def fuse(model: Any, placement: Any, *, level: int) -> Any:
    return placement
