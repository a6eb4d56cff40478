"""Models of compiled segments: written, run without the model they were made of, and how soon a process gives its first result.

`python benchmarks/compiled_models.py --small --json result.json` compiles each model with a provider of segments, once with engines in
files and once with engines in the model. Both have to give, without compiling anything, the very outputs of the session that compiles; a
model that does not ends the run. Then new processes load the original and each of the two in turns, and run once: `ratio` is the median
over the pairs of the seconds from process start, compiled model over original.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from benchmarks.inputs import described_inputs, make_inputs
from benchmarks.model_folder import add_model_options, find_models
from benchmarks.ratios import geomean_ratio, paired_ratio
from benchmarks.report import conditions, print_table, save_json
from benchmarks.side import SideFailed
from benchmarks.startup import first_result
from onnxgpu import GraphOptimizationLevel, InferenceSession, ModelCompiler, SessionOptions

FORMS = {"files": False, "embedded": True}
CPU = "CPUExecutionProvider"


def measure(model: Path, provider: str, rounds: int) -> dict[str, Any]:
    """One model: bytes of each form, and the ratio of their start to the original's.

    Raises:
        SideFailed: a compiled model gives other outputs, or a process gives none.
    """
    providers = [provider, CPU]
    with tempfile.TemporaryDirectory() as folder:
        original = InferenceSession(model, providers=providers)
        feeds = make_inputs(described_inputs(original))
        expected = original.run(None, feeds)
        np.savez(Path(folder) / "feeds.npz", **feeds)  # type: ignore[arg-type]
        result: dict[str, Any] = {"segments": sum(bool(assignment.members) for assignment in original.placement)}
        for form, embed in FORMS.items():
            compiled = Path(folder) / form / model.name
            compile_model(model, compiled, provider, embed)
            check_same(compiled, providers, feeds, expected)
            size = sum(path.stat().st_size for path in compiled.parent.iterdir())
            result[form] = {"bytes": size, **first_results(model, compiled, providers, Path(folder) / "feeds.npz", rounds)}
    return result


def compile_model(model: Path, to: Path, provider: str, embed: bool) -> None:
    """Write the compiled model `to`, in a folder of its own."""
    to.parent.mkdir()
    options = SessionOptions()
    options.add_provider(provider, {})
    level = GraphOptimizationLevel.ORT_ENABLE_ALL
    ModelCompiler(options, model, embed, flags=1, graph_optimization_level=level).compile_to_file(str(to))


def check_same(compiled: Path, providers: Sequence[str], feeds: Mapping[str, np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Run the compiled model, which may compile nothing.

    Raises:
        SideFailed: an output is not the expected one, bit for bit.
    """
    options = SessionOptions()
    options.add_session_config_entry("session.disable_model_compile", "1")
    outputs = InferenceSession(compiled, options, providers=list(providers)).run(None, feeds)
    if not all(np.array_equal(actual, wanted, equal_nan=True) for actual, wanted in zip(outputs, expected, strict=True)):
        raise SideFailed(f"{compiled.name}: a compiled model ({compiled.parent.name}) gives other outputs than the session that compiles")


def first_results(model: Path, compiled: Path, providers: Sequence[str], feeds: Path, rounds: int) -> dict[str, Any]:
    """Pairs of processes, the compiled model and the original, in alternating order."""
    seconds: dict[Path, list[float]] = {compiled: [], model: []}
    for number in range(rounds):
        for path in (compiled, model) if number % 2 == 0 else (model, compiled):
            seconds[path].append(first_result("onnxgpu", providers, path, feeds)[0])
    ratio = paired_ratio(seconds[compiled], seconds[model])
    return {"ratio": ratio.median, "spread": list(ratio.spread)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Models of compiled segments: right, and how fast they start.")
    add_model_options(parser)
    parser.add_argument("--provider", default="OpenVINOExecutionProvider", help="a provider of segments (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of processes for each form (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the result goes")
    options = parser.parse_args(arguments)
    found = find_models(options.models, options.only, small=options.small)
    models = {path.stem: measure(path, options.provider, options.rounds) for path in found}
    means = {form: geomean_ratio({name: model[form] for name, model in models.items()}) for form in FORMS}
    result = {**conditions(rounds=options.rounds), "provider": options.provider, "models": models, "geomean": means}
    rows = [
        [name, str(model["segments"]), *(text for form in FORMS for text in (f"{model[form]['bytes']:,}", f"{model[form]['ratio']:.2f}"))]
        for name, model in models.items()
    ]
    print_table(
        f"Compiled models with {options.provider}: first result of a process, over the original's",
        ["model", "segments", *(text for form in FORMS for text in (f"bytes, {form}", f"ratio, {form}"))],
        [*rows, ["geometric mean", "", *(text for mean in means.values() for text in ("", f"{mean:.2f}"))]],
    )
    if options.json:
        save_json(result, options.json)


if __name__ == "__main__":
    main()
