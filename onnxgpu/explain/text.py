"""The explanation as text for a terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table


def explanation_text(explained: dict[str, Any], width: int = 140) -> str:
    """The explanation of `onnxgpu.explain.explanation`, as tables.

    Args:
        explained: what `explanation` gave.
        width: of the terminal, in characters.
    """
    console = Console(file=StringIO(), width=width, highlight=False, markup=False, emoji=False)
    print_explanation(console, explained)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def print_explanation(console: Console, explained: dict[str, Any]) -> None:
    """Print the placement table, the transfers and what was not available.

    Args:
        console: made with `markup=False` and `emoji=False`, since names of nodes may look like either.
        explained: what `explanation` gave.
    """
    for item in explained["unavailable"]:
        console.print(f"{item['provider']} is not available: {item['cause']}")
    console.print(_placement_table(explained["nodes"]))
    console.print(_transfer_summary(explained["transfers"]))
    if explained["transfers"]:
        console.print(_transfer_table(explained["transfers"]))
    counts = ", ".join(f"{name} {count}" for name, count in explained["counts"].items())
    console.print(f"nodes by provider: {counts}")


def _placement_table(nodes: list[dict[str, Any]]) -> Table:
    table = Table(title="placement", title_justify="left")
    for heading in ("node", "operator", "provider", "why", "why not the others"):
        table.add_column(heading, overflow="fold")
    for node in nodes:
        others = "; ".join(f"{_short(item['provider'])}: {item['reason']}" for item in node["not"])
        table.add_row(node["name"] or "-", node["operator"], _short(node["provider"]), node["reason"], others or "-")
    return table


def _short(provider: str) -> str:
    return provider.replace("ExecutionProvider", "")


def _transfer_summary(transfers: list[dict[str, Any]]) -> str:
    known = [item["bytes"] for item in transfers if item["bytes"] is not None]
    unknown = len(transfers) - len(known)
    text = f"transfers: {len(transfers)}"
    if known:
        text += f", {sum(known):,} bytes"
    return text + (f" ({unknown} of a size known only in the run)" if unknown else "")


def _transfer_table(transfers: list[dict[str, Any]]) -> Table:
    table = Table(title="transfers", title_justify="left")
    for heading in ("value", "bytes", "from", "to", "produced by", "read by"):
        table.add_column(heading, overflow="fold")
    for item in transfers:
        size = "?" if item["bytes"] is None else f"{item['bytes']:,}"
        table.add_row(item["value"], size, item["from"], item["to"], item["producer"], ", ".join(item["consumers"]))
    return table
