"""Show results: a table on the terminal, a Markdown table, a plot, and the part of a document that holds them."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks.side import cores

BEGIN, END = "<!-- measured by {script}: begin -->", "<!-- measured by {script}: end -->"
WIDTH_OF_FILES = 140
"""Characters a line of a table may have where the output is no terminal."""
_DISTRIBUTIONS = ("onnxgpu", "onnxruntime", "onnx", "onnx-ir", "numpy", "ml_dtypes")

_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2"}
"""Linux's name of what a processor can → how the widest of these is shown."""

Result = Mapping[str, Any]


def conditions(**more: Any) -> dict[str, Any]:
    """What a result depends on: versions, cores, processor and whatever the script adds."""
    return {"versions": versions(), "cores": cores(), "machine": f"{platform.system()} {platform.machine()}, {_processor()}", **more}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that take part."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "onnxgpu":
                found[name] = _checkout_version()
    return found


def _checkout_version() -> str:
    from onnxgpu.release import __version__

    return __version__


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    named = said.get("model name") or platform.processor() or "unknown processor"
    return named + next((f" with {text}" for flag, text in _VECTORS.items() if flag in said.get("flags", "").split()), "")


def save_json(result: Result, path: Path) -> None:
    """Write a result, readable by people too; NaN becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_without_nan(result), indent=2) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def model_rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table of a comparison over models."""
    heading = ["model", f"{result['ours']} ms", f"{result['theirs']} ms", "time ratio", "quartiles", "memory ratio", "max error"]
    rows = [
        [
            name,
            f"{model['ours']['milliseconds']:.2f}",
            f"{model['theirs']['milliseconds']:.2f}",
            f"{model['ratio']:.3f}",
            f"{model['spread'][0]:.3f} – {model['spread'][1]:.3f}",
            f"{model['memory_ratio']:.2f}",
            f"{model['max_error']:.1e}",
        ]
        for name, model in result["models"].items()
    ]
    if rows:
        rows.append(["geometric mean", "", "", f"{result['geomean_ratio']:.3f}", "", f"{result['geomean_memory_ratio']:.2f}", ""])
    return heading, rows


def print_table(title: str, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with rich."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for index, name in enumerate(heading):
        table.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_OF_FILES)
    console.print(table)


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def conditions_sentence(result: Result) -> str:
    """One sentence of what was measured where."""
    named = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    providers = ", ".join(result["providers"]) or "its own default"
    return f"{result['machine']}, {result['cores']} cores, {result['rounds']} rounds; {result['ours']} on {providers}; {named}."


def replace_measured(document: Path, script: str, text: str) -> None:
    """Put `text` between the two markers of `script` in `document`.

    Raises:
        ValueError: the markers are not there.
    """
    begin, end = BEGIN.format(script=script), END.format(script=script)
    before, found_begin, rest = document.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{document}: expected the lines {begin!r} and {end!r}, between which the table goes")
    document.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def plot_ratios(result: Result, path: Path) -> None:
    """Draw the time ratio of each model, with its quartiles, as SVG or PNG by the ending of `path`."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "onnxgpu"
    pyplot: Any = import_module("matplotlib.pyplot")
    names = list(result["models"])
    ratios = [result["models"][n]["ratio"] for n in names]
    spreads = [result["models"][n]["spread"] for n in names]
    errors = [
        [max(0.0, r - low) for r, (low, _) in zip(ratios, spreads, strict=True)],
        [max(0.0, high - r) for r, (_, high) in zip(ratios, spreads, strict=True)],
    ]
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(names) + 1.4), layout="constrained")
    axes.barh(names, ratios, xerr=errors, color="#4c78a8", ecolor="#333333", capsize=3)
    axes.axvline(1.0, color="#d62728", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel(f"time of {result['ours']} / time of {result['theirs']} (lower is faster; whiskers: quartiles)")
    axes.set_title(f"geometric mean {result['geomean_ratio']:.2f}")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
