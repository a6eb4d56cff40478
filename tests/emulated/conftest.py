"""The emulated device of the test process."""

from __future__ import annotations

import tracemalloc  # noqa: F401  pytest imports it while it tells of an array that a faulted device could not free, and of the next meanwhile
from collections.abc import Iterator
from typing import Any

import pytest

from onnxgpu.providers.cuda.emulator.toolchain import missing
from tests.emulated import PLAIN


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing()
    if reason is not None:
        for item in items:
            if "tests/emulated" in str(item.path):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXGPU_CUDA", "emulated")


@pytest.fixture
def device() -> Iterator[Any]:
    """The device in plain mode, forgiving from test to test."""
    from onnxgpu.providers.cuda.emulator import install

    device = install(PLAIN)
    yield device
    device.forget_error()
    device.configure(PLAIN)


@pytest.fixture
def cp(device: Any) -> Any:
    """CuPy on the device."""
    import cupy

    return cupy


@pytest.fixture
def exact_bounds(cp: Any) -> Iterator[None]:
    """Each array is an allocation of its own."""
    cp.cuda.set_allocator(None)
    yield
    cp.cuda.set_allocator(cp.get_default_memory_pool().malloc)
