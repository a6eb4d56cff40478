"""One progress bar for the builds that a person waits for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxgpu.providers.segments.builds import Build

PATIENCE_SECONDS = 1.0
"""Builds that are done by then show nothing."""

_REFRESH_SECONDS = 0.2


@contextmanager
def shown(builds: Sequence[Build[Any]]) -> Iterator[None]:
    """Show the progress of `builds` on stderr while in this context, if that is a terminal."""
    if not builds or not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(list(builds), over), name="onnxgpu progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _show(builds: list[Build[Any]], over: threading.Event) -> None:
    if over.wait(PATIENCE_SECONDS):
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True, markup=False), transient=True) as bars:
        tasks = [(build, bars.add_task(f"building {build.name}", total=None)) for build in builds]
        while not over.wait(_REFRESH_SECONDS):
            for build, task in tasks:
                phase, step, steps = build.progress
                total = 1 if build.is_done else steps or None
                bars.update(task, description=f"building {build.name}: {phase}", completed=1 if build.is_done else step, total=total)
