"""Waiting for engines that are being built, with one progress bar where a person looks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from onnxgpu.segment_provider import EngineBuild

PATIENCE_SECONDS = 1.0
"""What is done by then shows nothing."""

_REFRESH_SECONDS = 0.2


def wait_for(builds: Sequence[EngineBuild], deadline: float | None = None) -> bool:
    """Wait for all of them, or until `deadline` (of `time.monotonic`); True if all are done. An interrupt cancels them."""
    try:
        with shown(builds):
            return all(build.wait(deadline) for build in builds)
    except BaseException:
        for build in builds:
            build.cancel()
        raise


@contextmanager
def shown(builds: Sequence[EngineBuild]) -> Iterator[None]:
    """Show the progress of `builds` on stderr while in this context, if that is a terminal."""
    if all(build.is_done for build in builds) or sys.stderr is None or not sys.stderr.isatty():
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


def _show(builds: list[EngineBuild], over: threading.Event) -> None:
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
