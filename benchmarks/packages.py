"""Run ten packages written for onnxruntime with onnxgpu in its place, unchanged, and compare what they answer.

`python benchmarks/packages.py --json result.json` installs the packages from the package index into a new virtual
environment (`--venv DIR` keeps it for the next time), runs each with onnxruntime and with onnxgpu in its place
(`as_onnxruntime`), and writes `packages: name → {same, differences, seconds, ours_seconds, again_seconds, ours_again_seconds,
fault, sessions}`: the seconds of the first time, with imports and loading, and of the fastest after it. onnxgpu comes from this checkout.
The exit status is 1 if a package fails or answers something else.

`--cuda` has CUDA first in every session, on the emulated device unless `ONNXGPU_CUDA` says otherwise. `sessions` then tells for each how
many nodes are on CUDA, how many belong to the host, and which CUDA refuses; a package with one of these fails.
`--openvino` has OpenVINO first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from benchmarks.report import conditions, print_table, save_json
from benchmarks.side import ROOT, child_environment

TOLERANCE = {"boxes": 5e-3}
"""Largest max|a−b| / max|b| for numbers with this name; a box may shift by a pixel, since it is cut from a thresholded map."""
DEFAULT_TOLERANCE = 1e-3
ONNXRUNTIME = "onnxruntime>=1.23"
OPENVINO_FIRST = {"ONNXGPU_PROVIDERS": "OpenVINOExecutionProvider,CPUExecutionProvider", "ONNXGPU_STRICT": "1"}
EMULATED = "emulated"
"""The value of ONNXGPU_CUDA for the emulated device, whose seconds say nothing of a GPU: there nothing is done again."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package to try.

    Attributes:
        requirement: its exact version.
        needs: what it needs of its dependencies, installed in their place; None: all that it declares.
    """

    requirement: str
    needs: tuple[str, ...] | None = None


PACKAGES: dict[str, Package] = {
    "magika": Package("magika==1.0.3", ("click", "python-dotenv")),
    "nudenet": Package("nudenet==3.4.2", ("opencv-python-headless", "Pillow")),
    "basic-pitch": Package(
        "basic-pitch==0.4.0",
        ("librosa", "mir_eval", "pretty_midi", "resampy<0.4.3", "scikit-learn", "scipy", "setuptools<81", "typing_extensions"),
    ),
    "rapidocr-onnxruntime": Package(
        "rapidocr-onnxruntime==1.4.4", ("opencv-python-headless", "pyclipper", "Shapely", "PyYAML", "Pillow", "six", "tqdm")
    ),
    "faster-whisper": Package("faster-whisper==1.2.1"),
    "silero-vad": Package("silero-vad==6.2.3", ("packaging", "torch==2.13.0")),
    "openwakeword": Package("openwakeword==0.4.0", ("scikit-learn", "scipy", "tqdm")),
    "ddddocr": Package("ddddocr==1.6.1", ("opencv-python-headless", "Pillow")),
    "text2tashkeel": Package("text2tashkeel==0.1.0", ()),
    "luscinia": Package("luscinia==1.0.0", ()),
}
"""Their models are in the packages; nothing is downloaded. torch is what silero-vad hands audio over in."""


class PackageFault(Exception):
    """A package could not be run; holds the end of what it printed."""


def install(folder: Path, packages: Sequence[str], extra: str | None = None) -> Path:
    """Install the packages into the environment at `folder`, made if it is not there; returns its Python.

    Args:
        extra: an extra of onnxgpu whose packages are wanted, too.

    Raises:
        SystemExit: pip failed.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    chosen = [PACKAGES[name] for name in packages]
    alone = [p.requirement for p in chosen if p.needs is not None]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    others = [p.requirement for p in chosen if p.needs is None] + sorted({need for p in chosen for need in p.needs or ()})
    if alone:
        _pip(python, "--no-deps", *alone)
    _pip(python, ONNXRUNTIME, *own, *others)
    return python


