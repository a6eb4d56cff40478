"""What a program asks about the installation, the libraries that are loaded for it, and the seed of random operators."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxgpu as ort
from onnxgpu import preload, seeds
from tests.models import model

DRAWS = model(
    """g () => (float[3] a, float[3] b, float[3] c) {
        a = RandomNormal <shape = [3]> ()
        b = RandomUniform <shape = [3]> ()
        c = RandomNormal <shape = [3], seed = 1.0> ()
    }"""
)


def test_versions_and_build() -> None:
    assert ort.version == ort.__version__ == ort.get_version_string()
    assert ort.get_build_info().startswith("ORT Build Info: ") and ort.__version__ in ort.get_build_info()
    assert ort.has_collective_ops() is False and ort.package_name == "onnxgpu" and ort.cuda_version == ""


def test_debug_info_names_versions_and_providers(capsys: pytest.CaptureFixture[str]) -> None:
    ort.print_debug_info()
    text = capsys.readouterr().out
    assert f"numpy=={np.__version__}" in text and "CPUExecutionProvider: available" in text and "Loaded CUDA libraries:" in text


def test_preload_takes_the_newest_library_of_a_folder_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("libcublas.so.12", "libcublas.so.9", "libcudart.so.12.4.1", "libcublas_static.a", "libcudnn.so.9", "libcublasLt.so.12"):
        (tmp_path / name).touch()
    monkeypatch.setattr(ctypes, "CDLL", _only(tmp_path))
    loaded = preload.load(cuda=True, cudnn=True, directory=str(tmp_path))
    assert [Path(path).name for path in loaded] == ["libcudart.so.12.4.1", "libcublasLt.so.12", "libcublas.so.12", "libcudnn.so.9"]
    assert preload.load(cuda=False, cudnn=True, directory=str(tmp_path)) == [str(tmp_path / "libcudnn.so.9")]


def _only(folder: Path) -> Any:
    def load(path: str, mode: int = 0) -> object:
        if not path.startswith(str(folder)):
            raise OSError(path)
        return object()

    return load


def test_preload_is_quiet_where_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", _only(tmp_path))
    monkeypatch.setattr(preload, "_package_folders", list)
    ort.preload_dlls()
    assert capfd.readouterr() == ("", "")


def test_preload_from_a_folder_that_is_not_there() -> None:
    with pytest.raises(RuntimeError, match="Invalid parameter of directory=nowhere"):
        ort.preload_dlls(directory="nowhere")


def test_a_seed_makes_the_draws_of_a_session_reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "_sequence", None)
    session = ort.InferenceSession(DRAWS)
    free = [session.run(None, {}) for _ in range(2)]
    assert not np.array_equal(free[0][0], free[1][0])
    runs = []
    for seed in (7, 7, 8):
        ort.set_seed(seed)
        runs.append([session.run(None, {}) for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    first, other = runs[0][0], runs[2][0]
    assert not np.array_equal(first[0], runs[0][1][0]) and not np.array_equal(first[0], other[0]) and not np.array_equal(first[1], other[1])
    np.testing.assert_array_equal(first[2], other[2])


@pytest.mark.parametrize("seed", [1.5, "1", None, 2**70])
def test_seeds_are_integers(seed: Any) -> None:
    with pytest.raises(TypeError, match="set_seed"):
        ort.set_seed(seed)
