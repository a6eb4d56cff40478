"""The device that the tests of this folder run on, or why there is none, and which of them run."""

from __future__ import annotations

from typing import Any

import pytest

from onnxgpu.providers.cuda.provider import CUDAProvider


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", default="1/1", help="K/N: of the tests in tests/gpu, every Nth from the Kth on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = [item for item in items if "tests/gpu" in item.path.as_posix()]
    part, parts = map(int, config.getoption("--part", "1/1").split("/"))
    chosen = here[part - 1 :: parts]
    left_out = set(here) - set(chosen)
    items[:] = [item for item in items if item not in left_out]
    reason = CUDAProvider.unavailable() if here else None
    for item in chosen:
        item.add_marker(pytest.mark.gpu)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"no GPU to test on: {reason}"))


@pytest.fixture
def cp() -> Any:
    """CuPy on the device."""
    from onnxgpu.providers.cuda.device import cupy

    return cupy()
