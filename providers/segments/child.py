"""What runs in the process of `child_process`: the work, with whatever it prints kept apart from what it tells."""

from __future__ import annotations

import logging
import mmap
import os
import pickle
import signal
import sys
import threading
from typing import IO, Any

from onnxgpu.errors import OnnxGpuError
from onnxgpu.providers.segments.child_process import Job


def main() -> None:
    """Take the job from standard input, tell of it on standard output, and end without taking libraries down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent too, which decides
    channel = _Channel(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    job: Job = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logger = logging.getLogger("onnxgpu")
    logger.addHandler(channel)
    logger.setLevel(job.level)
    try:
        engine = pickle.loads(job.work, buffers=_arrays(job))(channel.report)
        channel.tell("done", engine)
    except OnnxGpuError as error:
        channel.tell("failed", error)
    except BaseException as error:
        channel.tell("failed", f"{type(error).__name__}: {error}")
    os._exit(0)


class _Channel(logging.Handler):
    """The way to the parent, for messages, progress and log records of any thread."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self._turn = file, threading.Lock()

    def tell(self, kind: str, value: Any) -> None:
        """Send a message."""
        with self._turn:
            pickle.dump((kind, value), self._file, protocol=5)
            self._file.flush()

    def report(self, phase: str, step: int, steps: int) -> bool:
        """Tell of progress; the parent ends this process if it is not to go on."""
        self.tell("progress", (phase, step, steps))
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Send a log record."""
        self.tell("log", (record.levelno, "%s", record.getMessage()))


def _arrays(job: Job) -> list[memoryview]:
    """The memory of the arrays, as the file has it; nothing writes into it."""
    size = max((start + length for start, length in job.pieces), default=0)
    if not size:
        return [memoryview(b"") for _ in job.pieces]
    with os.fdopen(os.open(job.file, os.O_RDONLY) if isinstance(job.file, str) else job.file, "rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
    return [whole[start : start + length] for start, length in job.pieces]


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
