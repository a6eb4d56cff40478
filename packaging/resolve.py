"""Resolve the GPU extras against the configured package index, without installing, and print their download size.

    python packaging/resolve.py                         # CUDA 12 and 13, for Python 3.11
    python packaging/resolve.py --extra openvino ray --python 3.11 3.12 3.13 3.14

For each pair of extra and Python version pip resolves what `pip install "onnxgpu[extra]"` would fetch; the sizes are
those the index serves, in MB (10^6 bytes), and the exit status is 1 if any pair does not resolve.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
WHEEL_TAGS = ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"]

FROM_SOURCE = ("pycuda",)
"""Packages of which the index has no wheels; they are compiled where they are installed."""


class Unresolvable(Exception):
    """pip found no set of wheels for the requirements."""


@dataclass(frozen=True)
class Download:
    """One file that pip would fetch; `size` is in bytes."""

    name: str
    version: str
    size: int


def requirements(extra: str, python: str) -> list[str]:
    """The requirements of `onnxgpu[extra]` in pyproject.toml that this Python version has; pip takes markers for its own Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    stated = [Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"][extra])]
    return [str(each).partition(";")[0] for each in stated if each.marker is None or each.marker.evaluate({"python_version": python})]


def resolve(wanted: list[str], python: str) -> list[dict[str, Any]]:
    """What pip would install for `wanted` on Linux x86-64 with this Python version.

    Raises:
        Unresolvable: with pip's own words.
    """
    sources = [text for text in wanted if Requirement(text).name in FROM_SOURCE]
    found = _asked("--no-deps", *(f"--no-binary={name}" for name in FROM_SOURCE), *sources) if sources else []
    needed = [Requirement(text) for item in found for text in item["metadata"].get("requires_dist", ())]
    wheels = [text for text in wanted if text not in sources]
    wheels += [
        str(each).partition(";")[0]
        for each in needed
        if each.marker is None or each.marker.evaluate({"python_version": python, "extra": ""})
    ]
    return found + _asked("--only-binary=:all:", f"--python-version={python}", *(f"--platform={tag}" for tag in WHEEL_TAGS), *wheels)


def _asked(*arguments: str) -> list[dict[str, Any]]:
    """Pip's report of what it would install."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--dry-run", "--ignore-installed", "--quiet", f"--report={report}", f"--target={folder}"]
        outcome = subprocess.run([sys.executable, "-m", "pip", "install", *options, *arguments], capture_output=True, text=True)
        if outcome.returncode:
            said = [line for line in outcome.stderr.splitlines() if line.startswith("ERROR")]
            raise Unresolvable("\n".join(said) or f"pip ended with status {outcome.returncode}")
        found: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["install"]
        return found


def download(item: dict[str, Any]) -> Download:
    """Name, version and size of one entry of pip's report."""
    request = urllib.request.Request(item["download_info"]["url"], method="HEAD")
    with urllib.request.urlopen(request, timeout=60) as response:
        size = int(response.headers["Content-Length"])
    return Download(item["metadata"]["name"], item["metadata"]["version"], size)


def report(extra: str, python: str, *, details: bool) -> bool:
    """Print one pair of extra and Python version; false if it does not resolve."""
    title = f"onnxgpu[{extra}], Python {python}"
    try:
        downloads = sorted((download(item) for item in resolve(requirements(extra, python), python)), key=lambda each: -each.size)
    except Unresolvable as error:
        print(f"{title}: does not resolve\n{error}")
        return False
    print(f"{title}: {sum(each.size for each in downloads) / 1e6:.0f} MB in {len(downloads)} files")
    for each in downloads if details else []:
        print(f"  {each.size / 1e6:8.1f} MB  {each.name} {each.version}")
    return True


def main() -> int:
    """Resolve every pair asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extra", nargs="+", default=["cuda12", "cuda13"], help="extras of pyproject.toml")
    parser.add_argument("--python", nargs="+", default=["3.11"], help="Python versions")
    parser.add_argument("--brief", action="store_true", help="totals only")
    options = parser.parse_args()
    results = [report(extra, python, details=not options.brief) for extra in options.extra for python in options.python]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
