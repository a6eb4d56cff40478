"""Settings of the emulated device, and what is said where it cannot be built."""

from __future__ import annotations

import shutil

import pytest

from onnxgpu.errors import InvalidArgument
from onnxgpu.providers.cuda.emulator.settings import Settings
from onnxgpu.providers.cuda.emulator.toolchain import missing


def test_text_of_an_environment_variable() -> None:
    assert Settings.parse("") == Settings()
    assert Settings.parse("lazy, checked,schedule=7,devices=2,memory=512") == Settings(True, True, 7, 2, memory=512 << 20)
    assert Settings.parse("lazy=0") == Settings()


@pytest.mark.parametrize("text", ["fast", "schedule=x", "memory=1G"])
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(InvalidArgument, match="the emulated device"):
        Settings.parse(text)


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    reason = missing()
    assert reason is not None and "g++" in reason
