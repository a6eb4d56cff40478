"""What an engine tells of its layers."""

from __future__ import annotations

import json
from typing import Any

from onnxgpu.providers.tensorrt.stand_in.plan_file import Facts
from onnxgpu.providers.tensorrt.stand_in.registry import implements
from onnxgpu.providers.tensorrt.stand_in.reports import Reports


@implements("EngineInspector")
class EngineInspector:
    """As much as the profiling verbosity of the build allows.

    Args:
        facts: of the engine.
        reports: the engine's.
    """

    def __init__(self, facts: Facts, reports: Reports) -> None:
        self._facts, self._reports = facts, reports
        self.execution_context: Any = None
        self.error_recorder: Any = None

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        """One layer, as a line or as JSON."""
        layers = self._facts.layers
        if not 0 <= layer_index < len(layers):
            self._reports.error("IEngineInspector::getLayerInformation", f"there is no layer {layer_index}")
            return ""
        told = self._told(*layers[layer_index])
        return json.dumps(told) if format.name == "JSON" else f"{told}\n"

    def get_engine_information(self, format: Any) -> str:
        """All layers, as lines or as JSON."""
        told = [self._told(*layer) for layer in self._facts.layers]
        if format.name == "JSON":
            return json.dumps({"Layers": told, "Bindings": [tensor.name for tensor in self._facts.tensors]})
        return "Layers:\n" + "".join(f"{layer}\n" for layer in told)

    def _told(self, name: str, operator: str) -> Any:
        verbosity = self._facts.verbosity
        if verbosity == "NONE":
            return ""
        return {"Name": name, "LayerType": operator} if verbosity == "DETAILED" else name
