"""Time onnxgpu against ONNX's own reference evaluator, on the models that the evaluator finishes in reasonable time.

`python benchmarks/against_reference.py --json result.json` takes the small models; `--models DIR` any others. The result
has the keys of run_models.py; a model the evaluator cannot finish within `--limit` seconds is listed under `failures`,
without making the exit status 1: that is set only when no model could be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.model_folder import add_model_options, find_models
from benchmarks.report import save_json
from benchmarks.run_models import add_effort_options, effort_of, names_of, run_models, show
from benchmarks.runtimes import REFERENCE
from benchmarks.side import SideSettings, cores


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Time onnxgpu against onnx.reference.")
    parser.add_argument("--providers", default="CPUExecutionProvider", help="comma-separated providers of onnxgpu (default: %(default)s)")
    parser.add_argument("--module", default="onnxgpu", help="the module measured (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of each side (default: all cores)")
    parser.add_argument("--json", type=Path, help="where the result goes")
    add_model_options(parser)
    add_effort_options(parser, rounds=3)
    parser.set_defaults(limit=60.0, loads=1, seconds=0.2)
    options = parser.parse_args(arguments)
    ours = SideSettings(options.module, names_of(options.providers), options.threads)
    theirs = SideSettings(REFERENCE, (), options.threads)
    paths = find_models(options.models, options.only, small=options.small or options.models is None)
    result = run_models(paths, ours, theirs, effort_of(options))
    show(result)
    if options.json:
        save_json(result, options.json)
    if not result["models"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
