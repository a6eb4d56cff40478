"""Changed in any place, no call of a build that works is taken any more."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from onnxgpu.providers.tensorrt import stand_in
from onnxgpu.providers.tensorrt.stand_in.surface.api import load
from tests.tensorrt.mutations import mutants, taken
from tests.tensorrt.working_builds import build_and_run

CLASSES = {
    "Builder",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "INetworkDefinition",
    "IOptimizationProfile",
    "ITimingCache",
    "IPluginRegistry",
    "OnnxParser",
    "ParserError",
    "OnnxParserRefitter",
    "Refitter",
    "Runtime",
}


def test_every_change_of_a_call_is_refused(tensorrt: ModuleType, tmp_path: Path) -> None:
    stand_in.clear()
    with stand_in.keeping_arguments():
        build_and_run(stand_in.installed(), tmp_path)
    calls = {str(call): call for call in stand_in.recorded()}.values()
    assert {call.type for call in calls} >= CLASSES
    api = load(stand_in.installed())
    assert sum(1 for call in calls for _ in mutants(call, api)) > 300
    assert taken(calls, api) == []
