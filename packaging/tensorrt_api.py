"""Write, or check, what the stand-in of `tensorrt` knows of its API, from NVIDIA's bindings.

    python packaging/tensorrt_api.py            # writes providers/tensorrt/stand_in/api_*.json
    python packaging/tensorrt_api.py --check    # compares with them, and what the stand-in takes with what the bindings take

The wheels of the bindings come from the package index. They hold the real module, without the libraries behind it; `tensorrt_answers.cpp`
takes their place, so that the module can be imported and called, and nothing of TensorRT runs.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = ROOT / "providers" / "tensorrt" / "stand_in"
PROBING = Path(__file__).with_name("tensorrt_probing.py")
AGREEMENT = Path(__file__).with_name("tensorrt_agreement.py")
ANSWERS = Path(__file__).with_name("tensorrt_answers.cpp")

WHEELS = {"10.13": "tensorrt-cu13-bindings==10.13.3.9", "11.4": "tensorrt-cu13-bindings==11.4.0.106"}
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")


def install(version: str, folder: Path) -> None:
    """The bindings of one version, in a folder that can be imported from."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", f"--target={folder}"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, WHEELS[version]], check=True)


def libraries(version: str, folder: Path) -> None:
    """What the bindings load by these names, with nothing of TensorRT behind it."""
    for library in LIBRARIES:
        name = f"lib{library}.so.{version.partition('.')[0]}"
        subprocess.run(["c++", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, ANSWERS], check=True)


def run(script: Path, version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script of this folder, where the bindings of one version can be imported."""
    with tempfile.TemporaryDirectory() as name:
        install(version, Path(name))
        libraries(version, Path(name))
        places = {"PYTHONPATH": f"{name}{os.pathsep}{ROOT}", "LD_LIBRARY_PATH": name, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run([sys.executable, script, *arguments], env=os.environ | places, capture_output=True, text=True)


def api(version: str) -> str:
    """The API of one version, as JSON."""
    found = run(PROBING, version)
    if found.returncode:
        raise RuntimeError(f"{PROBING.name} failed:\n{found.stderr}")
    return found.stdout


def file_of(version: str) -> Path:
    """Where the stand-in keeps it."""
    return STAND_IN / f"api_{version}.json"


def differences(version: str) -> str:
    """Between the committed file and the bindings, as a unified diff; empty if there are none."""
    committed = file_of(version).read_text("utf-8").splitlines(keepends=True)
    return "".join(difflib.unified_diff(committed, api(version).splitlines(keepends=True), file_of(version).name, WHEELS[version]))


def agrees(version: str) -> bool:
    """Whether the stand-in takes the arguments that the bindings take; says how many were tried, and where not."""
    found = run(AGREEMENT, version, version)
    print(f"{WHEELS[version]}: {found.stderr if found.returncode else ''}{found.stdout.strip()}")
    return not found.returncode


def main() -> int:
    """Write or check every version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, change nothing; exit status 1 where something differs")
    if not parser.parse_args().check:
        for version in WHEELS:
            file_of(version).write_text(api(version), "utf-8")
        return 0
    found = "".join(differences(version) for version in WHEELS)
    print(found or f"{', '.join(WHEELS.values())}: the API is the committed one")
    return 1 if [version for version in WHEELS if not agrees(version)] or found else 0


if __name__ == "__main__":
    sys.exit(main())
