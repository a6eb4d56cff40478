"""`import onnxgpu` is light: what it does not import, how long it takes, and what programs import from onnxruntime's modules."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import onnxgpu

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("cudnn", "cupy", "email", "ml_dtypes", "onnx", "onnx_ir", "onnxruntime", "rich", "scipy", "sympy", "tensorrt")
LONGEST_SECONDS = 0.15
ALTERNATIONS = 5
SHARED = {
    "SessionOptions",
    "RunOptions",
    "NodeArg",
    "ModelMetadata",
    "GraphOptimizationLevel",
    "InvalidArgument",
    "Fail",
    "IOBinding",
    "copy_tensors",
}
TIMED = "from time import perf_counter; import numpy; start = perf_counter(); {}; print(perf_counter() - start)"


def child(program: str, **settings: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | settings
    outcome = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_nothing_heavy_is_imported() -> None:
    names = child("import numpy, sys; before = set(sys.modules); import onnxgpu; print(*sorted(set(sys.modules) - before))").split()
    assert [name for name in names if name.split(".")[0] in HEAVY] == []
    assert [name for name in names if name.startswith("onnxgpu.providers")] == []


def test_time_over_numpy(tmp_path: Path) -> None:
    """With byte code, as installers leave it; the quickest of several, since the machine may be busy."""
    kept = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    child(TIMED.format("import onnxgpu"), **kept)
    times = [float(child(TIMED.format("import onnxgpu"), **kept)) for _ in range(ALTERNATIONS)]
    assert min(times) <= LONGEST_SECONDS, times


def test_public_names_exist_and_are_described() -> None:
    assert sorted(onnxgpu.__all__, key=str.lower) == sorted(set(onnxgpu.__all__), key=str.lower)
    for name in onnxgpu.__all__:
        value = getattr(onnxgpu, name)
        assert isinstance(value, str) or inspect.getdoc(value), f"onnxgpu.{name} has no docstring"


@pytest.mark.parametrize("module", ["onnxruntime_pybind11_state", "_pybind_state", "onnxruntime_inference_collection"])
def test_onnxruntime_module_names(module: str) -> None:
    """Programs import errors and classes from there; but for those of the native layer they are the same objects."""
    ours = importlib.import_module(f"onnxgpu.capi.{module}")
    pytest.importorskip("onnxruntime")
    theirs = importlib.import_module(f"onnxruntime.capi.{module}")
    for name in ours.__all__:
        assert hasattr(theirs, name), f"onnxruntime.capi.{module} has no {name}"
        if name in SHARED:
            assert getattr(ours, name) is getattr(onnxgpu, name, getattr(onnxgpu.errors, name, None))


def test_every_error_of_onnxruntime_is_there() -> None:
    state = pytest.importorskip("onnxruntime").capi.onnxruntime_pybind11_state
    errors = [name for name, value in vars(state).items() if inspect.isclass(value) and issubclass(value, Exception)]
    assert errors
    assert [name for name in errors if not issubclass(getattr(onnxgpu.errors, name, int), onnxgpu.OnnxGpuError)] == []
