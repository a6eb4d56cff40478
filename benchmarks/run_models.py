"""Time onnxgpu against onnxruntime on the benchmark models, both sides in turns in the same run.

`python benchmarks/run_models.py --providers CPUExecutionProvider --json result.json` writes, besides versions and cores:

    models: name → {ratio, spread, memory_ratio, load_ratio, max_error, ours: {…}, theirs: {…}}
    geomean_ratio, geomean_memory_ratio
    failures: name → why this model was not timed

A ratio below 1 means that onnxgpu takes less. `--module onnxruntime` measures onnxruntime against itself: the noise.
The exit status is 1 if any model failed. See docs/benchmarks.md for the method.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.model_folder import add_model_options, find_models
from benchmarks.outputs import OutputFault
from benchmarks.pairing import Effort, compare
from benchmarks.ratios import geomean_ratio
from benchmarks.report import (
    conditions,
    conditions_sentence,
    markdown_table,
    model_rows,
    plot_ratios,
    print_table,
    replace_measured,
    save_json,
)
from benchmarks.side import ROOT, SideFailed, SideSettings, cores

DOCUMENT = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.svg"


def run_models(paths: Sequence[Path], ours: SideSettings, theirs: SideSettings, effort: Effort) -> dict[str, Any]:
    """Compare two sides on all models; one that fails is listed under `failures` and the others go on."""
    models: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for path in paths:
        print(f"{path.stem} …", file=sys.stderr, flush=True)
        try:
            models[path.stem] = compare(path, ours, theirs, effort)
        except (OutputFault, SideFailed) as error:
            failures[path.stem] = str(error)
    return {
        **conditions(rounds=effort.rounds, threads=ours.threads, providers=list(ours.providers)),
        "ours": ours.module,
        "theirs": theirs.module,
        "models": models,
        "geomean_ratio": geomean_ratio(models),
        "geomean_memory_ratio": geomean_ratio(models, "memory_ratio"),
        "failures": failures,
    }


def write_document(result: dict[str, Any], document: Path = DOCUMENT, plot: Path = PLOT) -> None:
    """Put the table and the plot into the document about the benchmarks."""
    plot_ratios(result, plot)
    picture = f"![Time of {result['ours']} over time of {result['theirs']}, for each model]({plot.name})"
    replace_measured(document, "run_models.py", "\n\n".join([conditions_sentence(result), markdown_table(*model_rows(result)), picture]))


def show(result: dict[str, Any]) -> None:
    """Print the table, and what failed."""
    print_table(f"{result['ours']} / {result['theirs']}, {result['cores']} cores, {result['rounds']} rounds", *model_rows(result))
    for name, reason in result["failures"].items():
        print(f"FAILED {name}: {reason}")


def add_effort_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Add --rounds, --loads, --seconds, --tolerance and --limit."""
    default = Effort()
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each side (default: %(default)s)")
    parser.add_argument(
        "--loads", type=int, default=default.loads, help="processes of each side whose memory is measured (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=default.seconds, help="length of a turn (default: %(default)s)")
    parser.add_argument("--tolerance", type=float, default=default.tolerance, help="largest max|a-b|/max|b| (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=default.limit, help="most seconds for loading or for a turn (default: %(default)s)")


def effort_of(options: argparse.Namespace) -> Effort:
    """The options of `add_effort_options` as a value."""
    if options.rounds < 1 or options.loads < 1:
        raise SystemExit(f"--rounds {options.rounds} --loads {options.loads}: expected at least 1 of each")
    return Effort(options.rounds, options.loads, options.seconds, options.tolerance, options.limit)


def names_of(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated option."""
    return tuple(part for part in text.split(",") if part)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Time onnxgpu against onnxruntime on the benchmark models.")
    parser.add_argument("--providers", default="CPUExecutionProvider", help="comma-separated providers of onnxgpu (default: %(default)s)")
    parser.add_argument("--against-providers", default="CPUExecutionProvider", help="those of the other side (default: %(default)s)")
    parser.add_argument("--module", default="onnxgpu", help="the module measured; `onnxruntime` measures the noise")
    parser.add_argument("--against", default="onnxruntime", help="the module compared with (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of each side (default: all cores)")
    parser.add_argument("--json", type=Path, help="where the result goes")
    parser.add_argument("--write-docs", action="store_true", help="put table and plot into docs/benchmarks.md (needs matplotlib)")
    add_model_options(parser)
    add_effort_options(parser, rounds=7)
    options = parser.parse_args(arguments)
    ours = SideSettings(options.module, names_of(options.providers), options.threads)
    theirs = SideSettings(options.against, names_of(options.against_providers), options.threads)
    result = run_models(find_models(options.models, options.only, small=options.small), ours, theirs, effort_of(options))
    show(result)
    if options.json:
        save_json(result, options.json)
    if options.write_docs and result["models"]:
        write_document(result)
    if result["failures"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
