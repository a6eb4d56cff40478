"""Run a program written for onnxruntime with onnxgpu in its place.

python -m onnxgpu.as_onnxruntime script.py arguments
python -m onnxgpu.as_onnxruntime --providers CUDAExecutionProvider,CPUExecutionProvider -m module arguments
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from onnxgpu import knobs
from onnxgpu.drop_in import as_onnxruntime
from onnxgpu.drop_in.children import FOLDER
from onnxgpu.errors import OnnxGpuError


class _Callable(ModuleType):
    """This module, callable: importing it hides the function `onnxgpu.as_onnxruntime` of the same name."""

    __call__ = staticmethod(as_onnxruntime)


sys.modules[__name__].__class__ = _Callable


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m onnxgpu.as_onnxruntime`; the program's own exit status and exceptions pass through."""
    parser = argparse.ArgumentParser(prog="python -m onnxgpu.as_onnxruntime", description="Run a program with onnxgpu as its onnxruntime.")
    parser.add_argument("--providers", help="comma-separated providers that every session uses in place of those the program names")
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="a module to run as a program, and its arguments")
    parser.add_argument("script", nargs="?", help="a script to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's arguments")
    options = parser.parse_args(arguments)
    if not options.module and options.script is None:
        parser.error("give a script, or -m and a module")
    providers = None if options.providers is None else [name.strip() for name in options.providers.split(",") if name.strip()]
    try:
        as_onnxruntime(providers)
    except OnnxGpuError as error:
        parser.error(error.message)
    _include_children(providers)
    if options.module:
        sys.argv = list(options.module)
        runpy.run_module(options.module[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [options.script, *options.arguments]
        sys.path[0] = str(Path(options.script).resolve().parent)
        runpy.run_path(options.script, run_name="__main__")


def _include_children(providers: Sequence[str] | None) -> None:
    """Python processes that this one starts do the same."""
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FOLDER), *([others] if others else [])])
    if providers is not None:
        os.environ[knobs.PROVIDERS.name] = ",".join(providers)


if __name__ == "__main__":
    main()
