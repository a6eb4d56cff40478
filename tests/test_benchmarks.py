"""The benchmarks: their arithmetic, their refusals, and the keys of their results on a tiny model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

from benchmarks import against_reference, compiled_models, openvino_alone, overhead, packages, run_models
from benchmarks.inputs import InputDescription, make_inputs
from benchmarks.model_folder import find_models
from benchmarks.outputs import OutputFault, check_outputs, max_error
from benchmarks.pairing import Effort, compare
from benchmarks.ratios import geomean_ratio, geometric_mean, paired_ratio, quartiles
from benchmarks.recipes import RECIPES, model_names
from benchmarks.report import markdown_table, model_rows, replace_measured, save_json
from benchmarks.side import Side, SideFailed, SideSettings

CPU = ("CPUExecutionProvider",)
TINY = """
<ir_version: 10, opset_import: ["": 18]>
tiny (float[batch, 8] x) => (float[batch, 8] y) { a = Mul(x, x)  b = Add(a, x)  y = Relu(b) }
"""
QUICK = Effort(rounds=3, loads=1, seconds=0.001)
FEW_ROUNDS = ["--rounds", "2", "--loads", "1", "--seconds", "0.001"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(parser.parse_model(TINY), tmp_path / "tiny.onnx")
    return tmp_path


def test_ratio_is_paired_by_round() -> None:
    ratio = paired_ratio([2.0, 20.0, 6.0], [1.0, 10.0, 2.0])
    assert ratio.median == 2.0
    assert ratio.spread == (2.0, 2.5)


def test_ratio_wants_as_many_rounds_on_both_sides() -> None:
    with pytest.raises(ValueError, match="got 1 and 2"):
        paired_ratio([1.0], [1.0, 2.0])


def test_quartiles_interpolate() -> None:
    assert quartiles([4.0, 1.0, 3.0, 2.0]) == (1.75, 3.25)
    assert quartiles([5.0]) == (5.0, 5.0)


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geomean_ratio({"a": {"ratio": 4.0}, "b": {"ratio": 9.0}}) == pytest.approx(6.0)
    assert np.isnan(geomean_ratio({}))


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (np.full((2, 3), 0.5, np.float32), "everywhere"),
        (np.array([1.0, np.nan]), "infinite or NaN"),
        (np.array([1.0, np.inf]), "infinite or NaN"),
        (np.empty((0, 3)), "empty"),
    ],
)
def test_senseless_outputs_are_refused(output: np.ndarray, fault: str) -> None:
    with pytest.raises(OutputFault, match=fault):
        check_outputs("model", [output])


def test_max_error() -> None:
    assert max_error([np.array([1.0, 3.0])], [np.array([1.0, 4.0])]) == 0.25
    assert max_error([np.zeros(2)], [np.zeros(3)]) == float("inf")
    assert max_error([np.zeros(2, np.float32)], [np.zeros(2)]) == float("inf")
    assert max_error([np.array([np.nan])], [np.array([1.0])]) == float("inf")
    assert max_error([], [np.zeros(1)]) == float("inf")


def test_inputs_are_seeded_and_in_range() -> None:
    described = [
        InputDescription("input_ids", "tensor(int64)", ("batch", "sequence")),
        InputDescription("attention_mask", "tensor(int64)", ("batch", "sequence")),
        InputDescription("pixels", "tensor(float16)", (1, 3, 4, 4)),
    ]
    first, second, other = (make_inputs(described, seed=seed) for seed in (0, 0, 1))
    assert first["input_ids"].shape == (1, 128)
    assert first["input_ids"].min() >= 0
    assert first["input_ids"].max() < 400
    assert (first["attention_mask"] == 1).all()
    assert first["pixels"].dtype == np.float16
    np.testing.assert_array_equal(first["pixels"], second["pixels"])
    assert (first["input_ids"] != other["input_ids"]).any()


def test_unknown_input_types_are_named() -> None:
    with pytest.raises(ValueError, match=r"'words' is a tensor\(string\)"):
        make_inputs([InputDescription("words", "tensor(string)", (1,))])


def test_comparison_of_onnxgpu_with_onnxruntime(folder: Path) -> None:
    out = folder / "result.json"
    run_models.main(["--models", str(folder), "--json", str(out), *FEW_ROUNDS])
    result: dict[str, Any] = json.loads(out.read_text())
    assert {"models", "geomean_ratio", "versions", "cores", "rounds", "failures"} <= result.keys()
    model = result["models"]["tiny"]
    assert {"ratio", "spread", "memory_ratio", "max_error"} <= model.keys()
    assert model["spread"][0] <= model["ratio"] <= model["spread"][1]
    assert model["max_error"] == 0.0
    assert model["ours"]["providers"][0] == model["theirs"]["providers"][0] == CPU[0]
    assert result["geomean_ratio"] == pytest.approx(model["ratio"])
    assert result["failures"] == {}


def test_a_model_that_cannot_run_is_listed_and_fails_the_script(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(SystemExit, match="1"):
        run_models.main(["--models", str(folder), "--module", "onnxruntime", *FEW_ROUNDS])
    printed = capsys.readouterr().out
    assert "FAILED broken: onnxruntime failed at `load`" in printed
    assert "tiny" in printed


def test_outputs_that_differ_are_not_timed(folder: Path) -> None:
    side = SideSettings("onnxruntime", CPU)
    with pytest.raises(OutputFault, match="nothing was timed"):
        compare(folder / "tiny.onnx", side, side, Effort(rounds=1, loads=1, seconds=0.001, tolerance=-1.0))


def test_against_the_reference_evaluator(folder: Path) -> None:
    out = folder / "result.json"
    against_reference.main(["--models", str(folder), "--module", "onnxruntime", "--json", str(out), *FEW_ROUNDS])
    result = json.loads(out.read_text())
    assert result["theirs"] == "onnx.reference"
    assert result["models"]["tiny"]["ratio"] > 0


def test_a_side_that_crashes_or_hangs_is_named(folder: Path) -> None:
    with Side(SideSettings("no_such_module")) as side, pytest.raises(SideFailed, match="No module named 'no_such_module'"):
        side.ask("warm", path=str(folder / "tiny.onnx"))
    with Side(SideSettings("onnxruntime", CPU), limit=0.0) as side, pytest.raises(SideFailed, match="more than 0 s"):
        side.ask("warm", path=str(folder / "tiny.onnx"))
    with Side(SideSettings("onnxruntime", CPU)) as side:
        side._process.kill()
        side._process.wait()
        with pytest.raises(SideFailed, match="ended during"):
            side.ask("warm", path=str(folder / "tiny.onnx"))


def test_models_are_found_in_the_order_of_the_recipes(folder: Path) -> None:
    for name in ("whisper_enc", "resnet50"):
        (folder / f"{name}.onnx").touch()
    assert [path.stem for path in find_models(folder)] == ["resnet50", "whisper_enc", "tiny"]
    assert [path.stem for path in find_models(folder, "tiny")] == ["tiny"]
    with pytest.raises(SystemExit, match="no model absent"):
        find_models(folder, "absent")


def test_recipes_have_small_inputs_of_the_same_names() -> None:
    assert len(model_names()) == 9
    for recipe in RECIPES.values():
        assert recipe.inputs.keys() == recipe.small_inputs.keys()


def test_tables_and_documents(folder: Path) -> None:
    side = SideSettings("onnxruntime", CPU)
    result = run_models.run_models([folder / "tiny.onnx"], side, side, QUICK)
    heading, rows = model_rows(result)
    table = markdown_table(heading, rows)
    assert table.splitlines()[2].startswith("| tiny | ")
    assert "geometric mean" in table
    document = folder / "benchmarks.md"
    document.write_text(run_models.DOCUMENT.read_text())
    replace_measured(document, "run_models.py", table)
    replace_measured(document, "run_models.py", table)
    assert document.read_text().count("| tiny | ") == 1
    with pytest.raises(ValueError, match="expected the lines"):
        replace_measured(document, "another.py", table)


def test_json_has_no_nan(tmp_path: Path) -> None:
    save_json({"geomean_ratio": float("nan"), "models": {"a": [1.0, float("inf")]}}, tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == {"geomean_ratio": None, "models": {"a": [1.0, None]}}


def test_answers_of_packages_are_compared_in_words() -> None:
    theirs = {"text": ["one", "two"], "scores": [0.5, 1.0], "boxes": [[0, 0], [100, 50]], "spans": [{"start": 1}]}
    assert packages.differences(theirs, theirs) == []
    assert packages.differences(theirs | {"scores": [0.5, 1.0005], "boxes": [[0, 0], [100.4, 50]]}, theirs) == []
    (difference,) = packages.differences(theirs | {"text": ["one", "tow"]}, theirs)
    assert "['one', 'tow'] where onnxruntime gives ['one', 'two']" in difference
    (difference,) = packages.differences(theirs | {"scores": [0.5, 1.1]}, theirs)
    assert "numbers differ by 0.1" in difference
    assert packages.differences(theirs | {"scores": [0.5]}, theirs) == ["scores: shape [1] where onnxruntime gives [2]"]
    assert packages.differences(theirs | {"spans": [{"start": 2}]}, theirs)


def test_compiled_models_are_checked_before_they_are_timed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    compiled_models.main(["--models", str(folder), "--rounds", "1", "--json", str(folder / "result.json")])
    tiny = json.loads((folder / "result.json").read_text())["models"]["tiny"]
    assert tiny["segments"] == 1
    assert all(tiny[form]["ratio"] > 0 and tiny[form]["bytes"] > 100 for form in ("files", "embedded"))
    with pytest.raises(SideFailed, match="gives other outputs"):
        compiled_models.check_same(folder / "tiny.onnx", CPU, {"x": np.ones((1, 8), np.float32)}, [np.ones((1, 8), np.float32)])


def test_openvino_is_timed_alone_and_in_sessions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    arguments = ["--models", str(folder), "--rounds", "1", "--seconds", "0.01", "--starts", "1", "--json", str(folder / "result.json")]
    openvino_alone.main(arguments)
    result = json.loads((folder / "result.json").read_text())
    assert len(result["models"]["tiny"]["ratios"]) == 4 and all(value > 0 for value in result["geomean"].values())


def test_overhead_is_measured_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(overhead, "CASES", (overhead.Case(("Add", "Sigmoid"), 4, (2, 3)),))
    monkeypatch.setattr(overhead, "NODES", overhead.NODES[-3:])
    monkeypatch.setattr(overhead, "TURN_SECONDS", 0.0005)
    overhead.main(["--rounds", "2", "--json", str(tmp_path / "result.json")])
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["cases"]) == 4
    for case in result["cases"].values():
        assert set(case) == {"ratio", "spread", "microseconds"}
        assert 0 < case["ratio"] < 100
    assert "4 × Add, Sigmoid of (2, 3)" in capsys.readouterr().out
    node = overhead.model(overhead.CASES[0]).graph.node
    assert [n.op_type for n in node] == ["Add", "Sigmoid"] * 2


@pytest.mark.slow
def test_packages_answer_as_with_onnxruntime(tmp_path: Path) -> None:
    """Installs them from the package index. Those with the largest dependencies are left to the script."""
    result = tmp_path / "result.json"
    packages.main(["--only", "magika,openwakeword,ddddocr,text2tashkeel", "--venv", str(tmp_path / "venv"), "--json", str(result)])
    found = json.loads(result.read_text())["packages"]
    assert len(found) == 4 and all(entry["same"] and entry["ours_seconds"] > 0 for entry in found.values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the emulated device needs g++")
def test_packages_run_wholly_on_cuda_on_the_emulated_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs them from the package index. Those that take minutes there are left to the script."""
    monkeypatch.setenv("ONNXGPU_CUDA", packages.EMULATED)
    result = tmp_path / "result.json"
    packages.main(["--cuda", "--only", "magika,nudenet,faster-whisper", "--venv", str(tmp_path / "venv"), "--json", str(result)])
    found = json.loads(result.read_text())["packages"]
    assert len(found) == 3 and all(entry["same"] and packages.is_wholly_on_cuda(entry) for entry in found.values())
