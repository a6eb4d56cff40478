"""Whether TensorRT is here, and what is said where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from onnxgpu.doctor import diagnosis
from onnxgpu.errors import EPFail
from onnxgpu.providers.cuda import device
from onnxgpu.providers.tensorrt import library
from onnxgpu.providers.tensorrt.provider import TensorrtProvider


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A machine with a device, where the package is what a test makes it."""
    monkeypatch.delenv("ONNXGPU_TENSORRT", raising=False)
    monkeypatch.setattr(device, "is_emulated", lambda: False)
    monkeypatch.setattr(device, "unavailable", lambda: None)
    library._real.cache_clear()
    monkeypatch.setattr(library, "find_spec", lambda name: SimpleNamespace(origin="somewhere"))
    yield monkeypatch
    library._real.cache_clear()


def package(**members: object) -> ModuleType:
    made = ModuleType("tensorrt")
    made.__file__ = "somewhere/tensorrt/__init__.py"
    vars(made).update(members)
    return made


def test_not_installed(real: pytest.MonkeyPatch) -> None:
    real.setattr(library, "find_spec", lambda name: None)
    assert "neither package tensorrt nor tensorrt_bindings is installed (pip install 'onnxgpu-gpu[tensorrt]'" in (library.problem() or "")
    with pytest.raises(EPFail, match="TensorRT cannot be used: neither package tensorrt nor"):
        library.tensorrt()


def test_type_stubs_alone_are_not_tensorrt(real: pytest.MonkeyPatch) -> None:
    real.setattr(library, "import_module", lambda name: package())
    assert "has no Builder: it is an empty one, of type stubs" in (library.problem() or "")


@pytest.mark.parametrize("version", ["8.6.1", "9.3.0", "10.0.1", "12.0.1"])
def test_a_version_that_is_not_known(real: pytest.MonkeyPatch, version: str) -> None:
    real.setattr(library, "import_module", lambda name: package(Builder=object, __version__=version))
    assert f"TensorRT {version} is installed, and onnxgpu knows 10 and 11, from 10.1 on" in (library.problem() or "")


@pytest.mark.parametrize("version", ["10.1.0", "10.13.3.9", "11.4.0.106"])
def test_a_version_that_is_known(real: pytest.MonkeyPatch, version: str) -> None:
    made = package(Builder=object, __version__=version)
    real.setattr(library, "import_module", lambda name: made)
    assert library.problem() is None and library.tensorrt() is made and library.major() == int(version.split(".")[0])
    found = library.found()
    assert (found.found, found.version) == (made.__file__, version)


def test_the_bindings_alone(real: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    made = package(Builder=object, __version__="11.4.0.106")

    def import_module(name: str) -> ModuleType:
        imported.append(name)
        return {"tensorrt": package(), "tensorrt_bindings": made}.get(name, package())

    real.setattr(library, "import_module", import_module)
    assert library.tensorrt() is made
    assert imported == ["tensorrt", "tensorrt_libs", "tensorrt_bindings"]


def test_bindings_without_libraries(real: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> ModuleType:
        raise ImportError("libnvinfer.so.11: cannot open shared object file: No such file or directory")

    real.setattr(library, "import_module", fails)
    told = library.problem() or ""
    assert "libnvinfer.so.11: cannot open shared object file" in told
    assert "tensorrt-cu13-libs or tensorrt-cu12-libs, of the same version" in told


def test_the_emulated_device_alone_has_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONNXGPU_TENSORRT", raising=False)
    monkeypatch.setenv("ONNXGPU_CUDA", "emulated")
    library._real.cache_clear()
    assert "set ONNXGPU_TENSORRT=11.4 (or 10.13) for its stand-in" in (library.problem() or "")
    library._real.cache_clear()


def test_the_stand_in_wants_the_emulated_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXGPU_TENSORRT", "11.4")
    monkeypatch.delenv("ONNXGPU_CUDA", raising=False)
    assert "set ONNXGPU_CUDA=emulated too" in (library.problem() or "")


def test_the_doctor_tells_of_it(tensorrt: ModuleType) -> None:
    (told,) = [provider for provider in diagnosis()["providers"] if provider["name"] == TensorrtProvider.name]
    assert told["available"] and told["cause"] == ""
    (package,) = [item for item in told["libraries"] if item["name"] == "tensorrt"]
    assert (package["found"], package["version"]) == ("the stand-in", tensorrt.__version__)


def test_looking_for_it_does_not_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no device, a doctor's question is not worth loading gigabytes of libraries."""
    monkeypatch.delenv("ONNXGPU_TENSORRT", raising=False)
    monkeypatch.setattr(device, "unavailable", lambda: "no driver")
    for name in ("tensorrt", "tensorrt_bindings"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(library, "import_module", lambda name: pytest.fail("imported"))
    monkeypatch.setattr(library, "find_spec", lambda name: SimpleNamespace(origin=f"there/{name}"))
    assert library.found().found == "there/tensorrt"
