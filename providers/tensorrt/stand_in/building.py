"""A build: the checks of TensorRT's builder, its phases as a progress monitor sees them, and the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import prod

import numpy as np
import onnx

from onnxgpu.errors import OnnxGpuError
from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.build_profiles import CALL, Profile, complete_profiles
from onnxgpu.providers.tensorrt.stand_in.config import BuilderConfig
from onnxgpu.providers.tensorrt.stand_in.element_types import bytes_of, numpy_type, onnx_code, type_name
from onnxgpu.providers.tensorrt.stand_in.network import Network, Tensor
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.plan_file import Facts, IoTensor, PlanFile, raw_bytes
from onnxgpu.providers.tensorrt.stand_in.plugins import plugin_operators
from onnxgpu.providers.tensorrt.stand_in.profile import Range
from onnxgpu.providers.tensorrt.stand_in.progress import Monitor
from onnxgpu.providers.tensorrt.stand_in.registry import enum, version
from onnxgpu.providers.tensorrt.stand_in.reports import Reports
from onnxgpu.providers.tensorrt.stand_in.shape_tensors import DECIDING
from onnxgpu.providers.tensorrt.stand_in.shapes import Shapes
from onnxgpu.providers.tensorrt.stand_in.timing_cache import key_of

_CHANGEABLE = ("FLOAT", "HALF", "BF16", "INT8", "FP8", "INT4")
"""Types of weights that can be refitted."""


def build(network: Network, config: BuilderConfig, reports: Reports) -> PlanFile | None:
    """The engine; None, with an error in the log, where TensorRT does not build.

    Raises:
        Canceled: the monitor ended the build.
    """
    started = time.perf_counter()
    if not _is_buildable(network, config, reports):
        return None
    profiles = complete_profiles(network, config.profiles, reports)
    if profiles is None:
        return None
    weights = _weights(network, reports)
    if weights is None:
        return None
    assert network.model is not None
    monitor = Monitor(config.progress_monitor)
    model = _without_data(network.model, weights, _changeable(network))
    _set_outputs(model, network)
    with monitor.phase("Building Engine", None, 3) as step:
        measured = _inferred(network, model, profiles, reports)
        if measured is None:
            return None
        step()
        if not _time_tactics(network, config, profiles, monitor, reports):
            return None
        step()
        with monitor.phase("Compiling Backend Graph", "Building Engine", 1) as inner:
            facts = _facts(network, config, profiles, *measured, weights)
            inner()
        step()
    reports.log("INFO", f"Engine generation completed in {time.perf_counter() - started:.3g} seconds.")
    stripped = [name for name in facts.refittable if config.has("STRIP_PLAN")]
    return PlanFile(version(), gpu.platform(), facts, model.SerializeToString(deterministic=True), weights).without(stripped)


def _is_buildable(network: Network, config: BuilderConfig, reports: Reports) -> bool:
    problem = config.problem()
    typed = network.get_flag(enum("NetworkDefinitionCreationFlag").STRONGLY_TYPED)
    if problem is None and typed and (flag := config.reduced_precision()) is not None:
        problem = f"!config.getFlag(BuilderFlag::k{flag}). {flag} is not allowed for strongly typed networks"
    if problem is None and (network.model is None or not network.num_outputs):
        problem = "Network must have at least one output"
    if problem is not None:
        reports.error(CALL, problem, "INVALID_CONFIG" if network.num_outputs else "INVALID_STATE")
        return False
    for tensor in network.inputs:
        if tensor.is_shape_tensor and (len(tensor.shape) > 1 or -1 in tensor.shape):
            reports.error(CALL, f"{tensor.name}: shape tensor must have build-time extent", "INTERNAL_ERROR")
            return False
    return True


def _weights(network: Network, reports: Reports) -> dict[str, bytes] | None:
    """Every initializer's bytes; the caller's are read now."""
    assert network.model is not None
    found: dict[str, bytes] = {}
    for tensor in network.model.graph.initializer:
        loan = network.loaned.get(tensor.name)
        if loan is not None:
            if not loan.is_unchanged():
                told = f"the data of {tensor.name} changed between load_initializer and the build, or was freed"
                broken("weights outlive the build", reports, CALL, told, "INTERNAL_ERROR")
                return None
            found[tensor.name] = loan.content()
        elif tensor.name in network.weights:
            found[tensor.name] = onnx.numpy_helper.from_array(np.asarray(network.weights[tensor.name])).raw_data
        else:
            found[tensor.name] = raw_bytes(tensor)
    return found


_KEPT_BYTES = 8192


def _without_data(model: onnx.ModelProto, weights: dict[str, bytes], changeable: frozenset[str]) -> onnx.ModelProto:
    """The model with small constants, which may decide shapes, in it; all others are in `weights` alone."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    for domain, operator in sorted({(node.domain, node.op_type) for node in proto.graph.node if node.op_type in plugin_operators()}):
        proto.functions.add().CopyFrom(plugin_operators()[operator])
        proto.functions[-1].domain = domain
    for tensor in proto.graph.initializer:
        content = weights[tensor.name]
        bare = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        if len(content) <= _KEPT_BYTES and tensor.name not in changeable:
            bare.raw_data = content
        else:
            bare.data_location = onnx.TensorProto.EXTERNAL
        tensor.CopyFrom(bare)
    return proto


