"""The provider's options as what decides how engines are built, each checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.log import logger

PLUGIN_DOMAIN = "trt.plugins"
"""Where onnxruntime has TensorRT's plugins as operators."""

LEVELS = range(6)
"""TensorRT's builder optimization levels."""

WITHOUT_EFFECT = {
    "trt_build_heuristics_enable": "TensorRT 10 and 11 have no such setting: trt_builder_optimization_level decides how long they try",
    "trt_context_memory_sharing_enable": "the segments of a session always share the memory of their contexts, that of the session's arena",
    "trt_load_user_initializer": "weights are always handed to the parser where they lie, if it can take them",
}
"""Options that change nothing here → why."""

_told: set[str] = set()


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """Everything beside model and profiles that an engine depends on, and how it is built; picklable.

    Attributes:
        device_index: the GPU to build for.
        workspace: bytes that an operator's scratch memory may have; 0 for all there is.
        optimization_level: 0 to 5: how long TensorRT tries.
        auxiliary_streams: at most so many; -1: TensorRT decides.
        tf32: float32 products may be computed in TF32.
        sparsity: weights of which two in four are zero may be used as such.
        hardware_compatible: the engine runs on Ampere and later GPUs.
        dla_core: run what it can on this DLA core, the rest on the GPU; None: on the GPU.
        tactic_sources: name → whether TensorRT may use it; the rest is as TensorRT has it.
        preview_features: names.
        strips_weights: the engine has no weights that it can be refitted with.
        streams_weights: weights can stay in host memory in part.
        plugins: paths of shared libraries with plugins.
        timing_cache: a file; empty for none.
        ignores_timing_mismatch: a timing cache of another device is used too.
        detailed_log: log what TensorRT does and chooses.
    """

    device_index: int = 0
    workspace: int = 0
    optimization_level: int = 3
    auxiliary_streams: int = -1
    tf32: bool = False
    sparsity: bool = False
    hardware_compatible: bool = False
    dla_core: int | None = None
    tactic_sources: tuple[tuple[str, bool], ...] = ()
    preview_features: tuple[str, ...] = ()
    strips_weights: bool = False
    streams_weights: bool = False
    plugins: tuple[str, ...] = ()
    timing_cache: str = ""
    ignores_timing_mismatch: bool = False
    detailed_log: bool = False

    def facts(self) -> tuple[object, ...]:
        """What an engine depends on: not where and how it is built."""
        same = replace(self, device_index=0, timing_cache="", ignores_timing_mismatch=False, detailed_log=False)
        return tuple((field.name, getattr(same, field.name)) for field in fields(same))


def settings_of(options: Mapping[str, Any], device_index: int) -> BuildSettings:
    """The settings for these options.

    Raises:
        InvalidArgument: a value has no meaning; names the option.
    """
    level, core = _number(options, "trt_builder_optimization_level", 3), _number(options, "trt_dla_core", 0, least=0)
    if level not in LEVELS:
        raise _ill("trt_builder_optimization_level", f"{LEVELS[0]} to {LEVELS[-1]}", level)
    return BuildSettings(
        device_index=device_index,
        workspace=_number(options, "trt_max_workspace_size", 0, least=0),
        optimization_level=level,
        auxiliary_streams=_number(options, "trt_auxiliary_streams", -1, least=-1),
        tf32=bool(options.get("trt_tf32_enable", False)),
        sparsity=bool(options.get("trt_sparsity_enable", False)),
        hardware_compatible=bool(options.get("trt_engine_hw_compatible", False)),
        dla_core=core if options.get("trt_dla_enable", False) else None,
        tactic_sources=tuple(_signed(options.get("trt_tactic_sources", ""))),
        preview_features=listed(options.get("trt_preview_features", "")),
        strips_weights=bool(options.get("trt_weight_stripped_engine_enable", False)),
        streams_weights=_number(options, "trt_weight_streaming_budget", 0, least=-1) != 0,
        plugins=listed(options.get("trt_extra_plugin_lib_paths", ""), ";"),
        ignores_timing_mismatch=bool(options.get("trt_force_timing_cache", False)),
        detailed_log=bool(options.get("trt_detailed_build_log", False)),
    )


def tell_what_has_no_effect(options: Mapping[str, Any]) -> None:
    """Log, once a process, which of the options that are set change nothing, and why."""
    for name, reason in WITHOUT_EFFECT.items():
        if options.get(name) and name not in _told:
            _told.add(name)
            logger.warning("option %s has no effect: %s", name, reason)


def listed(text: str, separator: str = ",") -> tuple[str, ...]:
    """The names in a list."""
    return tuple(part.strip() for part in str(text).split(separator) if part.strip())


def _signed(text: str) -> Iterable[tuple[str, bool]]:
    """`-CUDNN,+JIT_CONVOLUTIONS` as names and whether they are wanted."""
    for part in listed(text):
        if part[0] not in "+-" or not part[1:]:
            raise _ill("trt_tactic_sources", "names with + or - in front, as in -EDGE_MASK_CONVOLUTIONS,+JIT_CONVOLUTIONS", text)
        yield part[1:].strip().upper(), part[0] == "+"


def _number(options: Mapping[str, Any], name: str, default: int, *, least: int | None = None) -> int:
    value = int(options.get(name, default))
    if least is not None and value < least:
        raise _ill(name, f"a number from {least} on", value)
    return value


def _ill(name: str, expected: str, came: object) -> InvalidArgument:
    return InvalidArgument(f"option {name!r} of TensorrtExecutionProvider wants {expected}; got {came!r}")
