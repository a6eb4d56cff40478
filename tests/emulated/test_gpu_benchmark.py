"""The report of a GPU, as far as it can be had without one: it says that there is none, checks results, and its clock counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import NO_GPU, compared
from benchmarks.gpu_report import DOCUMENTED, merged, rows_of
from benchmarks.gpu_timing import Clock
from onnxgpu.providers.cuda.device import _driver_problem

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, cuda: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"ONNXGPU_CUDA": cuda})


def test_a_machine_without_a_gpu(tmp_path: Path) -> None:
    if _driver_problem() is None:
        return
    done = run("--out", str(tmp_path / "report"), cuda="device")
    assert done.returncode == NO_GPU
    assert "no GPU to run on" in done.stdout
    assert not (tmp_path / "report").exists()


def test_results_are_checked_and_nothing_is_timed(tmp_path: Path) -> None:
    done = run("--parts", "operators", "--out", str(tmp_path), cuda="emulated")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["operators"] and all(row["right"] for row in report["operators"].values())
    assert not any("_ms" in key for row in report["operators"].values() for key in row)
    assert "nothing was timed" in (tmp_path / "report.md").read_text()


def test_the_sides_have_turns(cp: Any) -> None:
    """Of the emulated device's events only that they are there counts."""
    stream = cp.cuda.Stream(non_blocking=True)
    x, calls = cp.zeros(8, np.float32), []

    def side(name: str) -> Any:
        def work() -> None:
            calls.append(name)
            cp.add(x, 1, out=x)

        return work

    row = compared(Clock(cp, stream), {"onnxgpu": side("a"), "torch": side("b")}, 2, 3)
    assert calls[-12:] == [*"aaabbb", *"bbbaaa"]
    assert row["onnxgpu_ms"] >= 0 and len(row["ratio to torch"]["spread"]) == 2
    heads, rows = rows_of({"Add": row})
    assert len(heads) == len(rows[0])


def test_reports_of_one_gpu_become_one(tmp_path: Path) -> None:
    device, other = {"device": "NVIDIA A"}, {"device": "NVIDIA B"}
    row: dict[str, Any] = {"onnxgpu_ms": 1.0, "ratio to torch": {"median": 0.5, "spread": [0.4, 0.6]}}
    reports: list[dict[str, Any]] = [
        {"device": device, "tests": {"summary": "3 passed"}, "operators": {}},
        {"device": device, "tests": {}, "operators": {"Add": row, "Mul": row}},
        {"device": device, "tests": {}, "operators": {"Mul": {"onnxgpu_ms": 2.0}}},
    ]
    paths = []
    for position, report in enumerate([*reports, {"device": other}]):
        paths.append(tmp_path / f"{position}.json")
        paths[-1].write_text(json.dumps(report))
    assert merged(paths[:2]) == reports[0] | {"operators": {"Add": row, "Mul": row}}
    assert merged(paths[:3]) == reports[0] | {"operators": {"Add": row, "Mul": {"onnxgpu_ms": 2.0}}}
    with pytest.raises(SystemExit, match="NVIDIA B"):
        merged(paths)


def test_what_is_documented_is_measured() -> None:
    """Each column is named as the measurement names it."""
    text = "".join((ROOT / "benchmarks" / name).read_text() for name in ("gpu.py", "gpu_sides.py"))
    names = {key.removeprefix("run ").removeprefix("ratio to ").removesuffix("_ms") for columns in DOCUMENTED.values() for key in columns}
    assert {name for name in names if f'"{name}' not in text} == set()
