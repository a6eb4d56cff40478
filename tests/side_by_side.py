"""The same program run with onnxruntime and with onnxgpu: what it gives, or the error and the beginning of its text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu

ort = pytest.importorskip("onnxruntime")
ort.set_default_logger_severity(4)

CPU = ["CPUExecutionProvider"]
SOURCE_PATH = re.compile(r"(/onnxruntime_src/|\n\nInvoked with|: incompatible).*", re.DOTALL)


def session(module: ModuleType, model: onnx.ModelProto, **sizes: int) -> Any:
    """A session of either module; `sizes` override symbolic dimensions."""
    options = module.SessionOptions()
    for name, size in sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    return module.InferenceSession(model.SerializeToString(), options, providers=CPU)


def described(value: Any) -> Any:
    """`value` with everything a program can tell apart: types, dtypes, shapes and contents."""
    if isinstance(value, np.ndarray):
        return ("array", str(value.dtype), value.shape, value.tolist())
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(described(item) for item in value)]
    if isinstance(value, dict):
        return ["dict", *((type(key).__name__, key, described(item)) for key, item in value.items())]
    return (type(value).__name__, value)


def outcome(program: Callable[[ModuleType], Any], module: ModuleType) -> tuple[str, Any]:
    """`("gives", …)`, or the name of the exception's class and its text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "gives", described(program(module))
        except Exception as error:
            return type(error).__name__, str(error)


def assert_same(program: Callable[[ModuleType], Any]) -> None:
    """Equal results; or the same class of error, and a text that begins with onnxruntime's up to its first source path."""
    kind, expected = outcome(program, ort)
    actual_kind, actual = outcome(program, onnxgpu)
    assert actual_kind == kind, f"onnxruntime {kind}: {expected}\nonnxgpu {actual_kind}: {actual}"
    if kind == "gives":
        assert actual == expected, f"onnxruntime: {expected}\nonnxgpu:     {actual}"
    else:
        beginning = SOURCE_PATH.sub("", expected).rstrip()
        assert actual.startswith(beginning), f"{actual!r} does not begin with {beginning!r}"
