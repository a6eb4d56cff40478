"""Small engines on the stand-in of `tensorrt`: built from ONNX's text form, run on arrays of the emulated device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

Shapes = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]

HEADER = '<ir_version: 10, opset_import: ["" : 21]>'


def model_of(text: str) -> onnx.ModelProto:
    """A model of opset 21 from the text of its graph."""
    return onnx.parser.parse_model(f"{HEADER}\n{text}")


TWICE = '<domain: "my", opset_import: ["" : 21]>\nTwice (x) => (y) { y = Add (x, x) }\n'
"""A library with a plugin, for the stand-in."""


def twice() -> onnx.ModelProto:
    """A model with the plugin's operator."""
    return onnx.parser.parse_model(HEADER.replace("]", ', "my" : 1]') + "\ng (float[2] x) => (float[2] y) { y = my.Twice (x) }")


@dataclass
class Profile:
    """Shapes and values for one profile."""

    shapes: Shapes
    values: Shapes | None = None


class Trt:
    """The installed module with a logger that keeps its lines.

    Args:
        module: `tensorrt`.
        version: `10.13` or `11.4`.

    Attributes:
        lines: (name of the severity, text).
    """

    def __init__(self, module: Any, version: str) -> None:
        self.module, self.version = module, version
        self.lines: list[tuple[str, str]] = []
        lines = self.lines

        class Kept(module.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                module.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                lines.append((severity.name, msg))

        self.logger = Kept()
        self.runtime = module.Runtime(self.logger)
        self._taken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def errors(self) -> list[str]:
        """The lines of errors since the last call."""
        found = [text for name, text in self.lines if name in ("ERROR", "INTERNAL_ERROR")]
        self.lines.clear()
        return found

    def violations(self) -> list[str]:
        """The names of the rules that were broken since the last call."""
        from onnxgpu.providers.tensorrt import stand_in

        found = [violation.rule for violation in stand_in.violations()[self._taken :]]
        self._taken += len(found)
        return found

    def parsed(self, model: onnx.ModelProto) -> tuple[Any, Any, Any]:
        """Builder, network and parser of a model that the parser takes."""
        builder = self.module.Builder(self.logger)
        flags = 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = self.module.OnnxParser(network, self.logger)
        assert parser.parse(model.SerializeToString()), [str(parser.get_error(i)) for i in range(parser.num_errors)]
        return builder, network, parser

    def serialized(self, model: onnx.ModelProto, *profiles: Profile, configure: Callable[[Any], object] = lambda config: None) -> Any:
        """The engine's bytes, or None."""
        builder, network, _ = self.parsed(model)
        config = builder.create_builder_config()
        for each in profiles:
            profile = builder.create_optimization_profile()
            for name, shapes in each.shapes.items():
                profile.set_shape(name, *shapes)
            for name, values in (each.values or {}).items():
                profile.set_shape_input(name, *values)
            config.add_optimization_profile(profile)
        configure(config)
        return builder.build_serialized_network(network, config)

    def engine(self, model: onnx.ModelProto, *profiles: Profile, configure: Callable[[Any], object] = lambda config: None) -> Any:
        """An engine of it."""
        serialized = self.serialized(model, *profiles, configure=configure)
        assert serialized is not None, self.errors()
        engine = self.runtime.deserialize_cuda_engine(serialized)
        assert engine is not None, self.errors()
        return engine

    def names(self, engine: Any, mode: str) -> list[str]:
        """Those of inputs, or of outputs."""
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        return [name for name in names if engine.get_tensor_mode(name).name == mode]


class Run:
    """One context with inputs and outputs on the device.

    Args:
        trt: the module.
        engine: an engine.
        feeds: input → array.
        context: one of the engine; made if there is none.
    """

    def __init__(self, trt: Trt, engine: Any, feeds: Mapping[str, np.ndarray], context: Any = None) -> None:
        import cupy

        self.engine, self.cupy = engine, cupy
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.context = engine.create_execution_context() if context is None else context
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        with self.stream:
            for name, array in feeds.items():
                assert self.context.set_input_shape(name, array.shape), trt.errors()
                on_host = engine.get_tensor_location(name) == trt.TensorLocation.HOST
                self.inputs[name] = np.ascontiguousarray(array) if on_host else cupy.asarray(array)
                assert self.context.set_tensor_address(name, _address(self.inputs[name])), trt.errors()
            for name in trt.names(engine, "OUTPUT"):
                shape = tuple(self.context.get_tensor_shape(name))
                if -1 not in shape:
                    self.outputs[name] = cupy.empty(shape, trt.nptype(engine.get_tensor_dtype(name)))
                    assert self.context.set_tensor_address(name, _address(self.outputs[name])), trt.errors()
        self.stream.synchronize()

    def launched(self) -> bool:
        """Enqueue; what the context says to it."""
        return bool(self.context.execute_async_v3(self.stream.ptr))

    def results(self) -> list[np.ndarray]:
        """Run, wait, and fetch."""
        assert self.launched()
        self.stream.synchronize()
        return [array.get() for array in self.outputs.values()]


def _address(array: Any) -> int:
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr)


def expected(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
    """What the CPU gives."""
    import onnxgpu

    session = onnxgpu.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))
