"""docs/operators.md is what docs/operators.py writes now, and the script reads conditions rightly."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import onnxruntime
import pytest

from onnxgpu.provider import Operation

SCRIPT = Path(__file__).resolve().parents[1] / "docs/operators.py"
METRICS = ("one", "two")


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("operator_table", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up annotations
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(table: ModuleType) -> None:
    assert table.main(["--check"]) == 0, "run python docs/operators.py"


def test_a_stale_page_is_found(table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "operators.md"
    monkeypatch.setattr(table, "DOCUMENT", page)
    assert table.main(["--check"]) == 1
    assert table.main([]) == 0
    assert table.main(["--check"]) == 0
    page.write_text(page.read_text("utf-8").replace("Softmax", "Softmin"), "utf-8")
    assert table.main(["--check"]) == 1


def test_names_are_onnxruntimes(table: ModuleType) -> None:
    text = table.NAMES.read_text("utf-8")
    if onnxruntime.__version__ not in text.partition("\n")[0]:
        pytest.skip(f"the list is of another version: {text.partition(chr(10))[0]}")
    assert text == table.names_text()


def nested(operation: Operation) -> str | None:
    return f"knows {' and '.join(METRICS)}, not {operation.name!r}"


def condition(operation: Operation) -> str | None:
    for attribute in ("first", "second"):
        if operation.attributes.get(attribute):
            return f"with {attribute} is not implemented"
    if operation.version > 3:
        return None if operation.name else "needs a name"
    return nested(operation)


def test_reasons_are_read_off_conditions(table: ModuleType) -> None:
    assert sorted(table.reasons(condition)) == ["knows one and two, not …", "needs a name", "with first or second is not implemented"]


def test_every_standard_operator_is_there(table: ModuleType) -> None:
    assert " | - |" in next(line for line in table.summary().splitlines() if line.startswith("| [ai.onnx](#aionnx)"))
    assert "| [ReduceSum](https://onnx.ai/onnx/operators/onnx__ReduceSum.html) | 1, 11 · 13 |" in table.document()
