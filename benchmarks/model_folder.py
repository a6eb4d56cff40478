"""Where the benchmark models are: in a folder the caller gives, or made once in a cache folder."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.recipes import model_names
from benchmarks.side import child_environment


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --models, --only and --small."""
    parser.add_argument("--models", type=Path, help="folder with .onnx files; without it the nine models are made in the cache folder")
    parser.add_argument("--only", default="", help="comma-separated names of models, without .onnx")
    parser.add_argument("--small", action="store_true", help="without --models: the small variants")


def cache_folder(small: bool) -> Path:
    """Where made models are kept: below XDG_CACHE_HOME, or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "onnxgpu" / ("benchmark_models_small" if small else "benchmark_models")


def find_models(folder: Path | None, only: str = "", *, small: bool = False) -> list[Path]:
    """Paths of the models asked for, made where they are missing and `folder` is None.

    Raises:
        SystemExit: a named model is not in the folder, the folder is empty, or models cannot be made here.
    """
    names = [name for name in only.split(",") if name]
    if folder is None:
        folder = cache_folder(small)
        _make(folder, names, small)
    present = sorted(folder.glob("*.onnx"), key=lambda path: _position(path.stem, model_names()))
    chosen = [path for path in present if not names or path.stem in names]
    missing = sorted(set(names) - {path.stem for path in chosen})
    if missing or not chosen:
        raise SystemExit(f"{folder}: no model {', '.join(missing) or '*.onnx'}; there are {', '.join(p.stem for p in present) or 'none'}")
    return chosen


def _position(name: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _make(folder: Path, names: list[str], small: bool) -> None:
    command = [sys.executable, str(Path(__file__).with_name("models.py")), str(folder), "--only", ",".join(names)]
    made = subprocess.run([*command, *(["--small"] if small else [])], env=child_environment(), check=False)
    if made.returncode:
        raise SystemExit("the models could not be made: install `onnxgpu[bench]`, or give --models a folder of .onnx files")
