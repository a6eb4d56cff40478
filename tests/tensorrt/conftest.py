"""The stand-in of `tensorrt`, on the emulated device of the test process."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from onnxgpu.providers.cuda.emulator.toolchain import missing
from tests.emulated import PLAIN
from tests.tensorrt.engines import Trt

VERSIONS = ("10.13", "11.4")


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The emulated device in plain mode, with nothing left from the test before."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    from onnxgpu.providers.cuda.emulator import install

    monkeypatch.setenv("ONNXGPU_CUDA", "emulated")
    device = install(PLAIN)
    yield device
    device.forget_error()
    device.configure(PLAIN)


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest, emulated: Any) -> Iterator[Trt]:
    """The module of each version, and what was logged; a violation of an order of calls that the test does not take fails it."""
    from onnxgpu.providers.tensorrt import stand_in
    from onnxgpu.providers.tensorrt.stand_in.plugins import unload_all

    stand_in.uninstall()
    stand_in.forget_violations()
    made = Trt(stand_in.install(request.param), request.param)
    yield made
    stand_in.uninstall()
    unload_all()
    assert not made.violations(), [str(each) for each in stand_in.violations()]
    stand_in.forget_violations()


@pytest.fixture(params=VERSIONS)
def tensorrt(request: pytest.FixtureRequest, emulated: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """For sessions: each version, which `ONNXGPU_TENSORRT` names; any violation of an order of calls fails the test."""
    from onnxgpu.providers.tensorrt import stand_in
    from onnxgpu.providers.tensorrt.stand_in.plugins import unload_all

    monkeypatch.setenv("ONNXGPU_TENSORRT", request.param)
    stand_in.uninstall()
    stand_in.forget_violations()
    yield stand_in.install(request.param)
    found = [str(each) for each in stand_in.violations()]
    stand_in.uninstall()
    unload_all()
    stand_in.forget_violations()
    assert not found
