"""External data: mapped lazily, found safely, checked when the model is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import external_data_helper, numpy_helper

from onnxgpu.errors import InvalidArgument, InvalidGraph, NoSuchFile
from onnxgpu.model_file import load
from tests.test_model_file import parsed, weight

DATA = np.arange(2000, dtype="f")


def model_with(location: str, array: np.ndarray = DATA, **entries: Any) -> onnx.ModelProto:
    """A model whose initializer `w` says that it lies at `location`."""
    model = parsed("g (float[2000] x) => (float[2000] y) { y = Add(x, w) }")
    tensor = model.graph.initializer.add()
    tensor.CopyFrom(numpy_helper.from_array(array, "w"))
    external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return model


def saved(folder: Path, location: str = "w.bin", **entries: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model_with(location, **entries), folder / "m.onnx")
    return folder / "m.onnx"


def test_mapped_on_first_use(tmp_path: Path) -> None:
    path = saved(tmp_path, offset=4096, length=8000)
    (tmp_path / "w.bin").write_bytes(bytes(4096) + DATA.tobytes() + b"more")
    loaded = load(path)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(tmp_path / "w.bin") not in maps.read_text()
    array = weight(loaded, "w")
    np.testing.assert_array_equal(array, DATA)
    assert not array.flags.writeable
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)


def test_unaligned_offset(tmp_path: Path) -> None:
    path = saved(tmp_path, offset=3)
    (tmp_path / "w.bin").write_bytes(b"abc" + DATA.tobytes())
    array = weight(load(path), "w")
    assert array.flags.aligned
    np.testing.assert_array_equal(array, DATA)


def test_packed_elements(tmp_path: Path) -> None:
    import ml_dtypes

    array = (np.arange(2000) % 5).astype(ml_dtypes.int4)
    model = model_with("w.bin", array)
    onnx.save(model, tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(numpy_helper.from_array(array).raw_data)
    np.testing.assert_array_equal(weight(load(tmp_path / "m.onnx"), "w").astype("i1"), np.arange(2000) % 5)


def test_empty_tensor_and_subfolder(tmp_path: Path) -> None:
    onnx.save(model_with("sub/w.bin", np.zeros((0, 3), "f")), tmp_path / "m.onnx")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"")
    assert weight(load(tmp_path / "m.onnx"), "w").shape == (0, 3)


def test_bare_file_name_is_looked_up_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    (tmp_path / "w.bin").write_bytes(DATA.tobytes())
    monkeypatch.chdir(tmp_path)
    loaded = load("m.onnx")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(weight(loaded, "w"), DATA)


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "{root}/secret.bin", "..\\secret.bin"])
@pytest.mark.parametrize("bare", [True, False])
def test_path_that_leaves_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, bare: bool) -> None:
    (tmp_path / "secret.bin").write_bytes(DATA.tobytes())
    path = saved(tmp_path / "model", location.format(root=tmp_path))
    (tmp_path / "model" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    with pytest.raises(InvalidArgument, match=r"'w'.*leaves the model's folder"):
        load("m.onnx" if bare else path)


def test_link_that_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(DATA.tobytes())
    path = saved(tmp_path / "model")
    (tmp_path / "model" / "w.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(InvalidArgument, match=r"'w'.*link to.*outside of the model's folder"):
        load(path)


def test_linked_folder_that_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "w.bin").write_bytes(DATA.tobytes())
    path = saved(tmp_path / "model", "sub/w.bin")
    (tmp_path / "model" / "sub").symlink_to(tmp_path / "other")
    with pytest.raises(InvalidArgument, match="outside of the model's folder"):
        load(path)


def test_link_within_the_folder_and_hard_link(tmp_path: Path) -> None:
    (tmp_path / "kept.bin").write_bytes(DATA.tobytes())
    path = saved(tmp_path / "model")
    os.link(tmp_path / "kept.bin", tmp_path / "model" / "real.bin")
    (tmp_path / "model" / "w.bin").symlink_to("real.bin")
    onnxruntime.InferenceSession(str(path))
    np.testing.assert_array_equal(weight(load(path), "w"), DATA)


def hugging_face(root: Path, data_in: str) -> Path:
    repository = root / "models--a--b"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / "0123" / "onnx"
    for folder in (blobs, snapshot, root / data_in):
        folder.mkdir(parents=True, exist_ok=True)
    saved(blobs).rename(blobs / "aaaa")
    (root / data_in / "bbbb").write_bytes(DATA.tobytes())
    (snapshot / "m.onnx").symlink_to(Path("../../../blobs/aaaa"))
    (snapshot / "w.bin").symlink_to(os.path.relpath(root / data_in / "bbbb", snapshot))
    return snapshot / "m.onnx"


def test_hugging_face_cache(tmp_path: Path) -> None:
    path = hugging_face(tmp_path, "models--a--b/blobs")
    np.testing.assert_array_equal(weight(load(path), "w"), DATA)


@pytest.mark.parametrize("data_in", ["models--other/blobs", "models--a--b/elsewhere"])
def test_link_out_of_the_hugging_face_repository(tmp_path: Path, data_in: str) -> None:
    with pytest.raises(InvalidArgument, match="outside of the model's folder"):
        load(hugging_face(tmp_path, data_in))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFile, match=r"tensor 'w' is not there: expected 'w\.bin' in "):
        load(saved(tmp_path))


def test_model_without_a_folder() -> None:
    model = model_with("w.bin")
    for source in (model, model.SerializeToString()):
        with pytest.raises(InvalidArgument, match=r"tensor 'w'.*'w\.bin'.*give the model's path"):
            load(source)


@pytest.mark.parametrize(
    ("size", "entries", "words"),
    [
        (7999, {}, "expected 8000 bytes from offset 0, found 7999.*truncated"),
        (8000, {"offset": 1}, "expected 8000 bytes from offset 1, found 7999"),
        (8000, {"offset": 10**15}, "found 0"),
        (8000, {"length": 4}, "need 8000 bytes, its length entry says 4"),
        (9000, {"length": 9000}, "need 8000 bytes, its length entry says 9000"),
        (8000, {"offset": -4}, "offset is '-4', expected a number"),
        (8000, {"length": "many"}, "length is 'many', expected a number"),
    ],
)
def test_file_too_short_or_wrong_entries(tmp_path: Path, size: int, entries: dict[str, Any], words: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(size))
    with pytest.raises(InvalidGraph, match=f"tensor 'w'.*{words}"):
        load(saved(tmp_path, **entries))


def test_no_location(tmp_path: Path) -> None:
    model = model_with("x")
    del model.graph.initializer[0].external_data[:]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InvalidGraph, match=r"tensor 'w'.*no location"):
        load(tmp_path / "m.onnx")


def test_model_larger_than_protobuf_allows(tmp_path: Path) -> None:
    """5 GB of weights in a sparse file: nothing of it is read."""
    model = model_with("w.bin", np.zeros(1, "f"))
    model.graph.initializer[0].dims[:] = [1_250_000_000]
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "m.onnx")
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(5_000_000_000)
    assert weight(load(tmp_path / "m.onnx"), "w")[-1] == 0
