"""Time from process start to the first result, and the time `import onnxgpu` takes beyond `import numpy`.

`python benchmarks/startup.py --json result.json` starts new processes of onnxgpu and onnxruntime in turns; each imports,
loads MobileNetV2, runs it once and says so. The result holds `ratio` (median of the pairs) with its `spread` (quartiles),
`milliseconds` of both sides, and `import_ms`: the median over alternating processes of `import onnxgpu` minus
`import numpy`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from benchmarks.inputs import make_inputs
from benchmarks.model_folder import find_models
from benchmarks.ratios import paired_ratio, quartiles
from benchmarks.report import conditions, print_table, save_json
from benchmarks.run_models import names_of
from benchmarks.runtimes import open_model
from benchmarks.side import SideFailed, child_environment, cores

FIRST_RESULT = """
import sys
import numpy
import {module} as ort
session = ort.InferenceSession(sys.argv[1], providers={providers})
with numpy.load(sys.argv[2]) as arrays:
    feeds = dict(arrays)
outputs = session.run(None, feeds)
print(float(numpy.abs(outputs[0]).max()), flush=True)
"""

AGAINST_PROVIDERS = ("CPUExecutionProvider",)

IMPORT = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def first_result(module: str, providers: Sequence[object], model: Path, feeds: Path) -> tuple[float, float]:
    """Seconds from starting a process to its first result, and the largest absolute value of that result.

    Raises:
        SideFailed: the process printed no result.
    """
    code = FIRST_RESULT.format(module=module, providers=list(providers))
    start = time.perf_counter()
    command = [sys.executable, "-c", code, str(model), str(feeds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=child_environment(), text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        printed = process.stderr.read()
    try:
        return seconds, float(line)
    except ValueError:
        raise SideFailed(f"{module} gave no result for {model.name}: {printed.strip()[-2000:]}") from None


def import_seconds(module: str) -> float:
    """Seconds that `import module` takes in a new process."""
    command = [sys.executable, "-c", IMPORT.format(module=module)]
    done = subprocess.run(command, capture_output=True, env=child_environment(), text=True, check=True)
    return float(done.stdout)


def measure_first_results(model: Path, modules: tuple[str, str], providers: Sequence[str], rounds: int) -> dict[str, Any]:
    """Alternate processes of both modules on one model; one pair before the first round warms the file cache.

    Raises:
        SideFailed: a process gave no result, or the two results differ.
    """
    chosen = (providers, AGAINST_PROVIDERS)
    with tempfile.TemporaryDirectory() as folder:
        feeds = Path(folder) / "feeds.npz"
        np.savez(feeds, **make_inputs(open_model(modules[1], str(model), AGAINST_PROVIDERS, cores()).inputs))  # type: ignore[arg-type]
        _check_same(modules, [first_result(modules[i], chosen[i], model, feeds)[1] for i in (0, 1)])
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds):
            for i in (0, 1) if number % 2 == 0 else (1, 0):
                times[i].append(first_result(modules[i], chosen[i], model, feeds)[0])
    ratio = paired_ratio(*times)
    return {"ratio": ratio.median, "spread": list(ratio.spread), "milliseconds": [statistics.median(t) * 1e3 for t in times]}


def _check_same(modules: tuple[str, str], largest: list[float]) -> None:
    if not abs(largest[0] - largest[1]) <= 1e-3 * abs(largest[1]):
        raise SideFailed(f"the largest output is {largest[0]:g} in {modules[0]} and {largest[1]:g} in {modules[1]}; nothing was timed")


def measure_import(module: str, rounds: int) -> dict[str, Any]:
    """`import module` over `import numpy`, in milliseconds: median and quartiles over alternating processes."""
    import_seconds(module)
    extra = [(import_seconds(module) - import_seconds("numpy")) * 1e3 for _ in range(rounds)]
    return {"import_ms": statistics.median(extra), "import_ms_spread": list(quartiles(extra))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Time to the first result, and of the import.")
    parser.add_argument("--models", type=Path, help="folder with the model; without it the model is made in the cache folder")
    parser.add_argument("--model", default="mobilenet_v2", help="name of the model (default: %(default)s)")
    parser.add_argument("--providers", default="CPUExecutionProvider", help="comma-separated providers of onnxgpu (default: %(default)s)")
    parser.add_argument("--module", default="onnxgpu", help="the module measured (default: %(default)s)")
    parser.add_argument("--against", default="onnxruntime", help="the module compared with (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=11, help="pairs of processes (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the result goes")
    options = parser.parse_args(arguments)
    (model,) = find_models(options.models, options.model)
    modules = (options.module, options.against)
    result = {
        **conditions(rounds=options.rounds),
        "ours": options.module,
        "theirs": options.against,
        "model": options.model,
        **measure_first_results(model, modules, names_of(options.providers), options.rounds),
        **measure_import(options.module, options.rounds),
    }
    spread, imports = result["spread"], result["import_ms_spread"]
    rows = [
        [f"{options.module}: process start to first result of {options.model}, ms", f"{result['milliseconds'][0]:.0f}", ""],
        [f"{options.against}: the same", f"{result['milliseconds'][1]:.0f}", ""],
        ["ratio", f"{result['ratio']:.3f}", f"{spread[0]:.3f} – {spread[1]:.3f}"],
        [f"import {options.module} over import numpy, ms", f"{result['import_ms']:.1f}", f"{imports[0]:.1f} – {imports[1]:.1f}"],
    ]
    print_table(f"startup, {options.rounds} rounds", ["", "median", "quartiles"], rows)
    if options.json:
        save_json(result, options.json)


if __name__ == "__main__":
    main()
