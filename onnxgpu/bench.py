"""Time a session, alone or in turns with another implementation of the same API in the same process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import inf
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.errors import InvalidArgument

if TYPE_CHECKING:
    from rich.console import Console

    from onnxgpu.session import InferenceSession

WARM_UP_RUNS = 3


@dataclass(frozen=True)
class Side:
    """One implementation's times, in seconds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.seconds)


@dataclass(frozen=True)
class BenchResult:
    """The times of each side and, for two sides, the median ratio pair by pair, its middle half and the largest error."""

    sides: tuple[Side, ...]
    ratio: float | None = None
    spread: tuple[float, float] = (0.0, 0.0)
    max_error: float = 0.0


def bench(session: InferenceSession, feeds: Mapping[str, Any], *, runs: int, against: str | None, console: Console) -> BenchResult:
    """Time `session` on `feeds`.

    Args:
        session: what to time.
        feeds: its inputs.
        runs: of each side, after a warm-up.
        against: a module with onnxruntime's API, run in turns with onnxgpu; None: onnxgpu alone.
        console: for the progress bar.

    Raises:
        InvalidArgument: `against` cannot be imported, or the session has no model file to give it.
    """
    callers: list[tuple[str, Any]] = [("onnxgpu", lambda: session.run(None, feeds))]
    if against:
        other = _other_session(against, session)
        callers.append((against, lambda: other.run(None, dict(feeds))))
    session.warm_up([feeds])
    outputs = [[call() for _ in range(WARM_UP_RUNS)][-1] for _, call in callers]
    times: list[list[float]] = [[] for _ in callers]
    from rich.progress import track

    for _ in track(range(runs), "timing", console=console, transient=True):
        for index, (_, call) in enumerate(callers):
            start = perf_counter()
            call()
            times[index].append(perf_counter() - start)
    sides = tuple(Side(name, tuple(seconds)) for (name, _), seconds in zip(callers, times, strict=True))
    if len(sides) == 1:
        return BenchResult(sides)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    quarters = quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return BenchResult(sides, median(ratios), (quarters[0], quarters[2]), max_relative_error(outputs[0], outputs[1]))


def max_relative_error(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """max |a−b| / max |b| over all tensor outputs of numbers; infinite where shapes, NaNs or infinities differ."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if isinstance(b, np.ndarray) and b.dtype.kind in "bfiu"]
    return max((_relative_error(a, b) for a, b in pairs), default=0.0)


def _relative_error(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return inf
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(y)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True) or not np.isfinite(x[finite]).all():
        return inf
    scale = float(np.max(np.abs(y[finite]), initial=0.0)) or 1.0
    return float(np.max(np.abs(x[finite] - y[finite]), initial=0.0)) / scale


def _other_session(module: str, session: InferenceSession) -> Any:
    if session.model_path is None:
        raise InvalidArgument("--against needs a model file, this session was made from bytes")
    try:
        other = import_module(module)
    except ImportError as error:
        raise InvalidArgument(f"--against {module}: cannot be imported ({error}); install it first") from None
    available: list[str] = getattr(other, "get_available_providers", list)()
    same = [name for name in session.get_providers() if name in available]
    return other.InferenceSession(str(session.model_path), providers=same or ["CPUExecutionProvider"])
