"""The command line: what each command prints and writes, its exit status, and one readable line for every mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu import bench
from onnxgpu.cli import main
from onnxgpu.session import InferenceSession
from tests.models import model

ROOT = Path(__file__).resolve().parents[1]
CPU, LOOPBACK = "CPUExecutionProvider", "LoopbackExecutionProvider"
MODEL = "g (float[N,3] x, float[3] w) => (float[N,3] out) <float[3] w = {1.0, 2.0, 3.0}> { [sum] out = Add(x, w) }"
X = np.array([[1, 2, 3]], np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(model(MODEL), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def saved(folder: Path, name: str, array: Any) -> Path:
    np.save(folder / name, array)
    return folder / name


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on stderr of a command that fails."""
    assert main([str(argument) for argument in arguments]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("onnxgpu: ")
    return output.err


def child(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "onnxgpu.cli", *arguments]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | environment
    return subprocess.run(command, env=variables, capture_output=True, encoding="utf-8", timeout=120)


def test_run_makes_inputs_up(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(path)]) == 0
    first = capsys.readouterr()
    assert first.out.startswith("random values (seed 0, unknown dimensions 1) for: x\nout: tensor(float) [1, 3]\n[[")
    assert first.err == ""
    assert main(["run", str(path)]) == 0
    assert capsys.readouterr().out == first.out, "the same seed gives the same values"


