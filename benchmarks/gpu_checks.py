"""What has to be right on a GPU: `pytest -m gpu`, onnx's node tests, and what NVIDIA's compute-sanitizer finds in our kernels."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.side import ROOT, cores

Row = dict[str, Any]
CASES = "tests/gpu/test_operator_cases.py"
TOOLS = ("memcheck", "racecheck", "synccheck")
_COUNTS = ("wholly_on_cuda", "mixed", "cpu_only", "not_loaded", "right", "wrong")
_PYTEST = ("-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-p", "no:benchmark")  # a plug-in that is against processes


def run_tests() -> Row:
    """`pytest -m gpu`, a process a core: its last line and whether it passed."""
    done = _finished([sys.executable, *_PYTEST, "-n", str(cores()), "tests/gpu"])
    lines = done.splitlines() or ["pytest said nothing"]
    return {"passed": _passed(lines[-1]), "summary": lines[-1], "failures": [line for line in lines if line.startswith("FAILED")]}


def run_suite() -> Row:
    """onnx's node tests with CUDA first: where they run, and which results are not the expected ones."""
    counts: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{part}.json") for part in range(cores())]
        script = str(ROOT / "benchmarks" / "placement.py")
        commands = [[sys.executable, script, "--part", f"{part + 1}/{len(paths)}", "--json", str(path)] for part, path in enumerate(paths)]
        environment = {"ONNXGPU_CUDA": os.environ.get("ONNXGPU_CUDA", ""), "PYTHONFAULTHANDLER": "1"}
        started = [_started(command, **environment) for command in commands]
        outputs = [process.communicate()[0] for process in started]
        for process, path, output in zip(started, paths, outputs, strict=True):
            if not path.exists():
                summary = f"benchmarks/placement.py ended with status {process.returncode}"
                return {"passed": False, "summary": summary, "said": output.partition("Extension modules:")[0][-6000:]}
            found = json.loads(path.read_text())
            counts.update({name: found[name] for name in _COUNTS})
            wrong |= found["wrong_cases"]
    return {"passed": not counts["not_loaded"], "summary": ", ".join(f"{name} {counts[name]}" for name in _COUNTS), "wrong": wrong}


def run_sanitizer(tools: Sequence[str] = TOOLS) -> Row:
    """The operator cases under compute-sanitizer, a process a core, one tool after the other."""
    if shutil.which("compute-sanitizer") is None:
        return {"passed": True, "summary": "compute-sanitizer is not on the PATH"}
    found, said = [], {}
    for tool in tools:
        checked = [
            "compute-sanitizer",
            "--tool",
            tool,
            "--report-api-errors",
            "no",
            "--error-exitcode",
            "3",
            sys.executable,
            *_PYTEST,
            CASES,
        ]
        processes = [_started([*checked, "--part", f"{part + 1}/{cores()}"]) for part in range(cores())]
        outputs = [process.communicate()[0] for process in processes]
        tests: Counter[str] = Counter()
        for output in outputs:
            tests.update({name: int(count) for count, name in re.findall(r"(\d+) (passed|failed|skipped)", output)})
        bad = [output for process, output in zip(processes, outputs, strict=True) if process.returncode]
        found.append(f"{tool}: {tests['passed']} cases, {len(bad)} processes with findings")
        if bad or not tests["passed"]:
            said[tool] = (bad or outputs)[0][-3000:]
    return {"passed": not said, "summary": "; ".join(found), "findings": said}


def _passed(line: str) -> bool:
    return " passed" in line and "failed" not in line and "error" not in line


def _finished(command: Sequence[str]) -> str:
    return _started(command).communicate()[0].strip()


def _started(command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
