"""What the two distributions hold: built from a copy of the tree, without a network, and opened."""

from __future__ import annotations

import email.message
import email.parser
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from onnxgpu.release import __version__

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "onnxgpu", "providers", "kernels", "packaging")
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
DATA_SUFFIXES = {".css", ".cu", ".cuh", ".html", ".js", ".json", ".npz", ".onnx", ".py", ".typed", ".cpp", ".h"}
CUDA_LIBRARIES = {"cupy", "cublas", "cuda-nvrtc", "cuda-runtime", "cudnn", "cudnn-frontend", "cuda-bindings", "nvmath-python"}


@dataclass(frozen=True)
class Built:
    """A copy of the tree, and what was built from it."""

    tree: Path
    core: Path
    source: Path
    gpu: Path


def project(path: Path) -> dict[str, Any]:
    return dict(tomllib.loads((path / "pyproject.toml").read_text("utf-8"))["project"])


def child(*arguments: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    outcome = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout.strip()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel made from the source distribution, as `pip install` of a release would, and the GPU wheel."""
    tree = tmp_path_factory.mktemp("tree") / "onnxgpu"
    tree.mkdir()
    for name in SOURCES:
        origin = ROOT / name
        if origin.is_dir():
            shutil.copytree(origin, tree / name, symlinks=True, ignore=NOT_SOURCES)
        else:
            shutil.copy(origin, tree / name)
    dist = tmp_path_factory.mktemp("dist")
    child("-m", "build", "--no-isolation", f"--outdir={dist}", str(tree), folder=dist)
    child("-m", "build", "--no-isolation", "--wheel", f"--outdir={dist}", str(tree / "packaging/onnxgpu-gpu"), folder=dist)
    version = project(ROOT)["version"]
    wheels = [dist / f"{name}-{version}-py3-none-any.whl" for name in ("onnxgpu", "onnxgpu_gpu")]
    assert all(wheel.exists() for wheel in wheels), sorted(path.name for path in dist.iterdir())
    return Built(tree, wheels[0], dist / f"onnxgpu-{version}.tar.gz", wheels[1])


def files_of(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def metadata_of(wheel: Path) -> email.message.Message:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return email.parser.Parser().parsestr(archive.read(name).decode("utf-8"))


def package_files(tree: Path) -> set[str]:
    """What the package consists of, links followed."""
    walked = (Path(folder, name) for folder, _, names in os.walk(tree / "onnxgpu", followlinks=True) for name in names)
    return {path.relative_to(tree).as_posix() for path in walked if path.suffix in DATA_SUFFIXES}


def test_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    assert files_of(built.core) == package_files(built.tree)


def test_wheel_holds_providers_and_kernels_as_files(built: Built) -> None:
    found = files_of(built.core)
    for expected in (
        "onnxgpu/providers/__init__.py",
        "onnxgpu/providers/cpu/provider.py",
        "onnxgpu/kernels/vector.cuh",
        "onnxgpu/py.typed",
    ):
        assert expected in found
    archive = zipfile.ZipFile(built.core)
    assert not any((entry.external_attr >> 16) & 0o170000 == 0o120000 for entry in archive.infolist()), "a link in the wheel"
    assert archive.read("onnxgpu/providers/__init__.py") == (ROOT / "providers/__init__.py").read_bytes()


def test_source_distribution_holds_the_package_without_links(built: Built) -> None:
    with tarfile.open(built.source) as archive:
        members = archive.getmembers()
    assert not any(member.issym() or member.islnk() for member in members)
    inside = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert package_files(built.tree) <= inside
    assert {path.partition("/")[0] for path in inside} & {"providers", "kernels", "tests"} == set()


def test_gpu_distribution_has_no_files_of_its_own(built: Built) -> None:
    assert files_of(built.gpu) == set()


def test_versions_agree(built: Built) -> None:
    version = project(ROOT)["version"]
    assert version == __version__
    assert metadata_of(built.core)["Version"] == metadata_of(built.gpu)["Version"] == version
    own = [Requirement(text) for text in metadata_of(built.gpu).get_all("Requires-Dist", [])]
    assert own
    assert all(requirement.name == "onnxgpu" and str(requirement.specifier) == f"=={version}" for requirement in own)


def kind_of(requirement: Requirement) -> str:
    """The library behind a package name, its CUDA version cut off."""
    name = requirement.name.removesuffix("-cu12").removesuffix("-cu13")
    return "cupy" if name.startswith("cupy-cuda") else name.removeprefix("nvidia-")


@pytest.mark.parametrize("major", [12, 13])
def test_cuda_extra_brings_each_library_for_one_cuda_version(built: Built, major: int) -> None:
    requirements = [Requirement(text) for text in project(ROOT)["optional-dependencies"][f"cuda{major}"]]
    assert {kind_of(requirement) for requirement in requirements} == CUDA_LIBRARIES
    assert all(not requirement.extras for requirement in requirements), "extras of these packages bring every CUDA library"
    other = {12: 13, 13: 12}[major]
    assert not any(f"cu{other}" in requirement.name or f"cuda{other}" in requirement.name for requirement in requirements)


def test_gpu_distribution_brings_one_cuda_version_and_tensorrt_by_its_extra(built: Built) -> None:
    requirements = [Requirement(text) for text in metadata_of(built.gpu).get_all("Requires-Dist", [])]
    assert {(str(r.marker) if r.marker else "", *sorted(r.extras)) for r in requirements} == {
        ("", "cuda13"),
        ('extra == "tensorrt"', "tensorrt"),
    }


def test_wheel_is_plain_python(built: Built) -> None:
    archive = zipfile.ZipFile(built.core)
    folder = next(name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name)
    assert "Root-Is-Purelib: true" in archive.read(f"{folder}/WHEEL").decode()
    assert archive.read(f"{folder}/top_level.txt").decode().split() == ["onnxgpu"]
    assert "onnxgpu = onnxgpu.cli:main" in archive.read(f"{folder}/entry_points.txt").decode()
    assert f"{folder}/licenses/LICENSE" in archive.namelist()


def test_installed_wheel_imports_its_providers(built: Built, tmp_path: Path) -> None:
    zipfile.ZipFile(built.core).extractall(tmp_path / "site")
    site = str(tmp_path / "site")
    code = f"import sys; sys.path.insert(0, {site!r}); import onnxgpu.providers.cpu.provider as module; print(module.__file__)"
    assert Path(child("-I", "-c", code, folder=tmp_path)) == tmp_path / "site/onnxgpu/providers/cpu/provider.py"


def test_editable_install_leads_to_the_tree(built: Built, tmp_path: Path) -> None:
    child("-c", f"import setuptools.build_meta as backend; backend.build_editable({str(tmp_path)!r})", folder=built.tree)
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(tmp_path / "site")
    packages = sysconfig.get_path("purelib")
    code = (
        f"import site, sys; site.addsitedir({str(tmp_path / 'site')!r}); sys.path.append({packages!r})\n"
        "import onnxgpu.providers.cpu.provider as module; print(module.__file__)"
    )
    found = Path(child("-I", "-S", "-c", code, folder=tmp_path))
    assert found.resolve() == (built.tree / "providers/cpu/provider.py").resolve()


@pytest.mark.slow
def test_gpu_extras_resolve() -> None:
    child(str(ROOT / "packaging/resolve.py"), "--brief", folder=ROOT)