def _set_outputs(model: onnx.ModelProto, network: Network) -> None:
    """Let the model give what is marked in the network."""
    del model.graph.output[:]
    for tensor in network.outputs:
        kind = onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor(elem_type=onnx_code(tensor.dtype.name)))
        model.graph.output.append(onnx.ValueInfoProto(name=tensor.name, type=kind))


def _inferred(
    network: Network, model: onnx.ModelProto, profiles: tuple[Profile, ...], reports: Reports
) -> tuple[tuple[int, ...], tuple[str, ...]] | None:
    """Bytes of activations for each profile, and outputs of unknown shape."""
    shapes = Shapes(model)
    codes = {name: tensor.dtype.name for name, tensor in network.tensors.items()}
    outputs = {tensor.name for tensor in network.outputs}
    memory: list[int] = []
    unknown: set[str] = set()
    for ranges, values in profiles:
        try:
            largest = {name: sizes[2] for name, sizes in ranges.items()}
            found = shapes.of(largest, _values(network, values, 2))
        except OnnxGpuError as error:
            reports.error(CALL, f"Error in shape inference: {error.message}", "INTERNAL_ERROR")
            return None
        inner = [name for name in found if name in codes and name not in outputs and name not in largest]
        total = 0
        for name in inner:
            shape = found[name]
            count = prod(size if size >= 0 else 1 for size in shape) if shape is not None else 1
            total += -(-bytes_of(codes[name], count) // gpu.ALIGNMENT) * gpu.ALIGNMENT
        memory.append(total)
        unknown |= {name for name in outputs if (shape := found.get(name)) is None or -1 in shape}
    return tuple(memory), tuple(sorted(unknown))


def _values(network: Network, values: Mapping[str, Range], which: int) -> dict[str, np.ndarray]:
    types = {tensor.name: (numpy_type(tensor.dtype.name), tensor.shape) for tensor in network.inputs}
    return {name: np.array(given[which], types[name][0]).reshape(types[name][1]) for name, given in values.items()}


def _time_tactics(network: Network, config: BuilderConfig, profiles: tuple[Profile, ...], monitor: Monitor, reports: Reports) -> bool:
    """Fill the timing cache, layer by layer, as the builder does where it measures."""
    cache = None if config.has("DISABLE_TIMING_CACHE") else config.timing_cache()
    with monitor.phase("Timing Runners", "Building Engine", max(1, len(network.layers) * len(profiles))) as step:
        for shapes, _ in profiles:
            for layer in network.layers:
                key = key_of(layer.operator, [t.shape for t in layer._inputs if t is not None], sorted(shapes.items()), config.flags)
                if cache is not None and key not in cache.entries:
                    if config.has("ERROR_ON_TIMING_CACHE_MISS"):
                        reports.error(CALL, f"{layer.name}: a tactic is not in the timing cache", "INTERNAL_ERROR")
                        return False
                    cache.entries[key] = (int(key[2:18], 16), 0.01)
                step()
    return True


def _facts(
    network: Network,
    config: BuilderConfig,
    profiles: tuple[Profile, ...],
    memory: tuple[int, ...],
    unknown: tuple[str, ...],
    weights: Mapping[str, bytes],
) -> Facts:
    flags = tuple(name for name in enum("BuilderFlag").__members__ if config.has(name))
    used = plugin_operators().keys() & {layer.operator for layer in network.layers}
    return Facts(
        name=network.name,
        tensors=(*(_io(tensor, is_input=True) for tensor in network.inputs), *(_io(t, is_input=False) for t in network.outputs)),
        profiles=profiles,
        memory=memory,
        layers=tuple((layer.name, layer.operator) for layer in network.layers if layer.operator != "Constant"),
        flags=flags,
        unknown=unknown,
        refittable=_refittable(network, config, weights),
        plugins=tuple(config.plugins_to_serialize),
        plugin_operators=tuple(sorted(used)),
        capability=gpu.capability(),
        compatibility=config.hardware_compatibility_level.name,
        verbosity=config.profiling_verbosity.name,
        engine_capability=config.engine_capability.name,
        tactic_sources=config.get_tactic_sources(),
        aux_streams=max(0, config.max_aux_streams),
    )


def _io(tensor: Tensor, *, is_input: bool) -> IoTensor:
    return IoTensor(tensor.name, tensor.dtype.name, tuple(tensor.shape), is_input, is_input and tensor.is_shape_tensor)


def _refittable(network: Network, config: BuilderConfig, weights: Mapping[str, bytes]) -> tuple[str, ...]:
    """Weights that can be changed, where the flags ask for refitting."""
    if not any(config.has(name) for name in ("REFIT", "REFIT_IDENTICAL", "REFIT_INDIVIDUAL", "STRIP_PLAN")):
        return ()
    changeable = _changeable(network)
    if config.has("REFIT_INDIVIDUAL"):
        changeable &= network.refittable_marks
    return tuple(name for name in weights if name in changeable)


def _changeable(network: Network) -> frozenset[str]:
    """Weights that decide no shapes."""
    assert network.model is not None
    graph = network.model.graph
    deciding = {node.input[i] for node in graph.node for i in DECIDING.get(node.op_type, ()) if i < len(node.input)}
    kinds = {tensor.name: type_name(tensor.data_type) for tensor in graph.initializer}
    return frozenset(name for name, kind in kinds.items() if kind in _CHANGEABLE and name not in deciding)
