"""One side of a comparison, in a process of its own: reads commands as JSON lines, answers each with one JSON line.

    {"do": "warm", "path"}         run a one-node model; its memory and that of all imports counts as the process's own
    {"do": "load", "path"}         load a model, run it three times    -> load_seconds, peak_bytes, run_seconds, providers
    {"do": "outputs", "path"}      run once, save the outputs as .npz  -> count
    {"do": "time", "count"}        run `count` times                   -> seconds: one number a run

An answer `{"error": …}` holds what was raised. What libraries print goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from benchmarks import resident_memory
from benchmarks.inputs import make_inputs
from benchmarks.runtimes import OpenModel, open_model

MEMORY_RUNS = 3


class Worker:
    """The state between commands: the model and its inputs."""

    def __init__(self, module: str, providers: list[str], threads: int) -> None:
        self._module = module
        self._providers = providers
        self._threads = threads
        self._model: OpenModel | None = None
        self._feeds: dict[str, np.ndarray] = {}

    def warm(self, path: str) -> dict[str, Any]:
        """Import what a first run imports."""
        model = self._open(path)
        model.run(make_inputs(model.inputs))
        return {}

    def load(self, path: str) -> dict[str, Any]:
        """Load a model and run it three times, watching the memory."""
        resident_memory.reset_peak()
        before = resident_memory.resident()
        start = time.perf_counter()
        self._model = self._open(path)
        loaded = time.perf_counter()
        self._feeds = make_inputs(self._model.inputs)
        seconds = self.time(MEMORY_RUNS)["seconds"]
        return {
            "load_seconds": loaded - start,
            "run_seconds": min(seconds),
            "peak_bytes": resident_memory.peak() - before,
            "providers": list(self._model.providers),
        }

    def outputs(self, path: str) -> dict[str, Any]:
        """Save the outputs as `output_0`, `output_1`, …"""
        outputs = self._loaded().run(self._feeds)
        np.savez(path, **{f"output_{i}": np.asarray(value) for i, value in enumerate(outputs)})  # type: ignore[arg-type]
        return {"count": len(outputs)}

    def time(self, count: int) -> dict[str, Any]:
        """Run `count` times."""
        model, seconds = self._loaded(), []
        for _ in range(count):
            start = time.perf_counter()
            model.run(self._feeds)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def _open(self, path: str) -> OpenModel:
        return open_model(self._module, path, self._providers, self._threads)

    def _loaded(self) -> OpenModel:
        if self._model is None:
            raise RuntimeError("no model is loaded; send `load` first")
        return self._model


def serve(worker: Worker, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until they end."""
    known: dict[str, Callable[..., dict[str, Any]]] = {name: getattr(worker, name) for name in ("warm", "load", "outputs", "time")}
    for line in commands:
        arguments = json.loads(line)
        try:
            answer = known[arguments.pop("do")](**arguments)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description="One side of a comparison; started by the benchmarks.")
    parser.add_argument("--module", required=True)
    parser.add_argument("--providers", default="")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Worker(options.module, [p for p in options.providers.split(",") if p], options.threads), sys.stdin, answers)


if __name__ == "__main__":
    main()
