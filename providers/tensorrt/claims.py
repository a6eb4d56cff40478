"""What the provider answers about a segment, and the kernel that it makes of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from onnxgpu.dtypes import name_of
from onnxgpu.log import logger
from onnxgpu.model_file.operation_proto import CutModel, model_of
from onnxgpu.provider import Claim, Kernel, Operation, Refusal, ValueInfo
from onnxgpu.providers.cuda.cache import cache_folder
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.segments.builds import Build, wait_for
from onnxgpu.providers.segments.cache import EngineCache
from onnxgpu.providers.segments.growing import GrowingKernel
from onnxgpu.providers.segments.shapes import Profile
from onnxgpu.providers.tensorrt import library, support
from onnxgpu.providers.tensorrt.compiler import Compiler, capability, dump
from onnxgpu.providers.tensorrt.engine import Engine
from onnxgpu.providers.tensorrt.kept_engine import kept, kernel_of
from onnxgpu.providers.tensorrt.kernel import EngineKernel, sizes_of
from onnxgpu.providers.tensorrt.messages import listening
from onnxgpu.providers.tensorrt.network import Network, NetworkInput, ParserRefusal, excess
from onnxgpu.providers.tensorrt.plugins import load_plugins
from onnxgpu.providers.tensorrt.precision import prepared
from onnxgpu.providers.tensorrt.precision import settings_of as precision_of
from onnxgpu.providers.tensorrt.settings import BuildSettings
from onnxgpu.providers.tensorrt.shape_inputs import ByValue, readers
from onnxgpu.providers.tensorrt.shapes import ModelShapes
from onnxgpu.providers.tensorrt.timing import timing_cache_file
from onnxgpu.segment_provider import Engine as KeptEngine
from onnxgpu.segment_provider import Exclusions, Segment, SegmentClaim, Shape, ShapesAt

_PACKED = "engines take and give no elements of less than a byte, as inside of them two are in one"
_NO_RANK = "TensorRT takes no input whose number of dimensions is not known"


class Claims:
    """The answers of one provider.

    Args:
        device: where engines run.
        options: the provider's.
        settings: what they say of builds.
        excluded: operators that the user wants elsewhere.
    """

    def __init__(
        self,
        device: Gpu,
        options: Mapping[str, Any],
        settings: BuildSettings,
        excluded: frozenset[str],
    ) -> None:
        self._device, self._options, self._settings, self._excluded = device, options, settings, excluded
        self._precision = precision_of(options)
        self._shapes = ModelShapes()
        self._rounds: dict[str, int] = {}

    def survey(self, inputs: Sequence[ValueInfo], shapes_at: ShapesAt) -> None:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        self._shapes = ModelShapes.of(self._options, inputs, shapes_at)

    def usual_shapes(self) -> Sequence[Mapping[str, Shape]]:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        return self._shapes.usual()

    def refusal(self, operation: Operation) -> str | None:
        """Why no segment may hold `operation`; None if it may."""
        with self._device.working():
            load_plugins(self._settings.plugins)
            return support.refusal(operation, self._excluded)

    def answer(self, segment: Segment) -> Claim | Exclusions | Refusal:
        """See `onnxgpu.segment_provider.SegmentProvider.claim_segment`."""
        if unknown := {value.name for value in segment.inputs if value.shape is None}:
            return Exclusions({i: _NO_RANK for i, operation in enumerate(segment.operations) if unknown & _names(operation)})
        if packed := {
            v.name for v in (*segment.inputs, *segment.outputs) if v.dtype is not None and name_of(v.dtype) in support.HALF_BYTES
        }:
            touching = (i for i, o in enumerate(segment.operations) if packed & (_names(o) | set(_results(o))))
            return Exclusions(dict.fromkeys(touching, _PACKED))
        try:
            model = model_of(segment)
        except (TypeError, ValueError) as error:
            return Refusal(f"the segment cannot be handed over: {error}")
        if (reason := excess(model)) is not None:
            return Refusal(reason)
        with self._device.working():
            if reasons := support.unsupported(model):
                return self._excluding(segment, reasons)
            try:
                with listening(quiet=True) as told:
                    inputs = Network(model, told).inputs()
            except ParserRefusal as error:  # of what it said that it takes
                reasons = {node: reason for node, reason in error.reasons.items() if node >= 0}
                return self._excluding(segment, reasons) if reasons else Refusal(error.message)
        read_on_host = {value.name for value in inputs if value.is_shape_tensor}
        wanted = [value for value in inputs if value.is_dynamic or value.is_shape_tensor]
        profiles = self._shapes.profiles_of(segment, wanted) if wanted else ()
        if reasons := readers(segment, inputs, are_told=profiles is not None or self._builds_on_request):
            return self._excluding(segment, reasons)
        host_inputs = frozenset(i for i, value in enumerate(segment.inputs) if value.name in read_on_host)
        by_value = bool(host_inputs) and self._builds_on_request
        made = _Once(partial(self._built, segment, model, host_inputs, wanted, profiles, by_value))
        return SegmentClaim(
            made,
            host_inputs=host_inputs,
            note=f"TensorRT {library.version()}",
            stand_by=not by_value and (self._builds_later or (profiles is None and not self._builds_on_request)),
            engine=partial(self._kept, made, str(segment)),
        )

    def kept_answer(self, segment: Segment, engine: KeptEngine) -> SegmentClaim:
        """See `onnxgpu.segment_provider.SegmentProvider.claim_engine`."""
        kernel = kernel_of(segment, engine, self._device, self._settings, self._options)
        return SegmentClaim(lambda: kernel, host_inputs=kernel.host_inputs, note=f"TensorRT {library.version()}")

    def _kept(self, made: Callable[[], Kernel], name: str) -> KeptEngine:
        kernel = made()
        kernel = kernel.first() if isinstance(kernel, GrowingKernel | ByValue) else kernel
        assert isinstance(kernel, EngineKernel)
        return kept(kernel.engine, self._device, self._settings, name)

    @property
    def _builds_on_request(self) -> bool:
        return bool(self._options.get("trt_build_on_request"))

    @property
    def _builds_later(self) -> bool:
        return bool(self._options.get("trt_build_in_background"))

    def _excluding(self, segment: Segment, reasons: Mapping[int, str]) -> Exclusions | Refusal:
        """The nodes that TensorRT does not take, unless the rest was offered too often."""
        rounds = 1 + max(self._rounds.get(name, 0) for operation in segment.operations for name in _results(operation))
        self._rounds.update({name: rounds for operation in segment.operations for name in _results(operation)})
        most = int(self._options.get("trt_max_partition_iterations", 1000))
        if rounds > most:
            return Refusal(f"TensorRT refused nodes of it in more than {most} rounds (trt_max_partition_iterations)")
        return Exclusions(reasons)

    def _built(
        self,
        segment: Segment,
        model: CutModel,
        host_inputs: frozenset[int],
        wanted: Sequence[NetworkInput],
        profiles: tuple[Profile, ...] | None,
        by_value: bool,
    ) -> Kernel:
        model, report = prepared(model, self._precision)
        if report.nodes:
            logger.info("precision of %s: %s", segment, report)
        if self._options.get("trt_dump_subgraphs"):
            dump(model, segment.name, self._folder("trt_engine_cache_path", Path()))
        device, compiler = self._device, self._compiler

        def start(profiles: tuple[Profile, ...]) -> Build[Kernel]:
            def kernel(engine: Engine) -> Kernel:
                return EngineKernel(segment, engine, profiles, device, host_inputs)

            return compiler.start(segment.name, model, profiles, kernel)

        if profiles is not None and not self._builds_later and not (wanted and self._builds_on_request):
            build = start(profiles)
            wait_for([build])
            return build.result()
        grown = GrowingKernel(
            segment.name,
            start,
            lambda inputs: sizes_of(segment, inputs, host_inputs),
            partial(self._shapes.bucket, segment, wanted),
            first=profiles,
            on_request=self._builds_on_request,
        )
        if not self._builds_later:
            wait_for(grown.builds())
        return ByValue(grown) if by_value else grown

    @cached_property
    def _compiler(self) -> Compiler:
        engines = EngineCache(self._folder("trt_engine_cache_path")) if self._options.get("trt_engine_cache_enable") else None
        return Compiler(
            self._device,
            self._timed_settings(),
            engines,
            prefix=str(self._options.get("trt_engine_cache_prefix", "")),
            budget=int(self._options.get("trt_weight_streaming_budget", 0)),
            in_child=bool(self._options.get("trt_build_in_process")),
            in_sequence=bool(self._options.get("trt_force_sequential_engine_build")),
        )

    def _timed_settings(self) -> BuildSettings:
        if not self._options.get("trt_timing_cache_enable"):
            return self._settings
        folder = self._folder("trt_timing_cache_path", self._folder("trt_engine_cache_path"))
        return replace(self._settings, timing_cache=timing_cache_file(str(folder), capability(self._device)))

    def _folder(self, option: str, otherwise: Path | None = None) -> Path:
        chosen = str(self._options.get(option, ""))
        return Path(chosen) if chosen else otherwise if otherwise is not None else cache_folder() / "tensorrt"


class _Once:
    """Makes a kernel when it is first called, and lets go of what it is made of."""

    def __init__(self, make: Callable[[], Kernel]) -> None:
        self._make: Callable[[], Kernel] | None = make
        self._made: list[Kernel] = []

    def __call__(self) -> Kernel:
        if self._make is not None:
            self._made.append(self._make())
            self._make = None
        return self._made[0]


def _names(operation: Operation) -> set[str]:
    return {value.name for value in operation.inputs if value is not None}


def _results(operation: Operation) -> list[str]:
    return [value.name for value in operation.outputs if value is not None]
