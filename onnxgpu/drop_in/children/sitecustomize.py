"""Imported by Python when it starts: puts onnxgpu in the place of onnxruntime, after the `sitecustomize` that this one hides."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path


def _run_hidden() -> None:
    folder = Path(__file__).parent
    spec = PathFinder.find_spec("sitecustomize", [entry for entry in sys.path if Path(entry or ".").resolve() != folder.resolve()])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


def _stand_in() -> None:
    try:
        from onnxgpu.drop_in import as_onnxruntime
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != "onnxgpu":
            raise
        return  # a Python of another environment, without onnxgpu
    as_onnxruntime()


if __name__ == "sitecustomize":
    _run_hidden()
    _stand_in()
