"""Sessions that together make every call of TensorRT that the provider knows, all of them right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.models import perceptron
from tests.tensorrt.sessions import check, rows, session

DATA_DEPENDENT = """finds (float[4,6] x) => (int64[2,k] y) { a = Relu (x)  y = NonZero (a) }"""
SHAPE_INPUT = """reshapes (float[a,b] x, int64[2] s) => (float[c,d] y) { r = Relu (x)  y = Reshape (r, s) }"""
PARTLY_REFUSED = "sums (float[4,8] x, int32 axis) => (float[4,8] y) { a = Relu (x)  b = CumSum (a, axis)  y = Neg (b) }"
PLUGINS = '<opset_import: ["" : 21], domain: "trt.plugins"> Twice (x) => (y) { y = Add (x, x) }'
SOURCE = {"10.13": "-CUDNN,+JIT_CONVOLUTIONS", "11.4": "-EDGE_MASK_CONVOLUTIONS,+JIT_CONVOLUTIONS"}
PREVIEW = {"10.13": "PROFILE_SHARING_0806", "11.4": "ALIASED_PLUGIN_IO_10_03"}


def build_and_run(version: str, folder: Path) -> None:
    """Build with every setting, run with fixed, dynamic and data-dependent shapes, keep engines, read them back and refit them.

    One segment has a plugin beside it and a node that the parser refuses.
    """
    settings: dict[str, Any] = {
        "trt_auxiliary_streams": 1,
        "trt_builder_optimization_level": 4,
        "trt_detailed_build_log": True,
        "trt_engine_hw_compatible": True,
        "trt_max_workspace_size": 1 << 24,
        "trt_preview_features": PREVIEW[version],
        "trt_sparsity_enable": True,
        "trt_tactic_sources": SOURCE[version],
        "trt_tf32_enable": True,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
    }
    check(session(perceptron(3), **settings), perceptron(3), {"x": rows(3)}, runs=3)
    profiles: dict[str, Any] = {
        "trt_profile_min_shapes": "x:1x64,x:9x64",
        "trt_profile_opt_shapes": "x:4x64,x:16x64",
        "trt_profile_max_shapes": "x:8x64,x:32x64",
    }
    made = session(perceptron(), **profiles)
    for count in (2, 10, 2):
        check(made, perceptron(), {"x": rows(count)})
    found = np.zeros((4, 6), np.float32)
    found[1, 2] = 1
    check(session(DATA_DEPENDENT), DATA_DEPENDENT, {"x": found}, runs=2)
    reshaped = session(SHAPE_INPUT, trt_build_on_request=True)
    check(reshaped, SHAPE_INPUT, {"x": rows(2, 6), "s": np.array([3, 4])}, runs=2)
    kept: dict[str, Any] = {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_weight_stripped_engine_enable": True,
    }
    for _ in range(2):
        check(session(perceptron(2), **kept), perceptron(2), {"x": rows(2)})
    for budget in (1024, -1):
        check(session(perceptron(2), trt_weight_streaming_budget=budget), perceptron(2), {"x": rows(2)}, runs=2)
    library = folder / "plugins.txt"
    library.write_text(PLUGINS, "utf-8")
    check(
        session(PARTLY_REFUSED, trt_extra_plugin_lib_paths=str(library), trt_dla_enable=True),
        PARTLY_REFUSED,
        {"x": rows(4, 8), "axis": np.array(1, np.int32)},
    )
