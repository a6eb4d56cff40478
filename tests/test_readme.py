"""README.md: its Python blocks run, in order and as one program; its commands and links exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8") if (ROOT / "README.md").exists() else ""
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")


def program() -> str:
    """The Python blocks in order, each padded so that a traceback gives README.md's own line numbers."""
    lines: list[str] = []
    for block in PYTHON_BLOCK.finditer(README):
        begin = README.count("\n", 0, block.start(1))
        lines += [""] * (begin - len(lines))
        lines += block.group(1).splitlines()
    return "\n".join(lines)


def test_python_blocks_run(tmp_path: Path) -> None:
    code = program()
    assert code.strip(), "README.md has no ```python block"
    runner = f"exec(compile({code!r}, {str(ROOT / 'README.md')!r}, 'exec'), {{'__name__': '__main__'}})"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    outcome = subprocess.run([sys.executable, "-c", runner], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_first_block_installs_runs_the_demo_and_tests() -> None:
    commands = [
        subprocess.run([sys.executable, str(ROOT / ".ci/readme_command.py"), n], capture_output=True, text=True).stdout for n in ("1", "2")
    ]
    assert "pip install" in commands[0]
    assert "onnxgpu demo" in commands[0]
    assert "pytest" in commands[1]


def test_links_lead_somewhere() -> None:
    assert [target for target in LINK.findall(README) if not (ROOT / target).exists()] == []
