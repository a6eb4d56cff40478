"""A segment whose engines come while the session is in use: one for the shapes it was given, or one for each bucket that runs show.

Where it has a stand-by, no run ever waits: the first run with shapes of a new bucket begins its build, and the next providers in the list
serve until it is done. Without one, or with `on_request`, that run waits for the build.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnxgpu.errors import EPFail
from onnxgpu.log import logger
from onnxgpu.provider import Array, Kernel, Spec, Value
from onnxgpu.providers.segments.builds import Build, wait_for
from onnxgpu.providers.segments.shapes import Profile, fits

Sizes = Mapping[str, Sequence[int]]
"""An input's shape, or the values of one that is a shape."""

MOST_ENGINES = 32
"""Of one segment: beyond, shapes vary too much for an engine each."""


class GrowingKernel:
    """See `onnxgpu.segment_provider.ChangingKernel`. Threads share it without a lock: every change is one operation on a dict.

    Args:
        name: of the segment, for messages.
        start: begins to make the kernel of an engine with these profiles (none: all shapes are fixed).
        sizes: what a run's inputs are, as profiles see it.
        bucket: the profile of these sizes, for an engine of its own.
        first: profiles of the engine to begin with; None: none before a run shows its shapes.
        on_request: runs wait for engines.
        most: how many engines.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[tuple[Profile, ...]], Build[Kernel]],
        sizes: Callable[[Sequence[Value]], Sizes],
        bucket: Callable[[Sizes], Profile],
        *,
        first: tuple[Profile, ...] | None = None,
        on_request: bool = False,
        most: int = MOST_ENGINES,
    ) -> None:
        self._name, self._start, self._sizes, self._bucket = name, start, sizes, bucket
        self._on_request, self._most = on_request, most
        self._builds: dict[tuple[Profile, ...], Build[Kernel]] = {}
        self._restarts = 0
        if first is not None:
            self._builds[first] = start(first)

    @property
    def generation(self) -> int:
        """Grows with every engine, every failure and every build that begins anew."""
        return sum(build.is_done for build in self.builds()) + 2 * self._restarts

    @property
    def is_complete(self) -> bool:
        """True if there is the engine of a segment whose shapes are fixed."""
        return any(not profiles and build.is_done and build.error is None for profiles, build in tuple(self._builds.items()))

    def builds(self) -> list[Build[Kernel]]:
        """Of all engines that were asked for."""
        return list(self._builds.values())

    def first(self) -> Kernel:
        """The kernel of the engine to begin with, which is waited for.

        Raises:
            EPFail: there is none.
            OnnxGpuError: it could not be built.
        """
        builds = self.builds()
        if not builds:
            raise EPFail(
                f"{self._name} has an engine for each bucket of shapes that runs show, so there is none to keep in a model: give profiles, "
                "or fixed sizes for its free dimensions (SessionOptions.add_free_dimension_override_by_name)"
            )
        wait_for(builds[:1])
        return builds[0].result()

    def serving(self, inputs: Sequence[Value]) -> Kernel | None:
        """The kernel of the engine for these shapes; None: its build has begun, or failed."""
        build = self._build_for(self._sizes(inputs), waits=self._on_request)
        if build is None:
            return None
        if self._on_request:
            wait_for([build])
        return build.result() if build.is_done and build.error is None else None

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """Of the engine for these shapes, which is waited for."""
        return self._waited_for(inputs).outputs(inputs)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `outputs`."""
        return self._waited_for(inputs).workspace(inputs)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `outputs`."""
        return self._waited_for(inputs).launch(inputs, outputs, workspace)

    def _waited_for(self, inputs: Sequence[Value]) -> Kernel:
        """The kernel of the engine for these shapes.

        Raises:
            EPFail: there are too many engines already.
            OnnxGpuError: it could not be built.
        """
        sizes = self._sizes(inputs)
        build = self._build_for(sizes, waits=True)
        if build is None:
            raise EPFail(f"{self._name} has {self._most} engines and none for {_told(sizes)}: give profiles or wider buckets")
        wait_for([build])
        return build.result()

    def _build_for(self, sizes: Sizes, *, waits: bool) -> Build[Kernel] | None:
        """The build of an engine for these sizes, begun if there is none; None: there are enough of them."""
        known = tuple(self._builds.items())
        holding = [(profiles, build) for profiles, build in known if _holds(profiles, sizes)]
        for ready in (True, False):
            for profiles, build in holding:
                if (build.is_done and build.error is None) == ready:
                    return self._restarted(profiles) if build.was_cancelled else build
        if len(known) >= self._most:
            return None
        if waits:
            logger.warning("a run waits for an engine of %s for %s", self._name, _told(sizes))
        profiles = (self._bucket(sizes),)
        begun = self._start(profiles)
        build = self._builds.setdefault(profiles, begun)
        if build is not begun:
            begun.cancel()
        elif len(self._builds) == self._most:
            logger.warning("%s has %d engines: further shapes get none; give profiles or wider buckets", self._name, self._most)
        return build

    def _restarted(self, profiles: tuple[Profile, ...]) -> Build[Kernel]:
        """A build in place of one that an interrupt ended, which somebody wants after all."""
        self._builds[profiles] = begun = self._start(profiles)
        self._restarts += 1
        return begun


def one_in_background(name: str, make: Callable[[], Kernel]) -> GrowingKernel:
    """A segment with one engine for whatever shapes, which is made from now on.

    Args:
        name: of the segment, for messages.
        make: compiles it.
    """
    return GrowingKernel(name, lambda _: Build(name, lambda report: make()), lambda inputs: {}, lambda sizes: (), first=())


def _holds(profiles: tuple[Profile, ...], sizes: Sizes) -> bool:
    return not profiles or any(fits(profile, sizes) for profile in profiles)


def _told(sizes: Sizes) -> str:
    return ", ".join(f"{name}: {'x'.join(map(str, shape))}" for name, shape in sizes.items())
