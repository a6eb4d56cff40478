"""Compare two sides on one model: check first, then time them in turns."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.outputs import OutputFault, check_outputs, max_error
from benchmarks.ratios import paired_ratio
from benchmarks.side import Side, SideSettings

FEWEST_RUNS, MOST_RUNS = 3, 200


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how strictly to compare.

    Attributes:
        rounds: how often each side has its turn.
        loads: how many new processes of each side load the model; memory and load time are medians over them.
        seconds: length of a turn; it has at least 3 runs and at most 200.
        tolerance: largest max|a−b| / max|b| at which the outputs count as the same.
        limit: most seconds one side may take for loading, or for a turn.
    """

    rounds: int = 7
    loads: int = 3
    seconds: float = 0.5
    tolerance: float = 1e-3
    limit: float = 600.0


def compare(path: Path, ours: SideSettings, theirs: SideSettings, effort: Effort) -> dict[str, Any]:
    """Compare two sides on the model file `path`.

    Returns:
        `ratio` of the times ours/theirs (median over the rounds) with its `spread` (quartiles), `memory_ratio`,
        `load_ratio`, `max_error`, and the absolute numbers of both sides (`ours`, `theirs`): milliseconds of the median
        run, peak megabytes, seconds for loading, providers.

    Raises:
        OutputFault: the outputs are constant, not finite, or differ by more than the tolerance.
        SideFailed: one of them cannot run the model.
    """
    loads: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for last in [False] * (effort.loads - 1) + [True]:
        with Side(ours, limit=effort.limit) as first, Side(theirs, limit=effort.limit) as second:
            for loaded, side in zip(loads, (first, second), strict=True):
                loaded.append(load(side, path))
            if last:
                error = check(path.stem, first, second, effort.tolerance)
                runs = [run_count(loaded[-1]["run_seconds"], effort) for loaded in loads]
                times = take_turns((first, second), runs, effort.rounds)
    sides = [_absolute(loaded, turns) for loaded, turns in zip(loads, times, strict=True)]
    ratio = paired_ratio(times[0], times[1])
    return {
        "ratio": ratio.median,
        "spread": list(ratio.spread),
        "memory_ratio": sides[0]["memory_mb"] / sides[1]["memory_mb"],
        "load_ratio": sides[0]["load_seconds"] / sides[1]["load_seconds"],
        "max_error": error,
        "ours": sides[0],
        "theirs": sides[1],
    }


def take_turns(sides: Sequence[Side], runs: Sequence[int], rounds: int) -> list[list[float]]:
    """Median seconds of each side's turns; the order is reversed from round to round."""
    times: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        for which in range(len(sides)) if number % 2 == 0 else reversed(range(len(sides))):
            seconds = sides[which].ask("time", count=runs[which])["seconds"]
            times[which].append(statistics.median(seconds))
    return times


def load(side: Side, path: Path) -> dict[str, Any]:
    """Load the model in a side that has run another, so that what is imported late is there."""
    with tempfile.TemporaryDirectory() as folder:
        one_node = Path(folder) / "one_node.onnx"
        write_one_node_model(one_node)
        side.ask("warm", path=str(one_node))
    return side.ask("load", path=str(path))


def write_one_node_model(path: Path) -> None:
    """Write the model `y = Relu(x)`, x: float32[4]."""
    import onnx
    from onnx import parser

    onnx.save(parser.parse_model('<ir_version: 10, opset_import: ["": 18]> one_node (float[4] x) => (float[4] y) { y = Relu(x) }'), path)


def check(name: str, first: Side, second: Side, tolerance: float) -> float:
    """The largest difference of the two sides' outputs over the largest value of the second's.

    Raises:
        OutputFault: as for `compare`.
    """
    expected, got = second.outputs(), first.outputs()
    check_outputs(f"{name} in {second.settings.module}", expected)
    check_outputs(f"{name} in {first.settings.module}", got)
    error = max_error(got, expected)
    if not error <= tolerance:
        raise OutputFault(f"{name}: outputs differ by {error:.3g} of the largest value; expected at most {tolerance:g}; nothing was timed")
    return error


def run_count(seconds: float, effort: Effort) -> int:
    """Runs of a turn, for the seconds of one."""
    return max(FEWEST_RUNS, min(MOST_RUNS, round(effort.seconds / max(seconds, 1e-6))))


def _absolute(loads: list[dict[str, Any]], times: list[float]) -> dict[str, Any]:
    return {
        "milliseconds": statistics.median(times) * 1e3,
        "fastest_milliseconds": min(times) * 1e3,
        "memory_mb": max(1, statistics.median(load["peak_bytes"] for load in loads)) / 1e6,
        "load_seconds": statistics.median(load["load_seconds"] for load in loads),
        "providers": loads[-1]["providers"],
    }
