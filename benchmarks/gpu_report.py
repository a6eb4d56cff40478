"""The report of a GPU: everything that was measured, and what of it stands in docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import markdown_table, replace_measured, save_json
from benchmarks.side import ROOT

CHECKS = ("tests", "suite", "sanitizer")
TABLES = ("models", "operators", "startup")
DOCUMENT = ROOT / "docs" / "benchmarks.md"
DOCUMENTED = {
    "models": {
        "onnxgpu_ms": "ms",
        "ratio to onnxruntime": "to onnxruntime",
        "ratio to onnxruntime graph": "to its CUDA graphs",
        "ratio to onnxgpu launching": "to launching",
        "run ratio to onnxruntime": "`run` to onnxruntime",
        "max_error": "error",
    },
    "operators": {
        "onnxgpu_ms": "ms",
        "GB/s": "GB/s",
        "TFLOP/s": "TFLOP/s",
        "ratio to torch": "to torch",
        "ratio to onnxruntime": "to onnxruntime",
        "ratio to own kernels": "to own kernels",
        "max_error": "error",
    },
    "startup": {"onnxgpu, nothing compiled_s": "nothing compiled, s", "onnxgpu_s": "s", "onnxruntime_s": "onnxruntime, s"},
}
"""Of each table, the columns that are documented, and their heads."""

Row = Mapping[str, Any]


def rows_of(results: Mapping[str, Row]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table: every number that some row has."""
    keys = list(dict.fromkeys(key for row in results.values() for key in row))
    return ["", *keys], [[name, *(shown(row.get(key)) for key in keys)] for name, row in results.items()]


def shown(value: Any) -> str:
    """A number, a ratio with its quartiles, or whether something is right."""
    if isinstance(value, Mapping):
        return f"{value['median']:.3f} ({', '.join(f'{x:.3f}' for x in value['spread'])})"
    if isinstance(value, bool) or value is None:
        return {None: "", True: "yes", False: "NO"}[value]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def written(result: Mapping[str, Any], folder: Path) -> None:
    """Write the report."""
    save_json(result, folder / "report.json")
    parts = ["# onnxgpu on a GPU", _listed(result["device"]), _listed(_summaries(result))]
    for part in TABLES:
        if result[part]:
            parts += [f"## {part}", markdown_table(*rows_of(result[part]))]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n")


def merged(paths: Sequence[Path]) -> dict[str, Any]:
    """One report of several of the same GPU, with different parts, or rows of a table, or newer ones.

    Raises:
        SystemExit: the GPUs differ.
    """
    found: dict[str, Any] = {}
    for path in paths:
        report = json.loads(path.read_text())
        if found and found["device"]["device"] != report["device"]["device"]:
            raise SystemExit(f"{path} is of {report['device']['device']}, and {paths[0]} of {found['device']['device']}")
        tables = {part: {**found.get(part, {}), **report[part]} for part in TABLES if part in report}
        found |= {key: value for key, value in report.items() if value or key not in found} | tables
    return found


def document(result: Mapping[str, Any]) -> None:
    """Write the columns of `DOCUMENTED` into docs/benchmarks.md."""
    device = result["device"]
    versions = ", ".join(f"{name} {device[name]}" for name in ("cupy", "torch", "onnxruntime") if name in device)
    parts = [f"{device['device']}, compute capability {device['capability']}, driver for CUDA {_version(device['driver'])}, {versions}."]
    parts.append(_listed(_summaries(result)))
    for part in TABLES:
        if result[part]:
            columns = {key: head for key, head in DOCUMENTED[part].items() if any(key in row for row in result[part].values())}
            timed = {name: row for name, row in result[part].items() if columns.keys() & row.keys() - {"max_error"}}
            rows = [[name, *(_short(row.get(key)) for key in columns)] for name, row in timed.items()]
            parts.append(markdown_table(["", *columns.values()], rows))
    replace_measured(DOCUMENT, "gpu.py", "\n\n".join(parts))


def _short(value: Any) -> str:
    return f"{value['median']:.2f}" if isinstance(value, Mapping) else shown(value)


def _summaries(result: Mapping[str, Any]) -> dict[str, str]:
    return {check: result[check]["summary"].strip("= ") for check in CHECKS if result[check]}


def _listed(items: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in items.items())


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
