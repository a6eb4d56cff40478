"""Run our PyCUDA back end on PyCUDA itself, without a GPU: it is compiled here, and `pycuda_driver.c` takes the driver's place.

    python packaging/pycuda_bindings.py                  # minutes: PyCUDA's source distribution is compiled first
    python packaging/pycuda_bindings.py --folder FOLDER  # and kept there, for the next time

`pycuda_contract.py` are the tests that a device has to pass. `tests/pycuda_programs.py` says what PyCUDA does in smaller things, which
the stand-in of the project's tests has to do too: it is compared with `outcomes.json` beside it, or written there with `--write`.
Needs the extra `test`, a C++ compiler, and neither nvcc nor a driver.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DRIVER = Path(__file__).with_name("pycuda_driver.c")
CONTRACT = Path(__file__).with_name("pycuda_contract.py")
OUTCOMES = ROOT / "tests" / "pycuda_stand_in" / "outcomes.json"

PYCUDA = "pycuda==2026.1"
HEADERS = ("nvidia-cuda-runtime==13.0.96", "nvidia-cuda-profiler-api==13.0.85")
"""`cuda.h` and `cudaProfiler.h`; the libraries that come with them are not used."""


def pip(*arguments: str | Path, environment: dict[str, str] | None = None) -> None:
    """Run pip of this interpreter."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, env=os.environ | (environment or {}), check=True)


def library(folder: Path, missing: Iterable[str] = ()) -> None:
    """The driver's library in a folder, under the names that linkers and loaders look for.

    Args:
        folder: for it.
        missing: functions that say their name, and fail with CUDA's unknown error.
    """
    failing = folder / "missing.c"
    lines = [f'int {name}(void) {{ fprintf(stderr, "libcuda: {name} is missing\\n"); return 999; }}\n' for name in missing]
    failing.write_text("#include <stdio.h>\n" + "".join(lines), "utf-8")
    made = folder / "libcuda.so.1"
    options = ["-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-pthread"]
    subprocess.run(["cc", *options, "-o", made, DRIVER, failing], check=True)
    (folder / "libcuda.so").unlink(missing_ok=True)
    (folder / "libcuda.so").symlink_to(made.name)


def functions(library: Path, kind: str) -> set[str]:
    """The functions of the driver that a library has, if `kind` is "defined", or calls, if it is "undefined"."""
    found = subprocess.run(["nm", "--dynamic", f"--{kind}-only", library], check=True, capture_output=True, text=True).stdout
    return {name for line in found.splitlines() if (name := line.split()[-1].partition("@")[0]).startswith("cu")}


def build(folder: Path) -> None:
    """PyCUDA and what it needs, compiled against CUDA's headers, in `folder/site`."""
    pip("install", "--no-deps", "--target", folder / "headers", *HEADERS)
    pip("download", "--no-deps", "--no-binary=pycuda", "--dest", folder, PYCUDA)
    (archive,) = folder.glob("pycuda-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    source = folder / archive.name.removesuffix(".tar.gz")
    (root,) = (folder / "headers" / "nvidia").glob("*/include/cuda.h")
    settings = {"CUDA_ROOT": str(root.parents[1]), "CUDADRV_LIB_DIR": [str(folder)], "CUDA_ENABLE_CURAND": False}
    (source / "siteconf.py").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()), "utf-8")
    library(folder)
    pip("install", "--target", folder / "site", source, environment={"CFLAGS": "-O1 -g0 -w"})


def environment(folder: Path) -> dict[str, str]:
    """In which processes import PyCUDA from the folder, which is built if it is not there, and have our driver."""
    site = folder / "site"
    if not site.exists():
        folder.mkdir(parents=True, exist_ok=True)
        build(folder)
    (extension,) = (site / "pycuda").glob("_driver*.so")
    library(folder)
    library(folder, missing=sorted(functions(extension, "undefined") - functions(folder / "libcuda.so.1", "defined")))
    places = {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "LD_LIBRARY_PATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return os.environ | places


def contract(places: dict[str, str]) -> bool:
    """Whether a device through PyCUDA passes the tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", CONTRACT]
    return not subprocess.run(command, env=places, cwd=ROOT, check=False).returncode


def agreement(places: dict[str, str], *, write: bool) -> bool:
    """Whether PyCUDA does what is written down, or after it was written; says where not."""
    command = [sys.executable, "-m", "tests.pycuda_programs"]
    found = subprocess.run(command, env=places, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    if write:
        OUTCOMES.write_text(found, "utf-8")
    committed = OUTCOMES.read_text("utf-8").splitlines(keepends=True)
    differences = "".join(difflib.unified_diff(committed, found.splitlines(keepends=True), OUTCOMES.name, PYCUDA))
    print(differences or f"{PYCUDA} does what {OUTCOMES.name} says, in {len(committed)} lines")
    return not differences


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where PyCUDA is compiled and kept; used as it is if it is there")
    parser.add_argument("--write", action="store_true", help="write what PyCUDA does to outcomes.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        places = environment((given.folder or Path(scratch)).resolve())
        passed = [agreement(places, write=given.write), contract(places)]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
