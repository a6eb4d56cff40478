"""The parent's handle on a worker process: one side of a comparison."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
_NOT_PASSED_ON = ("PYTHONDONTWRITEBYTECODE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class SideFailed(Exception):
    """One side raised, crashed or took too long; says which, at what, and the end of what it printed."""


@dataclass(frozen=True, slots=True)
class SideSettings:
    """What a side runs.

    Attributes:
        module: `onnxgpu`, `onnxruntime` or `onnx.reference`.
        providers: names of its providers; none: the module's own default.
        threads: bound for its threads.
    """

    module: str
    providers: tuple[str, ...] = ()
    threads: int = 1


def cores() -> int:
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, in which children import onnxgpu from this checkout, keep bytecode as installed packages have it, and
    compute with the kernels that NumPy's BLAS finds for the processor, as the other side's library does."""
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    return {**kept, "PYTHONPATH": path, **(extra or {})}


class Side:
    """A worker process with one module; a context manager that ends the process.

    Args:
        settings: what it runs.
        limit: most seconds that any answer may take.
    """

    def __init__(self, settings: SideSettings, *, limit: float = 600.0) -> None:
        self.settings = settings
        self._limit = limit
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), "--module", settings.module]
        command += ["--providers", ",".join(settings.providers), "--threads", str(settings.threads)]
        threads = dict.fromkeys(_THREAD_VARIABLES, str(settings.threads))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._printed, env=child_environment(threads), bufsize=0
        )
        self._pending = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._printed):
            if stream is not None:
                stream.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command of `worker.py` and wait for its answer.

        Raises:
            SideFailed: the side raised, ended, or did not answer within the limit.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            line = self._read_line()
        except (BrokenPipeError, EOFError):
            raise SideFailed(f"{self.settings.module} ended during `{do}` ({self._process.wait()}): {self._last_words()}") from None
        except TimeoutError:
            raise SideFailed(f"{self.settings.module} took more than {self._limit:g} s for `{do}`") from None
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SideFailed(f"{self.settings.module} failed at `{do}`: {answer['error']}")
        return answer

    def outputs(self) -> list[np.ndarray]:
        """The outputs of one run."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "outputs.npz"
            count = self.ask("outputs", path=str(path))["count"]
            with np.load(path, allow_pickle=True) as arrays:
                return [arrays[f"output_{i}"] for i in range(count)]

    def _read_line(self) -> bytes:
        stream = self._process.stdout
        assert stream is not None
        deadline = time.monotonic() + self._limit
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(stream.fileno(), 65536)
                if not chunk:
                    raise EOFError
                self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _last_words(self) -> str:
        self._printed.seek(0)
        return self._printed.read().decode(errors="replace").strip()[-2000:] or "it printed nothing"
