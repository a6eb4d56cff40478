"""onnx's backend interface (`onnx.backend.base`) over `InferenceSession`.

import onnxgpu.backend

rep = onnxgpu.backend.prepare(model, device="CPU")
outputs = rep.run([x])
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep

from onnxgpu.discovery import providers
from onnxgpu.errors import InvalidArgument
from onnxgpu.options import SessionOptions
from onnxgpu.session import InferenceSession

Model = onnx.ModelProto | bytes | str | os.PathLike[str]


class OnnxGpuBackendRep(BackendRep):
    """A prepared model."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """The outputs, as a list.

        Args:
            inputs: a list in the order of the model's inputs, one array for a model with one input, or a dict by name.
            kwargs: `rtol` and `atol` of onnx's runner are accepted and not used.
        """
        if isinstance(inputs, dict):
            return self.session.run(None, inputs)
        given: Sequence[Any] = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        names = [argument.name for argument in (*self.session.get_inputs(), *self.session.get_overridable_initializers())]
        if len(given) > len(names):
            raise InvalidArgument(f"the model takes {len(names)} inputs {names}, got {len(given)}")
        feeds = {name: np.asarray(x) if isinstance(x, np.generic) else x for name, x in zip(names, given, strict=False)}
        return self.session.run(None, feeds)


class OnnxGpuBackend(Backend):
    """Prepares models for the CPU, or for whatever provider serves the device asked for."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """True for `CPU`, and for `CUDA` where a provider with a device is available."""
        kind = device.split(":")[0].upper()
        available = [p for p in providers().values() if p.listed and not p.last_resort and p.unavailable() is None]
        return kind == "CPU" or (kind == "CUDA" and any(p.memory is not None for p in available))

    @classmethod
    def is_compatible(cls, model: Model, device: str = "CPU", **kwargs: Any) -> bool:
        """True: what is not supported says so when it is prepared."""
        return True

    @classmethod
    def prepare(cls, model: Model | OnnxGpuBackendRep, device: str = "CPU", **kwargs: Any) -> OnnxGpuBackendRep:
        """A session over `model`.

        Args:
            model: a model, its bytes, its path, or what an earlier `prepare` gave.
            device: `CPU` uses the providers that run on the host; anything else those available that need not be named.
            kwargs: fields of `SessionOptions`; others are ignored.
        """
        if isinstance(model, OnnxGpuBackendRep):
            return model
        options = SessionOptions()
        for name, value in kwargs.items():
            if hasattr(options, name):
                setattr(options, name, value)
        host_only = [name for name, p in providers().items() if p.fallback] if device.upper().startswith("CPU") else None
        return OnnxGpuBackendRep(InferenceSession(model, options, providers=host_only))

    @classmethod
    def run_model(cls, model: Model, inputs: Any, device: str = "CPU", **kwargs: Any) -> Any:
        """Prepare `model` and run it once; the outputs are a list."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any) -> Any:
        """Run one node, at the newest opset unless `opset_version` is given; the outputs are a list."""
        given = [np.asarray(x) for x in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
        names = list(dict.fromkeys(name for name in node.input if name))
        arguments = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in zip(names, given, strict=True)
        ]
        graph = helper.make_graph([node], "node", arguments, [onnx.ValueInfoProto(name=name) for name in node.output if name])
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        imports = [helper.make_opsetid("", version)] + ([helper.make_opsetid(node.domain, 1)] if node.domain else [])
        return cls.run_model(helper.make_model(graph, opset_imports=imports), given, device)


prepare = OnnxGpuBackend.prepare
run = OnnxGpuBackend.run_model
run_model = OnnxGpuBackend.run_model
run_node = OnnxGpuBackend.run_node
supports_device = OnnxGpuBackend.supports_device
is_compatible = OnnxGpuBackend.is_compatible