def test_run_with_inputs_and_output_files(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    inputs = ["--input", f"x={saved(tmp_path, 'x.npy', X)}", "--input", f"w={saved(tmp_path, 'w.npy', X[0])}"]
    assert main(["run", str(path), *inputs, "--output", str(tmp_path / "made" / "here"), "--providers", f"{LOOPBACK},{CPU}"]) == 0
    assert capsys.readouterr().out == "out: tensor(float) [1, 3]\n[[2. 4. 6.]]\n"
    np.testing.assert_array_equal(np.load(tmp_path / "made" / "here" / "out.npy"), X * 2)


def test_run_with_other_types(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Strings and bfloat16 come from and go to .npy files; a sequence is shown, and cannot be written."""
    text = """g (string[2] s, bfloat16[2] b, int64[2] i, bool[2] f) => (string[2] t, bfloat16[2] c, seq(int64[2]) q) {
      t = Identity(s)
      c = Neg(b)
      q = SequenceConstruct(i, i)
    }"""
    path = tmp_path / "types.onnx"
    onnx.save(model(text), path)
    inputs = [f"s={saved(tmp_path, 's.npy', np.array(['a', 'ü']))}", f"b={saved(tmp_path, 'b.npy', np.ones(2, ml_dtypes.bfloat16))}"]
    flags = [part for each in inputs for part in ("--input", each)]
    assert main(["run", str(path), *flags]) == 0
    output = capsys.readouterr().out
    assert "t: tensor(string) [2]\n['a' 'ü']" in output
    assert "c: tensor(bfloat16) [2]\n[-1 -1]" in output
    assert "q: seq(tensor(int64))\n[array(" in output
    assert main(["run", str(path), *flags, "--output", str(tmp_path)]) == 1
    assert "output q is a list" in capsys.readouterr().err
    assert np.load(tmp_path / "t.npy").tolist() == ["a", "ü"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (["x"], "InvalidArgument: --input 'x': expected name=file.npy"),
        (["q={x}"], r"the model has no input 'q'; its inputs are \['x', 'w'\]"),
        (["x=nowhere.npy"], "NoSuchFile: --input x=nowhere.npy: there is no such file"),
        (["x={model}"], "not a .npy file"),
        (["x={empty}"], "not a .npy file"),
        (["x={archive}"], "an archive of arrays, expected a .npy file with one"),
        (["x={x}", "x={x}"], "x is given twice"),
        (["x={double}"], r"Unexpected input data type. Actual: \(tensor\(double\)\) , expected: \(tensor\(float\)\) for input x"),
        (["x={wide}"], r"Got invalid dimensions for input: x for the following indices index: 1 Got: 4 Expected: 3"),
    ],
)
def test_wrong_inputs(path: Path, inputs: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty.npy").write_bytes(b"")
    np.savez(tmp_path / "archive.npz", a=X)
    files = {
        "x": saved(tmp_path, "x.npy", X),
        "double": saved(tmp_path, "d.npy", X.astype(np.float64)),
        "wide": saved(tmp_path, "w.npy", np.ones((1, 4), np.float32)),
        "model": path,
        "empty": tmp_path / "empty.npy",
        "archive": tmp_path / "archive.npz",
    }
    flags = [part for each in inputs for part in ("--input", each.format(**files))]
    assert main(["run", str(path), *flags]) == 1
    error = capsys.readouterr().err
    assert re.search(words, error)
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["run", "explain", "bench"])
def test_broken_models(command: str, path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(path.read_bytes()[:-9])
    assert "InvalidProtobuf: Failed to load model because protobuf parsing failed." in failure(capsys, command, broken)
    assert "NoSuchFile: " in failure(capsys, command, tmp_path / "nowhere.onnx")
    broken.write_bytes(path.read_bytes().replace(b"Add", b"Odd"))
    assert "No Op registered for Odd" in failure(capsys, command, broken)
    assert "Unknown Provider Type: Foo" in failure(capsys, command, path, "--providers", "Foo")


def test_other_failures_are_one_line_too(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(error: BaseException) -> None:
        def raising(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(InferenceSession, "run", raising)

    failing(PermissionError(13, "Permission denied", "x"))
    assert main(["run", str(path)]) == 1
    assert capsys.readouterr().err == "onnxgpu: PermissionError: [Errno 13] Permission denied: 'x'\n"
    failing(KeyError("x"))
    assert main(["run", str(path)]) == 1
    assert capsys.readouterr().err == "onnxgpu: KeyError: 'x'. This is a fault of onnxgpu: please report it with the model\n"
    failing(KeyboardInterrupt())
    assert main(["run", str(path)]) == 130
    assert capsys.readouterr().err == "onnxgpu: interrupted\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["run"],
        ["explain", "--nonsense", "m"],
        ["bench", "m", "--runs", "0"],
        ["bench", "m", "--runs", "two"],
        ["demo", "extra"],
    ],
    ids=str,
)
def test_wrong_command_lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: onnxgpu" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"onnxgpu {onnxgpu.__version__}\n"


def test_explain_json_is_nothing_but_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(path), "--json", "--providers", f"CoreMLExecutionProvider,{LOOPBACK},{CPU}"]) == 0
    output = capsys.readouterr()
    explained = json.loads(output.out)
    (node,) = explained["nodes"]
    assert (node["name"], node["provider"]) == ("sum", LOOPBACK)
    assert node["reason"]
    assert [(row["value"], row["bytes"], row["from"], row["to"]) for row in explained["transfers"]] == [
        ("x", None, "host", "loopback:0"),
        ("w", 12, "host", "loopback:0"),
        ("out", None, "loopback:0", "host"),
    ]
    assert output.err.startswith("ProviderFallbackWarning: CoreMLExecutionProvider is not available: ")


def test_explain_text(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(path), "--plan", "--providers", f"{LOOPBACK},{CPU}"]) == 0
    output = capsys.readouterr().out
    for words in (
        "first in the list that can run it",
        "transfers: 3, 12 bytes (2 of a size known only in the run)",
        "plan g(x, w) -> (out)",
    ):
        assert words in output


def test_bench(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(path), "--runs", "2"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"onnxgpu\s+│\s+\d+\.\d{3}", output)
    assert "onnxgpu /" not in output


def test_bench_against_another(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["bench", str(path), "--against", "onnxruntime", "--runs", "3"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^onnxgpu / onnxruntime: \d+\.\d\d \(middle half of the runs: \d+\.\d\d … \d+\.\d\d\)$", output, re.MULTILINE)
    assert re.search(r"relative to the largest output: 0\.0e\+00$", output, re.MULTILINE)
    assert main(["bench", str(path), "--against", "no_such_module", "--runs", "1"]) == 1
    assert "--against no_such_module: cannot be imported" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("has", "used"), [([CPU, LOOPBACK], [LOOPBACK, CPU]), ([CPU], [CPU]), (["AnExecutionProvider"], [CPU]), (None, [CPU])]
)
def test_bench_gives_the_other_the_same_providers(
    path: Path, monkeypatch: pytest.MonkeyPatch, has: list[str] | None, used: list[str]
) -> None:
    """Those of ours that it has; the CPU if there is none."""
    given: list[Any] = []

    def session(model: str, providers: list[str]) -> onnxgpu.InferenceSession:
        given.append(providers)
        return onnxgpu.InferenceSession(model, providers=[CPU])

    other = SimpleNamespace(InferenceSession=session, **({} if has is None else {"get_available_providers": lambda: has}))
    monkeypatch.setitem(sys.modules, "another_runtime", other)
    assert main(["bench", str(path), "--providers", f"{LOOPBACK},{CPU}", "--against", "another_runtime", "--runs", "1"]) == 0
    assert given == [used]


def test_difference_of_outputs() -> None:
    x = np.array([1.0, -4.0, np.nan, np.inf])
    assert bench.max_relative_error([x], [x]) == 0
    assert bench.max_relative_error([np.array([2.0, *x[1:]])], [x]) == 0.25
    assert bench.max_relative_error([np.ones(3)], [np.ones(2)]) == np.inf
    assert bench.max_relative_error([np.full(2, np.nan)], [np.ones(2)]) == np.inf
    assert bench.max_relative_error([np.ones(2)], [np.full(2, np.nan)]) == np.inf
    assert bench.max_relative_error([["a"], np.zeros(0)], [["b"], np.zeros(0)]) == 0


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"{CPU}: available" in text
    assert "ONNXGPU_STRICT = False: 1 to raise" in text
    assert main(["doctor", "--json"]) == 0
    assert {item["name"] for item in json.loads(capsys.readouterr().out)["providers"]} >= {CPU, LOOPBACK}


@pytest.mark.parametrize(("arguments", "encoding"), [(["demo"], "ascii"), (["demo", "--loopback"], "utf-8")])
def test_demo_in_a_child(arguments: list[str], encoding: str) -> None:
    """On a terminal that cannot show its shades, too. It has run before it is explained: every transfer has its bytes."""
    outcome = child(*arguments, PYTHONIOENCODING=encoding)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    accuracy = re.search(r"^accuracy: (0\.\d+)", outcome.stdout, re.MULTILINE)
    assert accuracy and float(accuracy[1]) >= 0.97
    assert re.search(r"^latency: ", outcome.stdout, re.MULTILINE)
    assert re.search(r"^transfers: [1-9]\d*, [\d,]+ bytes$", outcome.stdout, re.MULTILINE) or "--loopback" not in arguments


def test_demo_fails_where_the_accuracy_is_too_low(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu import demo

    monkeypatch.setattr(demo, "LEAST_ACCURACY", 1.0)
    monkeypatch.setattr(demo, "TIMED_RUNS", 3)
    assert main(["demo"]) == 1
    assert "accuracy: 0." in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="pipes")
def test_a_reader_that_stops_early(path: Path) -> None:
    command = f'"{sys.executable}" -m onnxgpu.cli explain "{path}" --json --providers {CPU} | true'
    outcome = subprocess.run(command, shell=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert outcome.stderr == ""