def _pip(python: Path, *arguments: str) -> None:
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(f"pip could not install {' '.join(arguments)}: see above")


def run_task(
    python: Path, package: str, module: str, limit: float, cuda: str | None = None, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What the package answers with `module` as onnxruntime: `answer`, `seconds`, `sessions`.

    Args:
        cuda: the value of ONNXGPU_CUDA with which every session has CUDA first; None: sessions have the providers that the package names.
        variables: more of the environment.

    Raises:
        PackageFault: it raised or took more than `limit` seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        script = Path(__file__).with_name("package_tasks.py")
        command = [str(python), str(script), package, "--module", module, "--out", str(out)]
        environment = child_environment(variables)
        if cuda is not None:
            command += ["--cuda", "--repeat", "0" if cuda == EMULATED else "2"]
            environment |= {"ONNXGPU_CUDA": cuda, "ONNXGPU_STRICT": "1"}
        try:
            done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            raise PackageFault(f"with {module}: took more than {limit:g} s") from None
        if done.returncode or not out.exists():
            raise PackageFault(f"with {module}: exit status {done.returncode}: …{(done.stderr or done.stdout).strip()[-1500:]}")
        answer: dict[str, Any] = json.loads(out.read_text())
        if module not in Path(answer["runtime"]).parts:
            raise PackageFault(f"with {module}: `import onnxruntime` gave {answer['runtime']}")
        return answer


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """In what two answers differ, in words; words and counts must be equal, numbers close."""
    if ours.keys() != theirs.keys():
        return [f"answers have different parts: {sorted(ours)} and {sorted(theirs)}"]
    return [text for key in theirs for text in _difference(key, ours[key], theirs[key], TOLERANCE.get(key, DEFAULT_TOLERANCE))]


def _difference(where: str, ours: Any, theirs: Any, tolerance: float) -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict) and ours.keys() == theirs.keys():
        return [text for key in theirs for text in _difference(f"{where}.{key}", ours[key], theirs[key], tolerance)]
    a, b = _numbers(ours), _numbers(theirs)
    if a is None or b is None:
        same = ours == theirs or _alike(ours, theirs, tolerance)
        return [] if same else [f"{where}: {_short(ours)} where onnxruntime gives {_short(theirs)}"]
    if a.shape != b.shape:
        return [f"{where}: shape {list(a.shape)} where onnxruntime gives {list(b.shape)}"]
    error = float(np.abs(a - b).max() / (np.abs(b).max() or 1.0)) if b.size else 0.0
    return [] if error <= tolerance else [f"{where}: numbers differ by {error:.2g} of the largest; expected at most {tolerance:g}"]


def _alike(ours: Any, theirs: Any, tolerance: float) -> bool:
    if not (isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs)):
        return False
    return not any(text for a, b in zip(ours, theirs, strict=True) for text in _difference("", a, b, tolerance))


