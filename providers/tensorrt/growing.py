"""A segment whose engines come while the session is in use; the next providers serve what has none yet, or runs wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from onnxgpu.log import logger
from onnxgpu.provider import Array, Spec, Value
from onnxgpu.providers.segments.builds import Build, wait_for
from onnxgpu.providers.segments.shapes import Profile
from onnxgpu.providers.tensorrt.engine import Engine
from onnxgpu.providers.tensorrt.kernel import EngineKernel, Sizes

Start = Callable[[tuple[Profile, ...]], Build[Engine]]
"""Begins to make the engine of some profiles."""


class GrowingKernel:
    """See `onnxgpu.segment_provider.ChangingKernel`.

    Args:
        name: of the segment, for messages.
        start: makes engines.
        kernel: of an engine with these profiles.
        sizes: what a run's inputs are, as profiles see it.
        bucket: the profile of these sizes, for an engine of its own.
        first: profiles of the engine to begin with; None: none before a run shows its shapes.
        on_request: engines are built during runs, which wait for them.
    """

    def __init__(
        self,
        name: str,
        start: Start,
        kernel: Callable[[Engine, tuple[Profile, ...]], EngineKernel],
        sizes: Callable[[Sequence[Value]], Sizes],
        bucket: Callable[[Sizes], Profile],
        *,
        first: tuple[Profile, ...] | None,
        on_request: bool,
    ) -> None:
        self._name, self._start, self._kernel, self._sizes, self._bucket = name, start, kernel, sizes, bucket
        self._on_request = on_request
        self._serving: list[EngineKernel] = []
        self._builds: dict[tuple[Profile, ...], Build[Engine]] = {}
        self._lock = threading.RLock()
        if first is not None:
            self._begun(first)

    @property
    def generation(self) -> int:
        """How many engines there are, and how many could not be built."""
        return sum(build.is_done for build in tuple(self._builds.values()))

    def serving(self, inputs: Sequence[Value]) -> EngineKernel | None:
        """The kernel of the engine for these shapes; if there is none its build begins."""
        found = self._holding(inputs)
        if found is None and self._on_request:
            return self._waited_for(inputs)
        if found is None:
            self._wanted(inputs)
        return found

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """Of the engine for these shapes, which is waited for."""
        return self._waited_for(inputs).outputs(inputs)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `outputs`."""
        return self._waited_for(inputs).workspace(inputs)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `outputs`."""
        return self._waited_for(inputs).launch(inputs, outputs, workspace)

    def pending(self) -> list[Build[Engine]]:
        """The builds that are not done."""
        return [build for build in tuple(self._builds.values()) if not build.is_done]

    def _holding(self, inputs: Sequence[Value]) -> EngineKernel | None:
        with self._lock:
            served = {kernel.profiles for kernel in self._serving}
            for profiles, build in self._builds.items():
                if profiles not in served and build.is_done and build.error is None:
                    self._serving.append(self._kernel(build.result(), profiles))
            return next((kernel for kernel in self._serving if kernel.holds(inputs)), None)

    def _wanted(self, inputs: Sequence[Value]) -> Build[Engine]:
        """The build of the engine for these shapes, begun if it is not yet."""
        sizes = self._sizes(inputs)
        with self._lock:
            for profiles, build in self._builds.items():
                if not build.is_done and EngineKernel.serves(profiles, sizes):
                    return build
            return self._begun((self._bucket(sizes),))

    def _begun(self, profiles: tuple[Profile, ...]) -> Build[Engine]:
        if profiles not in self._builds:
            self._builds[profiles] = self._start(profiles)
        return self._builds[profiles]

    def _waited_for(self, inputs: Sequence[Value]) -> EngineKernel:
        found = self._holding(inputs)
        if found is None:
            build = self._wanted(inputs)
            logger.warning("a run waits for an engine of %s for %s", self._name, dict(self._sizes(inputs)))
            wait_for([build])
            build.result()
            found = self._holding(inputs)
        assert found is not None
        return found
