"""A session over TensorRT before its first request: engines built, wherever, and every profile run."""

from __future__ import annotations

from typing import Any

import pytest

from onnxgpu.warm_up import engine_builds
from tests.models import perceptron
from tests.tensorrt.sessions import check, rows, session

PROFILES: dict[str, Any] = {
    "trt_profile_min_shapes": "x:1x64,x:9x64",
    "trt_profile_opt_shapes": "x:4x64,x:16x64",
    "trt_profile_max_shapes": "x:8x64,x:16x64",
}


pytestmark = pytest.mark.usefixtures("tensorrt")


@pytest.mark.parametrize("options", [{}, {"trt_build_in_process": True}], ids=["thread", "process"])
def test_each_profile_is_run_once_its_engine_is_there(options: dict[str, Any]) -> None:
    made = session(perceptron(), trt_build_in_background=True, **PROFILES, **options)
    made.warm_up(timeout=60)
    (build,) = engine_builds(made.plan)
    assert (build.is_done, build.error) == (True, None)
    assert len(made.programs[0].sources()) == 2
    for count in (4, 16, 9):
        check(made, perceptron(), {"x": rows(count)})


def test_inputs_of_ones_own_ask_for_their_buckets() -> None:
    made = session(perceptron())
    made.warm_up([{"x": rows(5)}, {"x": rows(9)}], timeout=60)
    assert [build.is_done for build in engine_builds(made.plan)] == [True, True]
    check(made, perceptron(), {"x": rows(7)})
