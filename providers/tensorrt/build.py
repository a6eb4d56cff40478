"""From a segment to the bytes of its engine, by TensorRT's builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onnxgpu.errors import EPFail, InvalidArgument, ModelLoadCanceled
from onnxgpu.log import logger
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.cuda.device_provider import gpu
from onnxgpu.providers.segments.builds import Report
from onnxgpu.providers.segments.shapes import Profile
from onnxgpu.providers.tensorrt.library import tensorrt
from onnxgpu.providers.tensorrt.messages import listening
from onnxgpu.providers.tensorrt.network import Network
from onnxgpu.providers.tensorrt.plugins import load_plugins
from onnxgpu.providers.tensorrt.progress import monitor_of
from onnxgpu.providers.tensorrt.settings import BuildSettings
from onnxgpu.providers.tensorrt.timing import attach_timing_cache, keep_timing_cache


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What an engine is built from, alone: another process can do it.

    Attributes:
        name: of the segment, for messages.
        model: the segment.
        profiles: what its inputs may be; none if all shapes are fixed.
        settings: all else.
    """

    name: str
    model: CutModel
    profiles: tuple[Profile, ...]
    settings: BuildSettings


def build(request: BuildRequest, report: Report) -> bytes:
    """The engine, serialized.

    Args:
        request: what to build.
        report: told of progress, from TensorRT's threads; it says False to end the build.

    Raises:
        EPFail: TensorRT does not build it; says why in its words.
        InvalidArgument: a setting or a profile is one that TensorRT does not take.
        ModelLoadCanceled: `report` said so.
    """
    settings = request.settings
    with gpu(settings.device_index, {}).current(), listening(detailed=settings.detailed_log) as told:
        load_plugins(settings.plugins)
        network = Network(request.model, told)
        network.definition.name = request.name
        monitor = monitor_of(report)
        config = _config(network, request, monitor)
        cache = attach_timing_cache(config, settings)
        plan = network.builder.build_serialized_network(network.definition, config)
        if plan is None and monitor.was_ended:
            raise ModelLoadCanceled(f"the build of {request.name} was cancelled")
        if plan is None:
            raise told.failed(EPFail, f"TensorRT does not build an engine for {request.name}")
        keep_timing_cache(config, cache, settings)
        return bytes(plan)


def _config(network: Network, request: BuildRequest, monitor: Any) -> Any:
    """TensorRT's `IBuilderConfig` for the settings."""
    trt, settings, config = tensorrt(), request.settings, network.builder.create_builder_config()
    flags = {
        trt.BuilderFlag.TF32: settings.tf32,
        trt.BuilderFlag.SPARSE_WEIGHTS: settings.sparsity,
        trt.BuilderFlag.STRIP_PLAN: settings.strips_weights,
        trt.BuilderFlag.WEIGHT_STREAMING: settings.streams_weights,
    }
    for flag, wanted in flags.items():
        config.set_flag(flag) if wanted else config.clear_flag(flag)
    if settings.workspace:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    config.builder_optimization_level = settings.optimization_level
    if settings.auxiliary_streams >= 0:
        config.max_aux_streams = settings.auxiliary_streams
    if settings.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if settings.detailed_log:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    _choose_core(network.builder, config, settings)
    _choose_tactics(config, settings)
    for name in settings.preview_features:
        config.set_preview_feature(_member(trt.PreviewFeature, name, "trt_preview_features"), True)
    config.progress_monitor = monitor
    for profile in request.profiles:
        _add_profile(network, config, profile, request.name)
    return config


def _choose_core(builder: Any, config: Any, settings: BuildSettings) -> None:
    """Use the DLA core that is asked for, and the GPU for what that cannot run."""
    if settings.dla_core is None:
        return
    if settings.dla_core >= builder.num_DLA_cores:
        cores = builder.num_DLA_cores
        logger.warning("option trt_dla_core is %d, and this device has %d DLA cores: the GPU runs all", settings.dla_core, cores)
        return
    trt = tensorrt()
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = settings.dla_core


def _choose_tactics(config: Any, settings: BuildSettings) -> None:
    if not settings.tactic_sources:
        return
    sources = int(config.get_tactic_sources())
    for name, wanted in settings.tactic_sources:
        bit = 1 << int(_member(tensorrt().TacticSource, name, "trt_tactic_sources"))
        sources = sources | bit if wanted else sources & ~bit
    if not config.set_tactic_sources(sources):
        raise InvalidArgument(f"option 'trt_tactic_sources': TensorRT does not take the sources {dict(settings.tactic_sources)}")


def _member(enum: Any, name: str, option: str) -> Any:
    """The member of one of TensorRT's enums.

    Raises:
        InvalidArgument: this version has none of that name.
    """
    members: Mapping[str, Any] = enum.__members__
    if name not in members:
        raise InvalidArgument(f"option {option!r}: TensorRT {tensorrt().__version__} has no {name!r}; it has {', '.join(members)}")
    return members[name]


def _add_profile(network: Network, config: Any, profile: Profile, segment: str) -> None:
    """Tell the builder between which shapes inputs lie, and between which values those that are shapes themselves."""
    ranges, made = dict(profile), network.builder.create_optimization_profile()
    for value in network.inputs():
        if not (value.is_dynamic or value.is_shape_tensor):
            continue
        if value.name not in ranges:
            raise InvalidArgument(f"{segment}: the profile says nothing of input '{value.name}' of shape {list(value.shape)}: name it too")
        bounds = ranges[value.name]
        set_range: Callable[..., None] = made.set_shape_input if value.is_shape_tensor else made.set_shape
        try:
            set_range(value.name, bounds.least, bounds.best, bounds.most)
        except (ValueError, RuntimeError) as error:
            raise InvalidArgument(f"{segment}: TensorRT does not take the profile of input '{value.name}', {bounds}: {error}") from error
    if config.add_optimization_profile(made) < 0:
        raise InvalidArgument(f"{segment}: TensorRT does not take the profile {dict(profile)}")
