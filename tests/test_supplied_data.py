"""Initializers and external files that the program gives from memory, side by side with onnxruntime."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxgpu
from onnxgpu.errors import Fail, InvalidArgument
from tests.side_by_side import CPU, assert_same, outcome

W = np.arange(6, dtype=np.float32).reshape(3, 2)
X = np.ones((1, 3), np.float32)
OTHER: dict[str, np.ndarray] = {"shape": np.zeros((2, 2), np.float32), "type": np.zeros((3, 2)), "fits": W * 10}


class HostValue:
    """What options need of an OrtValue."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def numpy(self) -> np.ndarray:
        return self._array


def value(module: ModuleType, array: np.ndarray) -> Any:
    return module.OrtValue.ortvalue_from_numpy(array) if hasattr(module, "OrtValue") else HostValue(array)


def product(*, external: bool) -> onnx.ModelProto:
    """y = x @ w; the data of `w` are at byte 8 of w.bin, or inside."""
    weight = numpy_helper.from_array(W, "w")
    if external:
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, text in (("location", "w.bin"), ("offset", "8"), ("length", "24")):
            weight.external_data.add(key=key, value=text)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 3])],
        [helper.make_tensor_value_info("y", 1, ["N", 2])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "w.bin").write_bytes(bytes(8) + W.tobytes())
    onnx.save(product(external=False), tmp_path / "inside.onnx")
    (tmp_path / "outside.onnx").write_bytes(product(external=True).SerializeToString())
    return tmp_path


def run(module: ModuleType, options: Any, source: Any) -> Any:
    return module.InferenceSession(source, options, providers=CPU).run(None, {"x": X})


@pytest.mark.parametrize("name", ["w", "nope", "x"])
@pytest.mark.parametrize("file", ["inside.onnx", "outside.onnx"])
def test_add_initializer(folder: Path, file: str, name: str) -> None:
    """It replaces data inside and outside of the file; a name that is no initializer is left alone."""

    def replaced(module: ModuleType) -> Any:
        options = module.SessionOptions()
        given = value(module, OTHER["fits"])
        options.add_initializer(name, given)
        return run(module, options, str(folder / file))

    assert_same(replaced)


def test_add_initializer_takes_ort_values_once() -> None:
    def twice(module: ModuleType, given: Any) -> None:
        options = module.SessionOptions()
        options.add_initializer("w", given)
        options.add_initializer("w", given)

    for program in (lambda m: twice(m, value(m, W)), lambda m: m.SessionOptions().add_initializer("w", W)):
        assert outcome(program, onnxgpu)[0] == "RuntimeError"


@pytest.mark.parametrize("kind", ["shape", "type"])
def test_an_initializer_that_does_not_fit(folder: Path, kind: str) -> None:
    """onnxruntime finds out in the run, or in a kernel; here the session says so."""
    options = onnxgpu.SessionOptions()
    options.add_initializer("w", value(onnxgpu, OTHER[kind]))
    with pytest.raises(Fail, match=r"Replacement tensor's d.*does not match|Replacement tensor's dimensions do not match"):
        run(onnxgpu, options, str(folder / "inside.onnx"))


@pytest.mark.parametrize("file", ["inside.onnx", "outside.onnx"])
@pytest.mark.parametrize(("names", "kinds"), [(["w"], ["fits"]), (["w", "nope"], ["fits", "fits"]), (["w"], ["shape"]), (["w"], ["type"])])
def test_add_external_initializers(folder: Path, file: str, names: list[str], kinds: list[str]) -> None:
    """Of two names with different faults, onnxruntime reports one or the other."""

    def replaced(module: ModuleType) -> Any:
        options = module.SessionOptions()
        given = [value(module, OTHER[kind]) for kind in kinds]
        options.add_external_initializers(names, given)
        return run(module, options, str(folder / file))

    theirs, expected = outcome(replaced, __import__("onnxruntime"))
    ours, actual = outcome(replaced, onnxgpu)
    assert ours == theirs, (expected, actual)
    if ours == "gives":
        assert actual == expected
    elif len(names) == 1:
        assert expected.partition("ReplaceInitializedTensorImpl ")[2].rstrip(".")[:40] in actual


