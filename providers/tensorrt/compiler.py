"""From a segment to an engine that can run: read from the cache, or built, with its weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from onnxgpu.errors import EPFail
from onnxgpu.log import logger
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.provider import Kernel
from onnxgpu.providers.cuda.capture import going_on
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.segments.builds import Build, Report
from onnxgpu.providers.segments.cache import Content, EngineCache
from onnxgpu.providers.segments.child_process import in_child
from onnxgpu.providers.segments.content_key import content_key
from onnxgpu.providers.segments.shapes import Profile
from onnxgpu.providers.tensorrt.build import BuildRequest, build
from onnxgpu.providers.tensorrt.engine import Engine, refit
from onnxgpu.providers.tensorrt.library import version
from onnxgpu.providers.tensorrt.settings import BuildSettings

_in_turn = threading.Lock()
"""Held by a build that is to be the only one of its kind in this process."""


class Compiler:
    """Makes the engines of one provider.

    Args:
        device: that they run on.
        settings: of all of them.
        cache: where they are kept; None: nowhere.
        prefix: of the names of their files.
        budget: see `Engine`.
        in_child: TensorRT builds in a process of its own.
        in_sequence: one after the other.
    """

    def __init__(
        self,
        device: Gpu,
        settings: BuildSettings,
        cache: EngineCache | None,
        *,
        prefix: str = "",
        budget: int = 0,
        in_child: bool = False,
        in_sequence: bool = False,
    ) -> None:
        self._device, self._settings, self._cache, self._prefix, self._budget = device, settings, cache, prefix, budget
        self._in_child, self._in_sequence = in_child, in_sequence

    def start(self, name: str, model: CutModel, profiles: Sequence[Profile], kernel: Callable[[Engine], Kernel]) -> Build[Kernel]:
        """Begin to make the engine of a segment; it is cancelled when nobody has the result's `Build` any more.

        Args:
            name: of the segment.
            model: the segment.
            profiles: what its inputs may be; none if all shapes are fixed.
            kernel: makes what runs the engine.
        """
        return Build(name, partial(self._made, BuildRequest(name, model, tuple(profiles), self._settings), kernel))

    def _made(self, request: BuildRequest, kernel: Callable[[Engine], Kernel], report: Report) -> Kernel:
        made: list[Engine] = []

        def accept(plan: Content) -> bool:
            try:
                made.append(self._read(plan, request))
            except EPFail as error:
                logger.warning("%s: it is built again", error.message)
                return False
            return True

        def built() -> bytes:
            with _in_turn if self._in_sequence else nullcontext():
                plan = in_child(request.name, partial(build, request), report) if self._in_child else build(request, report)
            made.append(self._read(plan, request))
            return plan

        if self._cache is None:
            built()
        else:
            self._cache.get_or_build(self._key(request), built, accept, report)
        with going_on:
            return kernel(made[-1])

    def _read(self, plan: Content, request: BuildRequest) -> Engine:
        with going_on, self._device.working():  # reading may wait for the whole device
            engine = Engine(plan, self._settings, request.name, self._budget)
            if self._settings.strips_weights:
                refit(engine, request.model, request.name)
            return engine

    def _key(self, request: BuildRequest) -> str:
        """The name of a file for what was asked, and nothing else."""
        place = "Ampere and later" if self._settings.hardware_compatible else hardware(self._device)
        digest = content_key(request.model, ("TensorRT", version(), place, *request.settings.facts(), request.profiles))
        return f"{self._prefix}_{digest}" if self._prefix else digest


def hardware(device: Gpu) -> str:
    """The GPU's name and compute capability, on which engines depend."""
    name, number = device.identity()
    return f"{name} sm{number}"


def capability(device: Gpu) -> str:
    """The compute capability, `90`."""
    return str(device.identity()[1])


def dump(model: CutModel, name: str, folder: Path) -> None:
    """Write a segment as an ONNX model, with its weights beside it."""
    import onnx
    from onnx import external_data_helper, numpy_helper

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in model.weights:
            tensor.CopyFrom(numpy_helper.from_array(model.weights[tensor.name], tensor.name))
    file = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name) + ".onnx"
    folder.mkdir(parents=True, exist_ok=True)
    external_data_helper.convert_model_to_external_data(proto, location=f"{file}.data")
    onnx.save(proto, folder / file)
    logger.info("segment %s is written to '%s'", name, folder / file)
