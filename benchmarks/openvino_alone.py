"""Time onnxgpu with the OpenVINO provider beside OpenVINO alone and onnxruntime, in turns in the same run, and its second start.

`python benchmarks/openvino_alone.py --json result.json` has four processes for each model: onnxgpu, OpenVINO with its defaults but for
float32, OpenVINO with the provider's settings, and onnxruntime's CPU provider. Within a round each has a turn, and the order is reversed
from round to round. Then new processes load the model with an empty cache folder, and with what the first of each pair left there.

    models: name → {ratios: {"A/B": median}, spreads: {"A/B": quartiles}, milliseconds: {side: …}, second_start}
    geomean: "A/B" → geometric mean over the models; the same for second_start
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from benchmarks.inputs import make_inputs
from benchmarks.model_folder import add_model_options, find_models
from benchmarks.pairing import Effort, check, load, run_count, take_turns
from benchmarks.ratios import geometric_mean, paired_ratio
from benchmarks.report import conditions, print_table, save_json
from benchmarks.run_models import add_effort_options, effort_of
from benchmarks.runtimes import OPENVINO, open_model
from benchmarks.side import Side, SideFailed, SideSettings, cores
from benchmarks.startup import first_result
from onnxgpu.providers.openvino.engine import HONEST

CPU = "CPUExecutionProvider"
PROVIDER = "OpenVINOExecutionProvider"
OURS, ALONE, SAME, ONNXRUNTIME = "onnxgpu", "openvino", "openvino, same settings", "onnxruntime"
PAIRS = ((OURS, ONNXRUNTIME), (ALONE, ONNXRUNTIME), (OURS, ALONE), (OURS, SAME))


def sides_of(threads: int) -> dict[str, SideSettings]:
    """What is compared, by name."""
    return {
        OURS: SideSettings("onnxgpu", (PROVIDER, CPU), threads),
        ALONE: SideSettings(OPENVINO, (), threads),
        SAME: SideSettings(OPENVINO, tuple(f"{name}={value}" for name, value in HONEST.items()), threads),
        ONNXRUNTIME: SideSettings("onnxruntime", (CPU,), threads),
    }


def measure_runs(model: Path, threads: int, effort: Effort) -> dict[str, Any]:
    """Ratios of the sides' times, after their outputs were compared.

    Raises:
        OutputFault, SideFailed: see `benchmarks.pairing.compare`.
    """
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Side(side, limit=effort.limit)) for name, side in sides_of(threads).items()}
        runs = [run_count(load(side, model)["run_seconds"], effort) for side in sides.values()]
        for name in (OURS, ALONE, SAME):
            check(model.stem, sides[name], sides[ONNXRUNTIME], effort.tolerance)
        times = dict(zip(sides, take_turns(list(sides.values()), runs, effort.rounds), strict=True))
    ratios = {f"{first}/{second}": paired_ratio(times[first], times[second]) for first, second in PAIRS}
    return {
        "ratios": {name: ratio.median for name, ratio in ratios.items()},
        "spreads": {name: list(ratio.spread) for name, ratio in ratios.items()},
        "milliseconds": {name: statistics.median(seconds) * 1e3 for name, seconds in times.items()},
    }


def second_start(model: Path, rounds: int) -> float:
    """Seconds from process start to first result with what the process before left in the cache, over those of that process.

    Raises:
        SideFailed: a process gave no result, or the two results differ.
    """
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        feeds = Path(folder) / "feeds.npz"
        np.savez(feeds, **make_inputs(open_model("onnxruntime", str(model), (CPU,), cores()).inputs))  # type: ignore[arg-type]
        first_result("onnxgpu", [PROVIDER, CPU], model, feeds)
        for number in range(rounds):
            providers = [(PROVIDER, {"cache_dir": str(Path(folder) / str(number))}), CPU]
            first, second = (first_result("onnxgpu", providers, model, feeds) for _ in range(2))
            if first[1] != second[1]:
                raise SideFailed(f"{model.stem}: the largest output is {first[1]:g} in the first start and {second[1]:g} in the second")
            ratios.append(second[0] / first[0])
    return statistics.median(ratios)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Time onnxgpu with OpenVINO beside OpenVINO alone and onnxruntime.")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of each side (default: all cores)")
    parser.add_argument("--starts", type=int, default=3, help="pairs of processes for the second start; 0 for none (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the result goes")
    add_model_options(parser)
    add_effort_options(parser, rounds=7)
    options = parser.parse_args(arguments)
    effort = effort_of(options)
    models: dict[str, dict[str, Any]] = {}
    for path in find_models(options.models, options.only, small=options.small):
        print(f"{path.stem} …", file=sys.stderr, flush=True)
        models[path.stem] = measure_runs(path, options.threads, effort)
        if options.starts:
            models[path.stem]["second_start"] = second_start(path, options.starts)
    means = {"/".join(pair): geometric_mean([model["ratios"]["/".join(pair)] for model in models.values()]) for pair in PAIRS}
    if options.starts:
        means["second_start"] = geometric_mean([model["second_start"] for model in models.values()])
    rows = [[name, *(f"{model['ratios'].get(column, model.get(column)):.3f}" for column in means)] for name, model in models.items()]
    print_table("OpenVINO: ratios of times", ["model", *means], [*rows, ["geometric mean", *(f"{mean:.3f}" for mean in means.values())]])
    if options.json:
        save_json({**conditions(rounds=effort.rounds, threads=options.threads), "models": models, "geomean": means}, options.json)


if __name__ == "__main__":
    main()
