"""The file in which an audit says which nodes stay in float32; the option `trt_precision_table` names one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxgpu.errors import InvalidArgument, NoSuchFile

VERSION = 1
_FORM = '{"onnxgpu_precision_table": 1, "float32": {"node": "reason"}}'


def table_of(float32: Mapping[str, str], **details: Any) -> dict[str, Any]:
    """The content of a table.

    Args:
        float32: names of nodes or of their outputs → why they stay in float32.
        details: what else a reader may want to know.
    """
    return {"onnxgpu_precision_table": VERSION, "float32": dict(float32), **details}


def read_table(path: Path) -> dict[str, str]:
    """Name of a node or of one of its outputs → why it stays in float32.

    Raises:
        NoSuchFile: there is no such file.
        InvalidArgument: it is no such table.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise NoSuchFile(f"trt_precision_table '{path}' cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgument(f"trt_precision_table '{path}' is no JSON ({error}): {_FORM} is wanted") from None
    if not isinstance(content, dict) or content.get("onnxgpu_precision_table") != VERSION or not isinstance(content.get("float32"), dict):
        raise InvalidArgument(f"'{path}' is no precision table of this version: {_FORM} is wanted, as an audit writes it")
    return {str(name): str(reason) for name, reason in content["float32"].items()}
