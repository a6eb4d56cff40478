"""A summary as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from onnxgpu.profile.summary import Row, Summary


def print_summary(console: Console, summary: Summary, *, most_nodes: int = 20) -> None:
    """Print a table each of operators, nodes and providers.

    Args:
        console: made with `markup=False`, since names of nodes may look like markup.
        summary: of a profile.
        most_nodes: how many nodes to list.
    """
    per_run = summary.run_seconds / summary.runs * 1e3 if summary.runs else 0.0
    console.print(f"{summary.runs} runs, {per_run:.3f} ms each; the nodes take {summary.node_seconds * 1e3:.3f} ms of all runs")
    console.print(_table("operators", summary.operators))
    shown = summary.nodes[:most_nodes]
    left_out = f" (the {len(shown)} slowest of {len(summary.nodes)})" if len(shown) < len(summary.nodes) else ""
    console.print(_table(f"nodes{left_out}", shown))
    console.print(_table("providers", summary.providers))
    if summary.transfers:
        console.print(f"transfers: {summary.transfers}, {summary.transfer_bytes} bytes, {summary.transfer_seconds * 1e3:.3f} ms")


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("name", overflow="fold")
    for heading in ("calls", "ms", "share", "GB/s"):
        table.add_column(heading, justify="right")
    table.add_column("provider", overflow="fold")
    for row in rows:
        rate = "-" if row.gigabytes_per_second is None else f"{row.gigabytes_per_second:.2f}"
        table.add_row(
            row.name, str(row.calls), f"{row.seconds * 1e3:.3f}", f"{row.share:.1%}", rate, row.provider.replace("ExecutionProvider", "")
        )
    return table
