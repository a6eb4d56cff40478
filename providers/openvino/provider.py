"""OpenVINOExecutionProvider: whole segments, compiled by OpenVINO for the host's processor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, cast

from onnxgpu.errors import InvalidArgument
from onnxgpu.host_provider import HostProvider
from onnxgpu.libraries import Library, first_missing, python_package
from onnxgpu.model_file.operation_proto import CutModel, model_of
from onnxgpu.provider import Claim, Operation, Refusal, RunSettings, ValueInfo
from onnxgpu.providers.openvino import engine
from onnxgpu.providers.openvino.cached_engine import content_of, read
from onnxgpu.providers.openvino.counting import uncounted
from onnxgpu.providers.openvino.kept_engine import kept, kernel_of
from onnxgpu.providers.openvino.kernel import SegmentKernel, passed_outputs
from onnxgpu.providers.openvino.limits import limit
from onnxgpu.providers.segments.cache import EngineCache
from onnxgpu.providers.segments.content_key import content_key
from onnxgpu.providers.segments.growing import one_in_background
from onnxgpu.providers.segments.misfit import misfit
from onnxgpu.segment_provider import Engine, Exclusions, Segment, SegmentClaim, SegmentProvider

_PRECISIONS = {"": "f32", "ACCURACY": "f32", "FP32": "f32", "FP16": "f16", "BF16": "bf16"}
"""The option's values → OpenVINO's types."""

_NO_RANK = "OpenVINO's processor plug-in takes no input whose number of dimensions is not known"


class OpenVINOProvider(HostProvider, SegmentProvider):
    """Segments of a model as OpenVINO's models, on the host's processor.

    A session has it only if it is named: installing a package should not change what runs.
    """

    name: ClassVar[str] = "OpenVINOExecutionProvider"
    preference: ClassVar[int] = 80
    used_unasked: ClassVar[bool] = False
    option_types: ClassVar[Mapping[str, type]] = {
        "build_in_background": bool,
        "cache_dir": str,
        "device_type": str,
        "load_config": str,
        "min_subgraph_size": int,
        "num_of_threads": int,
        "num_streams": int,
        "precision": str,
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._settings = self._properties()
        folder = self.options.get("cache_dir")
        self._cache = EngineCache(folder) if folder else None

    @classmethod
    def libraries(cls) -> Sequence[Library]:
        """See `onnxgpu.provider.Provider`."""
        return (python_package("openvino", ("openvino",), remedy="pip install 'onnxgpu[openvino]'"),)

    @classmethod
    def unavailable(cls) -> str | None:
        """See `onnxgpu.provider.Provider`."""
        return first_missing(tuple(cls.libraries()))

    @property
    def least_nodes(self) -> int:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        return int(self.options.get("min_subgraph_size", 1))

    def prepare(self, settings: RunSettings) -> None:
        """Take the session's number of threads, unless the provider's options name one."""
        if settings.threads and "num_of_threads" not in self.options:
            self._settings["INFERENCE_NUM_THREADS"] = settings.threads
        if settings.flush_denormals:
            self._settings["CPU_DENORMALS_OPTIMIZATION"] = True

    def supports(self, operation: Operation) -> Refusal | None:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        reason = limit(operation)
        return None if reason is None else Refusal(reason)

    def claim_segment(self, segment: Segment) -> Claim | Exclusions | Refusal:
        """See `onnxgpu.segment_provider.SegmentProvider`; compiles, so that what OpenVINO cannot do goes to the next provider."""
        if unknown := {value.name for value in segment.inputs if value.shape is None}:
            return Exclusions({i: _NO_RANK for i, operation in enumerate(segment.operations) if unknown & _names(operation.inputs)})
        if doubtful := uncounted(segment):
            return Exclusions(doubtful)
        try:
            cut = model_of(segment)
            if self.options.get("build_in_background"):
                engine.convert(cut)  # what cannot be converted goes to the next provider
                return self._claim_later(segment, cut)
            kernel = self._kernel(segment, cut)
        except (RuntimeError, TypeError, ValueError) as error:
            reasons = {i: reason for i, operation in enumerate(segment.operations) if (reason := self._reason_against(operation))}
            return Exclusions(reasons) if reasons else Refusal(f"OpenVINO does not compile the segment: {engine.reason_of(error)}")
        return SegmentClaim(lambda: kernel, engine=lambda: kept(kernel, self._device, self._settings))

    def _claim_later(self, segment: Segment, cut: CutModel) -> SegmentClaim:
        """Compile in the background, once the session is known to be made."""
        later = cache(lambda: one_in_background(str(segment), partial(self._kernel, segment, cut)))

        def waited_for() -> Engine:
            (build,) = later().builds()
            return kept(cast(SegmentKernel, build.result()), self._device, self._settings)

        return SegmentClaim(later, engine=waited_for, stand_by=True)

    def misfit(self, version: str, hardware: str) -> str | None:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        return misfit(version, hardware, engine.version(), engine.hardware(self._device))

    def claim_engine(self, segment: Segment, engine: Engine) -> SegmentClaim | Refusal:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        kernel = kernel_of(segment, engine, self._device, self._settings)
        return SegmentClaim(lambda: kernel)

    def _reason_against(self, operation: Operation) -> str | None:
        """OpenVINO's own words, if it does not take the operation as a model of one node."""
        present = dict.fromkeys(value for value in operation.inputs if value is not None and value.constant is None)
        outputs = tuple(value for value in operation.outputs if value is not None)
        try:
            cut = model_of(Segment(operation.name or operation.operator, (operation,), tuple(present), outputs))
            engine.compiled(engine.convert(cut), self._device, self._settings)
        except (TypeError, ValueError) as error:
            return f"its attributes cannot be handed over: {error}"
        except RuntimeError as error:
            return f"OpenVINO does not take it: {engine.reason_of(error)}"
        return None

    def _kernel(self, segment: Segment, cut: CutModel) -> SegmentKernel:
        """The segment compiled, or from the cache, which spares converting it."""
        if self._cache is None:
            return self._compiled(segment, cut)
        kernels: list[SegmentKernel] = []

        def accept(content: bytes | memoryview) -> bool:
            found = read(content, self._device, self._settings)
            if found is not None:
                outline = cache(lambda: engine.outline(cut))
                kernels.append(SegmentKernel(segment, outline, found[0], content, found[1]))
            return found is not None

        def build() -> memoryview:
            kernels.append(self._compiled(segment, cut))
            return content_of(kernels[-1].compiled, kernels[-1].passed)

        facts = (engine.version(), self._device, engine.device_name(self._device), sorted(self._settings.items()))
        self._cache.get_or_build(content_key(cut, facts), build, accept)
        return kernels[-1]

    def _compiled(self, segment: Segment, cut: CutModel) -> SegmentKernel:
        model = engine.convert(cut)
        compiled = engine.compiled(model, self._device, self._settings)
        return SegmentKernel(segment, lambda: model, compiled, cut.weights, passed_outputs(model, segment))

    @property
    def _device(self) -> str:
        return str(self.options.get("device_type", "CPU"))

    def _properties(self) -> dict[str, Any]:
        """OpenVINO's settings for the options.

        Raises:
            InvalidArgument: an option has no meaning; says which.
        """
        precision = str(self.options.get("precision", "")).upper()
        if precision not in _PRECISIONS:
            raise InvalidArgument(f"precision '{precision}' of {self.name}: expected one of {[name for name in _PRECISIONS if name]}")
        settings = {**engine.HONEST, "INFERENCE_PRECISION_HINT": _PRECISIONS[precision]}
        if "num_of_threads" in self.options:
            settings["INFERENCE_NUM_THREADS"] = int(self.options["num_of_threads"])
        if "num_streams" in self.options:
            settings["NUM_STREAMS"] = str(self.options["num_streams"])
        return settings | self._loaded_config()

    def _loaded_config(self) -> dict[str, Any]:
        """The properties of `load_config`: JSON, or a file with it, `{"CPU": {"NAME": "value"}}`."""
        text = str(self.options.get("load_config", ""))
        if not text:
            return {}
        try:
            content = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
            config = json.loads(content)
            return {str(key): value for key, value in config.get(self._device, {}).items()}
        except (OSError, ValueError, AttributeError) as error:
            form = f'{{"{self._device}": {{"NAME": "value"}}}}'
            raise InvalidArgument(f"load_config of {self.name} is neither JSON of the form {form} nor a file with it: {error}") from error


def _names(values: Sequence[ValueInfo | None]) -> set[str]:
    return {value.name for value in values if value is not None}


PROVIDER = OpenVINOProvider
