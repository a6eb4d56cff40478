"""Work for builds in other processes, which import this module."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.log import logger
from onnxgpu.providers.segments.builds import Report


@dataclass(frozen=True)
class Weighted:
    """Gives the sums of its arrays."""

    arrays: dict[str, np.ndarray]

    def __call__(self, report: Report) -> bytes:
        return repr(
            {name: (str(array.dtype), array.shape, float(np.sum(array.astype(np.float64)))) for name, array in self.arrays.items()}
        ).encode()


def pid(report: Report) -> bytes:
    """The process."""
    return str(os.getpid()).encode()


def noisy(report: Report) -> bytes:
    """Progress, a log record, and text of a library that prints."""
    os.write(1, b"a library prints this\n")
    report("first", 1, 2)
    logger.warning("as %s says", "TensorRT")
    report("second", 2, 2)
    return b"engine"


def crash(report: Report, number: int) -> bytes:
    """A crash inside a library."""
    os.write(2, b"an assertion of the library\nfailed in line 7\n")
    os.kill(os.getpid(), number)
    time.sleep(60)
    return b""


def abort(report: Report) -> bytes:
    """As a library does."""
    os.abort()


def leave(report: Report) -> bytes:
    """End the process."""
    os._exit(3)


def refuse(report: Report) -> bytes:
    """An error on purpose."""
    raise InvalidArgument("the profile of x is upside down")


def fail(report: Report) -> bytes:
    """An error that is not ours."""
    raise ZeroDivisionError("division by zero")


def endless(report: Report, folder: str) -> bytes:
    """Never done; leaves its process number in the folder."""
    Path(folder, "pid").write_text(str(os.getpid()))
    while True:
        report("endless", 1, 2)
        time.sleep(0.01)


def deaf(report: Report, folder: str) -> bytes:
    """As `endless`, without a report, and with a signal handler."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(folder, "pid").write_text(str(os.getpid()))
    time.sleep(600)
    sys.exit(1)
