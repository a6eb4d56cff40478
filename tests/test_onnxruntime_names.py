"""Every public name of onnxruntime is here: members, enumeration numbers, and parameters in name, order and default."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import json
import subprocess
import sys
from typing import Any

import pytest

from tests import onnxruntime_names as recording

RECORDED: dict[str, Any] = json.loads(recording.PATH.read_text(encoding="utf-8"))
MODULES = {name: name.replace("onnxruntime", "onnxgpu", 1) for name in recording.MODULES}

NAMES = [(module, name) for module in recording.MODULES for name in RECORDED[module]]


def _ours(module: str, name: str) -> Any:
    return getattr(importlib.import_module(MODULES[module]), name)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_name(module: str, name: str) -> None:
    wanted, ours = RECORDED[module][name], _ours(module, name)
    assert _kind(ours) == wanted["kind"]
    if wanted["kind"] == "enum":
        assert {member: int(getattr(ours, member)) for member in wanted["members"]} == wanted["members"]
    elif wanted["kind"] == "class":
        assert set(wanted["bases"]) <= {base.__name__ for base in ours.__mro__}
        faults = [f"constructor: {fault}" for fault in _differences(wanted["constructor"], _constructor_parameters(ours))]
        for member, described in wanted["members"].items():
            faults += [f"{member}: {fault}" for fault in _member_faults(ours, member, described)]
        assert faults == []
    elif wanted["kind"] == "function":
        assert _differences(wanted["parameters"], recording.parameters(ours)) == []


def test_the_recording_is_that_of_the_installed_onnxruntime() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if onnxruntime.__version__ != RECORDED["version"]:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} is installed, {RECORDED['version']} recorded")
    # In a process of its own: other tests ask onnxruntime's modules for things, which leaves traces in them.
    program = "import json; from tests import onnxruntime_names as r; print(json.dumps(r.recorded()))"
    root = recording.PATH.parents[1]
    printed = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == {name: RECORDED[name] for name in recording.MODULES}


def _kind(value: Any) -> str:
    if isinstance(value, type):
        return "enum" if issubclass(value, enum.Enum) else "class"
    return "module" if isinstance(value, type(json)) else "function" if callable(value) else "value"


def _constructor_parameters(owner: type) -> list[list[Any]] | None:
    return recording._constructor(owner)


def _member_faults(owner: type, name: str, described: Any) -> list[str]:
    if not hasattr(owner, name):
        return [] if "parameters" not in described and _is_field(owner, name) else ["is not there"]
    if "parameters" not in described:
        return ["is a method here"] if callable(getattr(owner, name)) and not isinstance(getattr(owner, name), type) else []
    if not callable(getattr(owner, name)):
        return ["is no method here"]
    return _differences(described["parameters"], recording.parameters(getattr(owner, name)))


def _is_field(owner: type, name: str) -> bool:
    return dataclasses.is_dataclass(owner) and any(field.name == name for field in dataclasses.fields(owner))


def _differences(wanted: list[list[Any]] | None, ours: list[list[Any]] | None) -> list[str]:
    """In what a call that onnxruntime takes would not be taken here; more optional parameters are allowed."""
    if wanted is None or ours is None:
        return []
    variadic = any(str(name).startswith("*") for name, _ in ours)
    faults = []
    for index, (name, default) in enumerate(wanted):
        if index >= len(ours) or str(ours[index][0]).startswith("*"):
            faults += [] if variadic else [f"parameter {index + 1} ({name}) is missing"]
        elif name is not None and name != ours[index][0]:
            faults.append(f"parameter {index + 1} is {ours[index][0]}, expected {name}")
        elif default is not None and name is not None and default != ours[index][1]:
            faults.append(f"default of {name} is {ours[index][1]}, expected {default}")
    faults += [
        f"parameter {name} is required" for name, default in ours[len(wanted) :] if default is None and not str(name).startswith("*")
    ]
    return faults
