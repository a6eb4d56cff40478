"""The demo on a system without the modules and functions that only POSIX has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
POSIX_MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
POSIX_FUNCTIONS = (
    "fork",
    "forkpty",
    "getpgid",
    "geteuid",
    "getuid",
    "killpg",
    "mkfifo",
    "posix_fadvise",
    "pread",
    "setsid",
    "statvfs",
)

PROGRAM = f"""
import os, sys

for name in {POSIX_MODULES!r}:
    sys.modules[name] = None
for name in {POSIX_FUNCTIONS!r}:
    if hasattr(os, name):
        delattr(os, name)
sys.argv = ["onnxgpu", "demo"]
from onnxgpu.cli import main
sys.exit(main())
"""


def test_demo_runs(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
    outcome = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert outcome.stdout.strip()