@pytest.mark.parametrize(("names", "count"), [(["w", "v"], 1), (["w", "w"], 2), (("w",), 1)], ids=str)
def test_wrong_lists_of_external_initializers(names: Any, count: int) -> None:
    def added(module: ModuleType) -> Any:
        values = [value(module, W)] * count
        return module.SessionOptions().add_external_initializers(names, values if isinstance(names, list) else tuple(values))

    assert outcome(added, onnxgpu)[0] == outcome(added, __import__("onnxruntime"))[0]


@pytest.mark.parametrize("from_bytes", [False, True])
@pytest.mark.parametrize("name", ["w.bin", "./w.bin", "other.bin", ""])
def test_files_in_memory(folder: Path, name: str, from_bytes: bool) -> None:
    """They serve models that have a path and models that have none; no file is read then."""
    content = np.frombuffer(bytes(8) + (W * 100).tobytes(), np.uint8)

    def replaced(module: ModuleType) -> Any:
        options = module.SessionOptions()
        options.add_external_initializers_from_files_in_memory([name], [content], [content.size])
        return run(module, options, product(external=True).SerializeToString() if from_bytes else str(folder / "outside.onnx"))

    ours, actual = outcome(replaced, onnxgpu)
    theirs, expected = outcome(replaced, __import__("onnxruntime"))
    assert ours == theirs
    assert actual == expected if ours == "gives" else "External file: w.bin not found from the table user provided." in actual


def test_a_file_in_memory_that_is_too_short() -> None:
    def replaced(module: ModuleType) -> Any:
        options = module.SessionOptions()
        options.add_external_initializers_from_files_in_memory(["w.bin"], [bytes(32)], [16])
        return run(module, options, product(external=True).SerializeToString())

    assert outcome(replaced, __import__("onnxruntime"))[0] == "Fail"
    kind, text = outcome(replaced, onnxgpu)
    assert kind == "InvalidGraph"
    assert "expected 24 bytes from offset 8, found 8 (the file has 16)" in text


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((["a"], [b"12"], []), "RuntimeError"),
        ((["a", "a"], [b"12", b"12"], [2, 2]), "RuntimeError"),
        ((["a"], ["text"], [4]), "TypeError"),
        ((["a"], [b"12"], [-1]), "TypeError"),
        (([1], [b"12"], [2]), "TypeError"),
    ],
)
def test_wrong_files_in_memory(arguments: Any, kind: str) -> None:
    program = lambda module: module.SessionOptions().add_external_initializers_from_files_in_memory(*arguments)  # noqa: E731
    assert outcome(program, __import__("onnxruntime"))[0] == kind
    assert outcome(program, onnxgpu)[0] == kind


def test_a_length_beyond_the_buffer() -> None:
    with pytest.raises(InvalidArgument, match="its length is given as 5, but its buffer has 2 bytes"):
        onnxgpu.SessionOptions().add_external_initializers_from_files_in_memory(["a"], [b"12"], [5])


def test_the_folder_of_external_data(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The configuration entry serves models given as bytes, and takes the place of a model's own folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "w.bin").write_bytes(bytes(8) + (W * 2).tobytes())

    def loaded(module: ModuleType, source: Any, where: Path) -> Any:
        options = module.SessionOptions()
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(where))
        return run(module, options, source)

    assert_same(lambda module: loaded(module, product(external=True).SerializeToString(), folder))
    assert_same(lambda module: loaded(module, str(folder / "outside.onnx"), elsewhere))
    assert outcome(lambda module: loaded(module, str(folder / "outside.onnx"), folder / "nope"), onnxgpu)[0] == "NoSuchFile"


def test_a_replaced_initializer_is_not_copied(folder: Path) -> None:
    options = onnxgpu.SessionOptions()
    given = OTHER["fits"].copy()
    options.add_initializer("w", HostValue(given))
    made = onnxgpu.InferenceSession(str(folder / "outside.onnx"), options, providers=CPU)
    held = [array for array in made.plan.constants.values() if getattr(array, "shape", None) == W.shape]
    assert not held or all(np.shares_memory(array, given) for array in held)
    np.testing.assert_array_equal(made.run(None, {"x": X})[0], X @ given)
