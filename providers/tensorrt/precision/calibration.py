"""Calibration tables: the largest magnitude that each value had while a model ran on samples.

onnxruntime.quantization writes one calibration in three forms (`write_calibration_table`): a flatbuffer, JSON, and lines of name and
number. TensorRT's own cache has lines of name and the bits of a float32: the scale, which 127 steps make the magnitude.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxgpu.adapters.flatbuffer import Table
from onnxgpu.errors import InvalidArgument, NoSuchFile

STEPS = 127
"""Of int8, on each side of 0."""

_NATIVE = "TRT-"
_FORMS = "a file of onnxruntime.quantization's write_calibration_table (calibration.flatbuffers, calibration.json, calibration.cache)"


def read_ranges(path: Path, *, native: bool) -> dict[str, float]:
    """Value → its largest magnitude.

    Args:
        path: of the file; the form is told by its content.
        native: it is TensorRT's own cache.

    Raises:
        NoSuchFile: there is no such file.
        InvalidArgument: it has another form, or nothing in it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NoSuchFile(f"the calibration table '{path}' cannot be read ({error.strerror}): {_FORMS} is wanted") from None
    try:
        ranges = _native(content) if native else _ranges(content)
    except (ValueError, struct.error, IndexError, AttributeError, TypeError) as error:
        wanted = "TensorRT's own cache (its first line begins with TRT-)" if native else _FORMS
        raise InvalidArgument(f"'{path}' is no calibration table: {error}. Wanted is {wanted}") from None
    if wrong := [name for name, value in ranges.items() if not math.isfinite(value) or value < 0]:
        raise InvalidArgument(f"the calibration table '{path}' has {ranges[wrong[0]]} for '{wrong[0]}': a finite magnitude is wanted")
    if not ranges:
        raise InvalidArgument(f"the calibration table '{path}' is empty: calibrate with samples first")
    return ranges


def _ranges(content: bytes) -> dict[str, float]:
    if content.lstrip().startswith(b"{"):
        return _json(json.loads(content))
    if b"\0" in content:
        return _flatbuffer(content)
    text = content.decode()
    if text.startswith(_NATIVE):
        raise ValueError("it is TensorRT's own: set trt_int8_use_native_calibration_table=1 to use it")
    return dict(_line(line, " ") for line in text.splitlines() if line.strip())


def _line(line: str, separator: str) -> tuple[str, float]:
    name, found, number = line.strip().rpartition(separator)
    if not found:
        raise ValueError(f"a line has no '{separator}' between name and number: {line[:60]!r}")
    return name.strip(), abs(float(number))


def _native(content: bytes) -> dict[str, float]:
    first, *lines = content.decode().splitlines() or [""]
    if not first.startswith(_NATIVE):
        raise ValueError(f"the first line is {first[:60]!r}")
    return dict(_scale(line) for line in lines if line.strip())


def _scale(line: str) -> tuple[str, float]:
    name, found, bits = line.strip().rpartition(":")
    if not found:
        raise ValueError(f"a line has no ':' between name and scale: {line[:60]!r}")
    (scale,) = struct.unpack(">f", int(bits, 16).to_bytes(4, "big"))
    return name.strip(), float(scale) * STEPS


def _json(data: Mapping[str, Any]) -> dict[str, float]:
    held = data["data"] if data.get("CLS") == "TensorsData" else data
    return {name: _magnitude(entry) for name, entry in held.items()}


def _magnitude(entry: Any) -> float:
    ends = [entry.get("lowest"), entry.get("highest")] if isinstance(entry, dict) else entry
    numbers = [abs(number) for end in (ends if isinstance(ends, list) else [ends]) for number in _numbers(end)]
    if not numbers:
        raise ValueError(f"an entry has neither a lowest nor a highest number: {str(entry)[:60]}")
    return max(numbers)


def _numbers(end: Any) -> list[float]:
    if isinstance(end, dict):
        return _numbers(end["data"])
    if isinstance(end, list):
        return [number for inner in end for number in _numbers(inner)]
    return [] if end is None else [float(end)]


def _flatbuffer(content: bytes) -> dict[str, float]:
    """`table KeyValue { key: string; value: string; }  table TrtTable { dict: [KeyValue]; }`, of onnxruntime's cal_table.fbs."""
    data = memoryview(content)
    entries = [Table(data, position) for position in Table.root(data).tables(0)]
    texts = [(bytes(entry.vector(0, 1)).decode(), bytes(entry.vector(1, 1)).decode()) for entry in entries]
    return {name: abs(float(number)) for name, number in texts}
