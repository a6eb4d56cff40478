"""Compiled segments in the cache: OpenVINO's bytes, and what its model told when it was compiled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import SEEK_END
from typing import Any

from onnxgpu.log import logger
from onnxgpu.providers.openvino.engine import imported, reason_of

_LENGTH_BYTES = 4


def content_of(compiled: Any, passed: Mapping[int, int]) -> memoryview:
    """A compiled model with the outputs that are inputs: its bytes, a JSON object, and the length of that."""
    stream = compiled.export_model()
    stream.seek(0, SEEK_END)
    notes = json.dumps({"passed": passed}).encode()
    stream.write(notes + len(notes).to_bytes(_LENGTH_BYTES, "little"))
    view: memoryview = stream.getbuffer()
    return view


def read(content: bytes | memoryview, device: str, settings: Mapping[str, Any]) -> tuple[Any, dict[int, int]] | None:
    """The compiled model of `content_of`, which uses that memory, and its outputs that are inputs; None if OpenVINO does not take it."""
    end = len(content) - _LENGTH_BYTES
    begin = end - int.from_bytes(content[end:], "little")
    try:
        notes = json.loads(bytes(content[max(begin, 0) : end]))
        compiled = imported(content[:begin], device, settings)
    except (RuntimeError, ValueError) as error:
        logger.warning("OpenVINO does not take the compiled segment from the cache (%s): it is compiled again", reason_of(error))
        return None
    return compiled, {int(output): int(source) for output, source in notes["passed"].items()}
