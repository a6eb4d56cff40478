"""Times on a GPU: events on the stream of the work, with the L2 cache flushed before each run.

Flushing takes the device longer than a short run takes the host, so that what is measured is the device's time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Work = Callable[[], object]


class Clock:
    """Times work on one stream.

    Args:
        cp: `cupy`.
        stream: the stream to which the work goes.
    """

    def __init__(self, cp: Any, stream: Any) -> None:
        self._cp, self._stream = cp, stream
        size = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)["l2CacheSize"]
        with stream:
            self._filler = cp.zeros(max(8 * size, 1 << 20), cp.uint8)

    def milliseconds(self, work: Work, runs: int) -> list[float]:
        """Milliseconds of each run; what was in the L2 cache before is not there any more."""
        pairs = []
        for _ in range(runs):
            begin, end = self._cp.cuda.Event(), self._cp.cuda.Event()
            with self._stream:
                self._filler.fill(0)
                begin.record(self._stream)
                work()
                end.record(self._stream)
            pairs.append((begin, end))
        self._stream.synchronize()
        return [float(self._cp.cuda.get_elapsed_time(*pair)) for pair in pairs]

    def in_turns(self, sides: Sequence[Work], rounds: int, runs: int, warm_up: int = 5) -> list[list[list[float]]]:
        """Side → round → milliseconds; all sides have a turn in each round, and who begins changes."""
        for work in sides:
            self.milliseconds(work, warm_up)
        times: list[list[list[float]]] = [[] for _ in sides]
        for turn in range(rounds):
            order = [(turn + i) % len(sides) for i in range(len(sides))]
            for side in order:
                times[side].append(self.milliseconds(sides[side], runs))
        return times
