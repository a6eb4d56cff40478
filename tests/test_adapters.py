"""LoRA adapters: files written by one and read by the other, and runs side by side with onnxruntime."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import onnxgpu
from onnxgpu.adapters.flatbuffer import IDENTIFIER, NotAnAdapter, decoded
from tests.models import model
from tests.side_by_side import CPU, assert_same, ort, outcome

DTYPES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SUMS = """g (float[2] x, float[2] la, float[2] lb) => (float[2] y) <float[2] la = {0, 0}, float[2] lb = {0, 0}> {
  t = Add (x, la)
  y = Add (t, lb)
}"""
BOTH = [(ort, onnxgpu), (onnxgpu, ort), (onnxgpu, onnxgpu)]


def written(module: ModuleType, path: Path, parameters: dict[str, np.ndarray], versions: tuple[int, int] = (3, 7)) -> str:
    adapter = module.AdapterFormat()
    adapter.set_adapter_version(versions[0])
    adapter.set_model_version(versions[1])
    adapter.set_parameters({name: module.OrtValue.ortvalue_from_numpy(array) for name, array in parameters.items()})
    adapter.export_adapter(str(path))
    return str(path)


def contents(module: ModuleType, path: str) -> Any:
    adapter = module.AdapterFormat.read_adapter(path)
    parameters = {name: value.numpy() for name, value in adapter.get_parameters().items()}
    described = {name: (str(array.dtype), array.shape, array.tolist()) for name, array in sorted(parameters.items())}
    return (adapter.get_format_version(), adapter.get_adapter_version(), adapter.get_model_version(), described)


@pytest.mark.parametrize(("writer", "reader"), BOTH, ids=["theirs to ours", "ours to theirs", "ours to ours"])
def test_a_file_of_one_is_read_by_the_other(writer: ModuleType, reader: ModuleType, tmp_path: Path) -> None:
    parameters: dict[str, np.ndarray] = {
        f"{name}.{dtype}": np.arange(count, dtype=dtype) for count, dtype in enumerate(DTYPES) for name in ("a", "lora_B.ä")
    }
    parameters |= {"matrix": np.arange(6, dtype=np.float32).reshape(2, 3), "empty": np.zeros((0, 3), np.int64), "cube": np.ones((1, 2, 3))}
    path = written(writer, tmp_path / "a.onnx_adapter", parameters)
    expected = {name: (str(array.dtype), array.shape, array.tolist()) for name, array in sorted(parameters.items())}
    assert contents(reader, path) == (1, 3, 7, expected)
    reader.LoraAdapter().Load(path)


@pytest.mark.parametrize(("writer", "reader"), BOTH, ids=["theirs to ours", "ours to theirs", "ours to ours"])
def test_an_adapter_without_parameters(writer: ModuleType, reader: ModuleType, tmp_path: Path) -> None:
    assert contents(reader, written(writer, tmp_path / "a", {}, (-1, 2**31 - 1))) == (1, -1, 2**31 - 1, {})


def test_bfloat16_from_onnxruntime(tmp_path: Path) -> None:
    adapter = ort.AdapterFormat()
    bits = np.array([0x3F80, 0xC000], np.uint16)
    adapter.set_parameters({"p": ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, 16)})
    adapter.export_adapter(str(tmp_path / "a"))
    value = onnxgpu.AdapterFormat.read_adapter(tmp_path / "a").get_parameters()["p"]
    assert value.data_type() == "tensor(bfloat16)"
    adapter = onnxgpu.AdapterFormat.read_adapter(tmp_path / "a")
    adapter.export_adapter(tmp_path / "b")
    assert ort.AdapterFormat.read_adapter(str(tmp_path / "b")).get_parameters()["p"].data_type() == "tensor(bfloat16)"


@pytest.mark.parametrize("array", [np.array([True]), np.array(2.5)], ids=["bool", "scalar"])
def test_what_the_format_does_not_hold_is_refused_when_it_is_written(array: np.ndarray, tmp_path: Path) -> None:
    """onnxruntime writes such a file, and cannot read it."""
    path = written(ort, tmp_path / "theirs", {"p": array})
    assert outcome(lambda module: module.AdapterFormat.read_adapter(path), ort)[0] == "RuntimeError"
    with pytest.raises(RuntimeError, match="Lora Param 'p'"):
        onnxgpu.AdapterFormat.read_adapter(path)
    with pytest.raises(RuntimeError, match="Lora Param 'p'"):
        written(onnxgpu, tmp_path / "ours", {"p": array})
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("content", [b"", b"junkjunkjunkjunk", b"\x0c\x00\x00\x00TORT" + bytes(8)], ids=["empty", "junk", "header only"])
def test_files_that_are_no_adapter(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    for program in (lambda m: m.AdapterFormat.read_adapter(str(tmp_path / "a")), lambda m: m.LoraAdapter().Load(str(tmp_path / "a"))):
        theirs, expected = outcome(program, ort)
        ours, actual = outcome(program, onnxgpu)
        assert (theirs, ours) == ("RuntimeError", "RuntimeError")
        assert actual.partition(": ")[0].partition(" (")[0] in expected


def test_a_missing_file(tmp_path: Path) -> None:
    for program in (lambda m: m.AdapterFormat.read_adapter(str(tmp_path / "no")), lambda m: m.LoraAdapter().Load(str(tmp_path / "no"))):
        assert outcome(program, ort)[0] == outcome(program, onnxgpu)[0] == "RuntimeError"


def test_no_damage_goes_unnoticed_or_reads_beyond_the_file(tmp_path: Path) -> None:
    """Every cut is an error; every changed byte either is one, or gives arrays of the file's own bytes."""
    data = Path(written(onnxgpu, tmp_path / "a", {"p": np.arange(4, dtype=np.float32), "q": np.ones((2, 2), np.int64)})).read_bytes()
    assert data[4:8] == IDENTIFIER
    for length in range(len(data) - 3):
        with pytest.raises(NotAnAdapter):
            decoded(memoryview(data[:length]))
    for position in range(8, len(data)):
        for value in (0, 0x7F, 0xFF):
            changed = bytearray(data)
            changed[position] = value
            try:
                parameters = decoded(memoryview(bytes(changed))).parameters
            except NotAnAdapter:
                continue
            assert sum(array.nbytes for array in parameters.values()) <= len(data)


