"""A profile as one HTML page that needs nothing else: bars by operator, a timeline of the last run, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from onnxgpu.profile.summary import Row, Summary, node_name, summarize
from onnxgpu.profile.trace import TraceEvent

WIDTH = 1000
_BAR_HEIGHT, _LANE_HEIGHT, _LABEL_WIDTH = 18, 22, 220
_MOST_BARS = 20
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, which people with colour blindness can tell apart."""

_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; max-width: 1100px; color: #222; background: #fff }
table { border-collapse: collapse; margin: 0.5em 0 2em } td, th { padding: 2px 10px; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child, td:last-child, th:last-child { text-align: left } td:first-child { word-break: break-all }
svg text { font: 12px system-ui, sans-serif; fill: #222 }
"""


def html_page(events: Sequence[TraceEvent], title: str) -> str:
    """The page of a profile.

    Args:
        events: of the profile.
        title: what was profiled.
    """
    summary = summarize(events)
    colours = {row.name: _COLOURS[index % len(_COLOURS)] for index, row in enumerate(summary.providers)}
    per_run = summary.run_seconds / summary.runs * 1e3 if summary.runs else 0.0
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{summary.runs} runs, {per_run:.3f} ms each. The nodes take {summary.node_seconds * 1e3:.3f} ms of all runs.</p>",
        f"<p>{_legend(colours)}</p>",
        "<h2>Time by operator</h2>",
        _bars(summary.operators[:_MOST_BARS], colours),
        "<h2>The last run</h2>",
        _timeline(events, colours),
        *_tables(summary),
    ]
    style = f"<style>{_STYLE}</style>"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>{style}</head>'
    return f"{head}<body>{''.join(parts)}</body></html>\n"


def _legend(colours: dict[str, str]) -> str:
    return " ".join(f'<span style="color:{colour}">&#9632;</span> {escape(name)}' for name, colour in colours.items())


def _bars(rows: Sequence[Row], colours: dict[str, str]) -> str:
    longest = max((row.seconds for row in rows), default=0.0) or 1.0
    room = WIDTH - _LABEL_WIDTH - 160
    parts = []
    for index, row in enumerate(rows):
        top = index * (_BAR_HEIGHT + 4)
        colour = colours.get(row.provider, _COLOURS[-1])
        width = max(1.0, room * row.seconds / longest)
        parts.append(f'<text x="{_LABEL_WIDTH - 8}" y="{top + 13}" text-anchor="end">{escape(row.name)}</text>')
        parts.append(f'<rect x="{_LABEL_WIDTH}" y="{top}" width="{width:.1f}" height="{_BAR_HEIGHT}" fill="{colour}"/>')
        label = f"{row.seconds * 1e3:.3f} ms, {row.share:.1%}"
        parts.append(f'<text x="{_LABEL_WIDTH + width + 6:.1f}" y="{top + 13}">{label}</text>')
    return _svg("".join(parts), len(rows) * (_BAR_HEIGHT + 4))


def _timeline(events: Sequence[TraceEvent], colours: dict[str, str]) -> str:
    """The nodes of the last run, one lane a level of control flow."""
    runs = [event for event in events if event.name == "model_run"]
    if not runs:
        return "<p>There was no run.</p>"
    run = max(runs, key=lambda event: event.start_ns)
    nodes = sorted(
        (e for e in events if e.category == "Node" and e.thread == run.thread and run.start_ns <= e.start_ns < run.end_ns),
        key=lambda e: (e.start_ns, -e.duration_ns),
    )
    scale = WIDTH / (run.duration_ns or 1)
    parts = []
    ends: list[int] = []
    deepest = 0
    for event in nodes:
        while ends and ends[-1] <= event.start_ns:
            ends.pop()
        x, width = (event.start_ns - run.start_ns) * scale, max(0.3, event.duration_ns * scale)
        colour = colours.get(str(event.arguments.get("provider")), _COLOURS[-1])
        hint = f"{node_name(event)} ({event.arguments.get('op_name')}, {event.arguments.get('provider')}): {event.duration_ns / 1e3:.1f} µs"
        box = f'x="{x:.2f}" y="{len(ends) * _LANE_HEIGHT}" width="{width:.2f}" height="{_LANE_HEIGHT - 2}"'
        parts.append(f'<rect {box} fill="{colour}" stroke="#fff" stroke-width="0.3"><title>{escape(hint)}</title></rect>')
        ends.append(event.end_ns)
        deepest = max(deepest, len(ends))
    return _svg("".join(parts), max(1, deepest) * _LANE_HEIGHT)


def _svg(content: str, height: int) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">{content}</svg>'


def _tables(summary: Summary) -> list[str]:
    parts = []
    for title, rows in (("Providers", summary.providers), ("Operators", summary.operators), ("Nodes", summary.nodes)):
        parts.append(f"<h2>{title}</h2><table><tr><th>name<th>calls<th>ms<th>share<th>GB/s<th>provider</tr>")
        for row in rows:
            rate = row.gigabytes_per_second
            cells = (escape(row.name), row.calls, f"{row.seconds * 1e3:.3f}", f"{row.share:.1%}", "-" if rate is None else f"{rate:.2f}")
            parts.append(f"<tr>{''.join(f'<td>{cell}' for cell in cells)}<td>{escape(row.provider)}</tr>")
        parts.append("</table>")
    return parts
