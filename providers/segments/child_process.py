"""Build an engine in another process, so that what ends that process is an exception here.

The process is a fresh Python that runs `child.py`: not a fork, and it does not run the caller's main program again. It is sent the work as
a pickle, and the arrays in it by a file without a name that both map, so that weights are copied once and the system removes them
whatever ends first. It tells progress, log records and the engine over its standard output; when its standard input ends,
because this process cancelled or died, it ends too.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from onnxgpu.errors import EPFail, ModelLoadCanceled, OnnxGpuError
from onnxgpu.log import SEVERITIES, logger
from onnxgpu.providers.segments.builds import POLL_SECONDS, Report, Work

ALIGNMENT = 64
MOST_LINES = 20
"""Lines of the child's standard error that an error quotes."""

_BOOTSTRAP = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from onnxgpu.providers.segments.child import main; main()"


@dataclass(frozen=True, slots=True)
class Job:
    """What the child is sent.

    Attributes:
        name: of the segment.
        work: a pickle whose arrays lie in the file.
        file: its path or, where it has none, its descriptor.
        pieces: offset and size of each array.
        level: the least level of log records that are wanted.
    """

    name: str
    work: bytes
    file: str | int
    pieces: tuple[tuple[int, int], ...]
    level: int


def in_child(name: str, work: Work[bytes], report: Report) -> bytes:
    """What `work` gives in another process.

    Args:
        name: of the segment, for messages.
        work: can be pickled; so can what it raises.
        report: told of progress; asked many times a second whether to go on.

    Raises:
        EPFail: the process could not be started, or ended before it had an engine; says by which signal, and what it wrote last.
        OnnxGpuError: what `work` raised there.
        ModelLoadCanceled: `report` said not to go on; the process has ended.
    """
    with tempfile.TemporaryFile() as told, _written(name, work) as (job, file):
        try:
            process = _started(file, told)
        except OSError as error:
            raise EPFail(f"{name} could not be built in a process of its own, '{sys.executable}': {error}") from error
        try:
            answer = _answer(process, job, report)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]  # both are pipes
        if answer is None:
            raise EPFail(f"the process that built {name} {_ended(process.returncode)}{_last_lines(told)}")
    kind, value = answer
    if kind == "done":
        return bytes(value)
    raise value if isinstance(value, OnnxGpuError) else EPFail(f"{name} could not be built: {value}")


@contextmanager
def _written(name: str, work: Work[bytes]) -> Iterator[tuple[Job, IO[bytes]]]:
    """The job, and the open file in which its arrays lie."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(work, protocol=5, buffer_callback=buffers.append)
    has_name = os.name == "nt"
    with tempfile.NamedTemporaryFile(delete=False) if has_name else tempfile.TemporaryFile() as file:
        try:
            pieces = _pieces(file, buffers, name)
            where = file.name if has_name else file.fileno()
            yield Job(name, pickled, where, pieces, _level()), file
        finally:
            if has_name:
                file.close()
                Path(file.name).unlink()


def _level() -> int:
    """The least level of records that this thread logs."""
    return next((level for level in SEVERITIES if logger.enabled(level)), logging.CRITICAL)


def _pieces(file: IO[bytes], buffers: Sequence[pickle.PickleBuffer], name: str) -> tuple[tuple[int, int], ...]:
    """Write the arrays; returns offset and size of each."""
    pieces = []
    try:
        for buffer in buffers:
            with buffer.raw() as memory:
                start = -(-file.tell() // ALIGNMENT) * ALIGNMENT
                file.seek(start)
                file.write(memory)
                pieces.append((start, memory.nbytes))
        file.flush()
    except OSError as error:
        folder = tempfile.gettempdir()
        raise EPFail(f"the weights of {name} could not be handed over in '{folder}' (TMPDIR names another folder): {error}") from error
    return tuple(pieces)


def _started(file: IO[bytes], told: IO[bytes]) -> subprocess.Popen[bytes]:
    descriptors = () if os.name == "nt" else (file.fileno(),)
    command = [sys.executable, "-c", _BOOTSTRAP]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, pass_fds=descriptors)


def _answer(process: subprocess.Popen[bytes], job: Job, report: Report) -> tuple[str, Any] | None:
    """The child's last message; None if it ended without one."""
    messages: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
    threads = [threading.Thread(target=_send, args=(process, job), daemon=True)]
    threads.append(threading.Thread(target=_receive, args=(process, messages), daemon=True))
    for thread in threads:
        thread.start()
    progress = ("starting a process", 0, 0)
    while True:
        try:
            message = messages.get(timeout=POLL_SECONDS)
        except queue.Empty:
            message = "progress", progress
        if message is None or message[0] in ("done", "failed"):
            return message
        kind, value = message
        if kind == "log":
            logger.log(*value)
            continue
        progress = value
        if not report(*progress):
            raise ModelLoadCanceled(f"the build of {job.name} was cancelled")


def _send(process: subprocess.Popen[bytes], job: Job) -> None:
    """Send what the child needs; its input stays open, since it lives as long as that."""
    assert process.stdin is not None
    with suppress(OSError, ValueError):
        pickle.dump(sys.path, process.stdin)
        pickle.dump(job, process.stdin)
        process.stdin.flush()


def _receive(process: subprocess.Popen[bytes], messages: queue.SimpleQueue[tuple[str, Any] | None]) -> None:
    assert process.stdout is not None
    try:
        while True:
            messages.put(pickle.load(process.stdout))
    except Exception:
        process.wait()
        messages.put(None)


def _ended(code: int) -> str:
    """How a process ended, from its return code."""
    if code >= 0:
        return f"ended with code {code:#x}" if code > 255 else f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    cause = " (as the system does when memory runs out)" if name == "SIGKILL" else ""
    return f"was ended by {name}{cause}"


def _last_lines(told: IO[bytes]) -> str:
    told.seek(0)
    lines = [line for line in told.read()[-8192:].decode(errors="replace").splitlines() if line.strip()][-MOST_LINES:]
    return "; the last that it wrote:\n    " + "\n    ".join(lines) if lines else ""
