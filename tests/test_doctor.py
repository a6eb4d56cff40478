"""`onnxgpu doctor` as data: versions, what each provider needs and finds, settings, and what gets in one another's way."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

import onnxgpu
from onnxgpu import discovery, doctor, knobs
from onnxgpu.doctor import diagnosis
from onnxgpu.libraries import Library
from onnxgpu.provider import Provider


class Broken(Provider):
    name = "BrokenExecutionProvider"

    @classmethod
    def unavailable(cls) -> str | None:
        return "libbroken.so.9 not found, looked in lib"

    @classmethod
    def libraries(cls) -> Sequence[Library]:
        return [
            Library("libbroken.so.9", None, needed=True, remedy="pip install broken"),
            Library("extra", "lib/extra.so", version="1.2", needed=False, remedy="pip install extra"),
        ]


def test_versions_and_providers() -> None:
    found = diagnosis()
    assert found["versions"]["onnxgpu"] == onnxgpu.__version__
    assert {"python", "platform", "numpy", "onnx", "onnx-ir", "ml_dtypes"} <= found["versions"].keys()
    assert "missing" not in found["versions"].values()
    available = {item["name"] for item in found["providers"] if item["available"]}
    assert set(onnxgpu.get_available_providers()) <= available
    for item in found["providers"]:
        assert bool(item["cause"]) != item["available"]
        assert all(library["found"] or library["remedy"] for library in item["libraries"])
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(found, default=str))


def test_a_provider_that_lacks_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    known = discovery._all() | {Broken.name: ("broken", Broken)}
    monkeypatch.setattr(discovery, "_all", lambda: known)
    (item,) = [item for item in diagnosis()["providers"] if item["name"] == Broken.name]
    assert item == {
        "name": Broken.name,
        "available": False,
        "cause": "libbroken.so.9 not found, looked in lib",
        "libraries": [
            {"name": "libbroken.so.9", "found": None, "version": None, "needed": True, "remedy": "pip install broken"},
            {"name": "extra", "found": "lib/extra.so", "version": "1.2", "needed": False, "remedy": ""},
        ],
    }


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXGPU_PROVIDERS", "CPUExecutionProvider")
    monkeypatch.setenv("ONNXGPU_STRICT", "perhaps")
    found = diagnosis()["knobs"]
    assert found.keys() == {knob.name for knob in knobs.ALL}
    assert found["ONNXGPU_PROVIDERS"]["value"] == ("CPUExecutionProvider",)
    assert "expected 0 or 1" in found["ONNXGPU_STRICT"]["value"], "the doctor tells what is wrong with a setting, and goes on"


@pytest.mark.parametrize("installed", [["onnxruntime"], ["onnxruntime", "onnxruntime-gpu"]])
def test_conflicting_installations(installed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name in installed else "missing")
    conflicts = diagnosis()["conflicts"]
    assert len(conflicts) == len(installed) - 1
    assert all("overwrite each other's files" in conflict for conflict in conflicts)
