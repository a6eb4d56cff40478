"""Make the calls that the TensorRT provider makes on NVIDIA's own bindings, which must take every one of them.

    python packaging/tensorrt_calls.py

The provider builds and runs engines on the stand-in, which keeps the calls (`tests/tensorrt/working_builds.py`); `tensorrt_replay.py`
makes them again on the bindings, with `tensorrt_answers.cpp` behind them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tensorrt_api import ROOT, WHEELS, run

REPLAY = Path(__file__).with_name("tensorrt_replay.py")


def encoded(value: Any) -> Any:
    """An argument as JSON: what it is, and the value where it has one."""
    from onnxgpu.providers.tensorrt.stand_in.surface.classes import MODULE, Object
    from onnxgpu.providers.tensorrt.stand_in.surface.enums import Enum

    if isinstance(value, Enum):
        return {"enum": f"{type(value).__qualname__}.{value.name}"}
    if isinstance(value, Object):
        base = next(each for each in type(value).__mro__ if each.__module__ == MODULE)
        if base.__qualname__.startswith("Dims"):
            return {"dims": list(value)}  # type: ignore[call-overload]
        return {"object": base.__qualname__} if base is type(value) else {"derived": base.__qualname__}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": None}
    if isinstance(value, np.integer):
        return {"integer": [type(value).__name__, int(value)]}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [encoded(each) for each in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    raise TypeError(f"an argument of {type(value)} cannot be written down: {value!r}")


def record(version: str) -> None:
    """Print the calls of the builds, each once, as JSON."""
    from onnxgpu.providers.tensorrt import stand_in
    from tests.tensorrt.working_builds import build_and_run

    with tempfile.TemporaryDirectory() as folder, stand_in.keeping_arguments():
        build_and_run(version, Path(folder))
    calls = []
    for call in stand_in.recorded():
        arguments = [encoded(each) for each in call.arguments]
        keywords = {name: encoded(each) for name, each in (call.keywords or {}).items()}
        use = "set" if call.text.startswith(" = ") else "call" if call.text else "get"
        calls.append([call.type, call.member, use, arguments, keywords])
    distinct = {json.dumps(each): each for each in calls}
    print(json.dumps(list(distinct.values())))


def replay(version: str) -> bool:
    """Whether the bindings take every call; says which they do not."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = {"ONNXGPU_CUDA": "emulated", "ONNXGPU_TENSORRT": version, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__, version]
        recorded = subprocess.run(command, env=os.environ | wanted, check=True, stdout=subprocess.PIPE, text=True).stdout
        calls = Path(folder, "calls.json")
        calls.write_text(recorded, "utf-8")
        found = run(REPLAY, version, str(calls))
    print(f"{WHEELS[version]}: {found.stderr if found.returncode else ''}{found.stdout.strip()}")
    return not found.returncode


def main() -> int:
    """Record, where a version is named, as in the child process; else replay every version."""
    if sys.argv[1:]:
        record(sys.argv[1])
        return 0
    return 1 if [version for version in WHEELS if not replay(version)] else 0


if __name__ == "__main__":
    sys.exit(main())