@pytest.mark.parametrize("version", [-1, 1 << 31, "1", None])
def test_versions_are_integers_of_32_bits(version: Any) -> None:
    def set_version(module: ModuleType) -> int:
        adapter = module.AdapterFormat()
        adapter.set_adapter_version(version)
        number: int = adapter.get_adapter_version()
        return number

    assert outcome(set_version, onnxgpu)[0] == outcome(set_version, ort)[0]


def test_parameters_are_ort_values() -> None:
    with pytest.raises(TypeError, match="parameter 'p' wants an OrtValue, got ndarray"):
        onnxgpu.AdapterFormat().set_parameters({"p": np.ones(2)})  # type: ignore[dict-item]


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


A, OTHER_A, B, UNKNOWN = {"la": vector(1, 2)}, {"la": vector(3, 3)}, {"lb": vector(10, 20)}, {"la": vector(5, 5), "zz": vector(1, 1)}
WRONG_SHAPE, WRONG_TYPE = {"la": vector(1, 2, 3)}, {"la": np.ones(2)}


@pytest.mark.parametrize(
    "adapters",
    [[A], [A, B], [A, A], [A, OTHER_A], [OTHER_A, A], [UNKNOWN], [WRONG_SHAPE], [WRONG_TYPE], [], [{}]],
    ids=["one", "two", "twice", "first counts", "first counts too", "unknown name", "shape", "type", "none", "not loaded"],
)
@pytest.mark.parametrize("fed", [False, True], ids=["not fed", "fed too"])
def test_runs_with_active_adapters(adapters: list[dict[str, np.ndarray]], fed: bool, tmp_path: Path) -> None:
    paths = [written(onnxgpu, tmp_path / str(index), parameters) for index, parameters in enumerate(adapters)]
    feed = {"x": vector(0, 0)} | ({"la": vector(100, 100)} if fed else {})

    def run(module: ModuleType) -> Any:
        options = module.RunOptions()
        loaded = [module.LoraAdapter() for _ in paths]  # onnxruntime's options keep no reference
        for adapter, path, parameters in zip(loaded, paths, adapters, strict=True):
            if parameters:
                adapter.Load(path)
            options.add_active_adapter(adapter)
        session = module.InferenceSession(model(SUMS).SerializeToString(), providers=CPU)
        return [session.run(None, feed, options), session.run(None, feed)]

    assert_same(run)


def test_an_adapter_gives_an_input_that_is_required(tmp_path: Path) -> None:
    """onnxruntime wants the caller to feed such an input all the same."""
    path = written(onnxgpu, tmp_path / "a", A)
    adapter, options = onnxgpu.LoraAdapter(), onnxgpu.RunOptions()
    adapter.Load(path)
    options.add_active_adapter(adapter)
    session = onnxgpu.InferenceSession(model("g (float[2] x, float[2] la) => (float[2] y) { y = Add (x, la) }"), providers=CPU)
    assert session.run(None, {"x": vector(1, 1)}, options)[0].tolist() == [2, 3]


def test_only_adapters_are_adapters() -> None:
    program: Callable[[ModuleType], Any] = lambda module: module.RunOptions().add_active_adapter(3)  # noqa: E731
    assert outcome(program, onnxgpu)[0] == outcome(program, ort)[0] == "TypeError"


def test_a_file_is_smaller_than_two_gibibytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("onnxgpu.adapters.flatbuffer.MOST_BYTES", 100)
    with pytest.raises(RuntimeError, match="at most 2 GiB, the parameters have 128 bytes"):
        written(onnxgpu, tmp_path / "a", {"p": np.zeros(32, np.float32)})


def test_numbers_are_aligned(tmp_path: Path) -> None:
    """Shapes and elements begin at multiples of 8 bytes, which onnxruntime's verifier asks for."""
    data = Path(written(onnxgpu, tmp_path / "a", {"a": vector(1), "bc": vector(2, 3), "def": vector(4)})).read_bytes()
    for value in (1.0, 2.0, 4.0):
        assert data.index(struct.pack("<f", value)) % 8 == 0
