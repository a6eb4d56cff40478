"""The model of an engine, ready to run on the host: what the emulated GPU computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from onnxgpu.providers.tensorrt.stand_in.shapes import host_providers

if TYPE_CHECKING:
    from onnxgpu.provider import Provider


class Executable:
    """Runs a model on OpenVINO where that is installed, and on the CPU; whatever providers a program has chosen.

    Args:
        model: with all its weights.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._session = _session(model, [*_fast(), *host_providers()])

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[Any]:
        """The outputs, in the order of the model."""
        return list(self._session.run(None, inputs))


def _session(model: onnx.ModelProto, providers: Sequence[Provider]) -> Any:
    from onnxgpu.selection import Selection
    from onnxgpu.session import InferenceSession

    class HostSession(InferenceSession):
        """A session that has these providers, also where the environment names others."""

        def _selected(self, *_: Any) -> Selection:
            return Selection(tuple(providers))

    return HostSession(model)


def _fast() -> list[Provider]:
    from onnxgpu.discovery import providers

    found = providers().get("OpenVINOExecutionProvider")
    return [found()] if found is not None and found.unavailable() is None else []
