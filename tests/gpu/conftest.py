"""The device that the tests of this folder run on, or why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from onnxgpu.providers.cuda.provider import CUDAProvider


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if "tests/gpu" in item.path.as_posix()]
    reason = CUDAProvider.unavailable() if here else None
    for item in here:
        item.add_marker(pytest.mark.gpu)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"no GPU to test on: {reason}"))


@pytest.fixture
def cp() -> Any:
    """CuPy on the device."""
    from onnxgpu.providers.cuda.device import cupy

    return cupy()
