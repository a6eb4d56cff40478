"""The shape of the tree: its two links, their guards, the size of its files, and what no file may hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FILE = 400
TEXT_SUFFIXES = {"", ".cfg", ".cpu", ".cu", ".cuh", ".gpu", ".html", ".in", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
SKIPPED_FOLDERS = {"build", "dist", "node_modules", "venv"}
MACHINE_PATH = re.compile(r"(?<![\w./~$-])(?:/(?:home|root|Users|work|mnt|scratch)/[\w.-]+|/tmp/\w+|[A-Z]:\\Users\\)")
IMAGE_PATHS = {"docker/Dockerfile.cpu", "docker/Dockerfile.gpu"}


def texts() -> Iterator[tuple[str, str]]:
    """Path from the root and content of each text file of the tree, links not followed."""
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [name for name in subfolders if name not in SKIPPED_FOLDERS and not name.endswith((".egg-info", "__pycache__"))]
        subfolders[:] = [name for name in subfolders if not name.startswith(".") or name == ".ci"]
        for name in names:
            if name == ".git":  # in a worktree, a file that says where the repository is
                continue
            path = Path(folder, name)
            if path.suffix in TEXT_SUFFIXES and not path.is_symlink():
                yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


@pytest.mark.parametrize("name", ["providers", "kernels"])
def test_link_is_a_link_to_the_folder_beside_the_package(name: str) -> None:
    link = ROOT / "onnxgpu" / name
    assert link.is_symlink(), f"onnxgpu/{name} must be a link (on Windows: `git config core.symlinks true` and check out again)"
    assert link.readlink().as_posix() == f"../{name}"
    assert link.resolve() == (ROOT / name).resolve()
    assert any((ROOT / name).iterdir())


def test_providers_are_not_importable_by_the_folders_name() -> None:
    outcome = subprocess.run([sys.executable, "-c", "import providers"], cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 1
    assert "ImportError: import this package as `onnxgpu.providers`" in outcome.stderr


def test_kernels_are_sources_only() -> None:
    assert not (ROOT / "kernels/__init__.py").exists()
    assert {path.suffix for path in (ROOT / "kernels").rglob("*") if path.is_file() and "__pycache__" not in path.parts} <= {".cu", ".cuh"}


@pytest.mark.parametrize("folder", ["onnxgpu", "providers", "kernels"])
def test_a_file_is_one_idea(folder: str) -> None:
    lengths = {path: text.count("\n") for path, text in texts() if path.startswith(f"{folder}/") and not path.endswith(".json")}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_file_names_a_path_of_one_machine() -> None:
    found = {path: match.group() for path, text in texts() if path not in IMAGE_PATHS and (match := MACHINE_PATH.search(text))}
    assert found == {}


def test_only_one_provider_runs_the_reference_evaluator() -> None:
    importing = {path for path, text in texts() if re.search(r"^\s*(from|import) onnx\.reference", text, re.MULTILINE)}
    assert {path for path in importing if path.startswith(("onnxgpu/", "providers/"))} == {"providers/reference/provider.py"}


def contract(name: str) -> dict[str, list[str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    return next(dict(each) for each in settings["contracts"] if each["name"].startswith(name))


def test_every_module_of_the_core_is_under_contract() -> None:
    """A new module of the core is held to name no provider; `__main__` only starts the command line."""
    folders = (path for path in (ROOT / "onnxgpu").iterdir() if path.is_dir() and not path.is_symlink() and any(path.glob("*.py")))
    modules = {path.stem for path in (ROOT / "onnxgpu").glob("*.py")} | {path.name for path in folders}
    present = {f"onnxgpu.{name}" for name in modules - {"__init__", "__main__"}}
    assert present == set(contract("The core")["source_modules"]), "list the module in pyproject.toml, tool.importlinter.contracts"