def _numbers(value: Any) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array.astype(np.float64) if array.dtype.kind in "iufb" else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def compare_package(
    python: Path, package: str, module: str, limit: float, cuda: str | None = None, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run one package with both modules: `same`, `differences`, the seconds of each, the `fault` if one failed, its `sessions` on CUDA."""
    try:
        theirs = run_task(python, package, "onnxruntime", limit)
        ours = run_task(python, package, module, limit, cuda, variables)
    except PackageFault as fault:
        seconds = dict.fromkeys(("seconds", "ours_seconds", "again_seconds", "ours_again_seconds"))
        return {"same": False, "differences": [], **seconds, "fault": str(fault), "sessions": []}
    found = differences(ours["answer"], theirs["answer"])
    return {
        "same": not found,
        "differences": found,
        "seconds": theirs["seconds"],
        "ours_seconds": ours["seconds"],
        "again_seconds": theirs["again_seconds"],
        "ours_again_seconds": ours["again_seconds"],
        "fault": None,
        "sessions": ours["sessions"],
    }


def is_wholly_on_cuda(result: Mapping[str, Any]) -> bool:
    """Whether every session of a package has nodes on CUDA, and none that CUDA refuses."""
    sessions = result["sessions"]
    return bool(sessions) and all(session["on_cuda"] and not session["refused"] for session in sessions)


def show(results: Mapping[str, Mapping[str, Any]], module: str) -> None:
    """Print the table, and what differed or failed."""
    rows = [
        [
            PACKAGES[name].requirement,
            "same" if r["same"] else "FAILED" if r["fault"] else "DIFFERENT",
            *(_seconds(r[key]) for key in ("ours_seconds", "seconds", "ours_again_seconds", "again_seconds")),
        ]
        for name, r in results.items()
    ]
    print_table(
        f"packages written for onnxruntime, run with {module}",
        ["package", "answer", f"{module} s", "onnxruntime s", "again", "again"],
        rows,
    )
    for name, result in results.items():
        for text in [*result["differences"], *([result["fault"]] if result["fault"] else [])]:
            print(f"{name}: {text}")


def show_sessions(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Print where the nodes of each session are, and why they are not on CUDA."""
    sessions = [(name, session) for name, result in results.items() for session in result["sessions"]]
    rows = [
        [
            name,
            s["model"],
            "wholly" if not s["refused"] else "IN PART",
            str(s["on_cuda"]),
            *(str(sum(s[k].values())) for k in ("on_host", "refused")),
        ]
        for name, s in sessions
    ]
    print_table("sessions with CUDA first", ["package", "model", "on CUDA", "nodes", "the host's", "refused"], rows)
    for name, session in sessions:
        for key, where in (("on_host", "nodes are the host's"), ("refused", "nodes are refused by CUDA")):
            for reason, count in session[key].items():
                print(f"{name}, {session['model']}: {count} {where}: {reason}")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Run packages written for onnxruntime with onnxgpu in its place.")
    parser.add_argument("--only", default="", help=f"comma-separated names out of {', '.join(PACKAGES)}")
    parser.add_argument("--module", default="onnxgpu", help="the stand-in; `onnxruntime` checks the script itself")
    first = parser.add_mutually_exclusive_group()
    first.add_argument(
        "--cuda", action="store_true", help="CUDA first in every session; on the emulated device, unless ONNXGPU_CUDA is set"
    )
    first.add_argument("--openvino", action="store_true", help="OpenVINO first in every session")
    parser.add_argument("--venv", type=Path, help="virtual environment to use or make; without it a temporary one")
    parser.add_argument("--no-install", action="store_true", help="the environment has everything already")
    parser.add_argument("--limit", type=float, default=600.0, help="most seconds for one package (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the result goes")
    options = parser.parse_args(arguments)
    names = [name for name in options.only.split(",") if name] or list(PACKAGES)
    if unknown := sorted(set(names) - set(PACKAGES)):
        parser.error(f"unknown package {', '.join(unknown)}; known: {', '.join(PACKAGES)}")
    if options.no_install and options.venv is None:
        parser.error("--no-install needs --venv")
    if (options.cuda or options.openvino) and options.module != "onnxgpu":
        parser.error("--cuda and --openvino need --module onnxgpu")
    cuda = os.environ.get("ONNXGPU_CUDA", EMULATED) if options.cuda else None
    extra = "openvino" if options.openvino else None if cuda is None else "emulator" if cuda == EMULATED else "cuda13"
    variables = OPENVINO_FIRST if options.openvino else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.venv or Path(temporary) / "venv"
        python = folder.resolve() / "bin" / "python" if options.no_install else install(folder.resolve(), names, extra)
        results = {name: compare_package(python, name, options.module, options.limit, cuda, variables) for name in names}
    show(results, options.module)
    if options.cuda:
        show_sessions(results)
    if options.json:
        save_json({**conditions(), "module": options.module, "packages": results}, options.json)
    if not all(result["same"] and (is_wholly_on_cuda(result) or not options.cuda) for result in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
