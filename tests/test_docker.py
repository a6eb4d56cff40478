"""The Dockerfiles and the program that checks them without a Docker engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECK = ROOT / "docker/check.py"
SOUND = 'FROM base\nRUN a && \\\n    b\nCOPY LICENSE ./\nUSER someone\nENTRYPOINT ["onnxgpu"]\n'


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(CHECK), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.gpu"])
def test_dockerfile_is_sound(name: str) -> None:
    outcome = check(str(ROOT / "docker" / name))
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("FROM base\n", "", "the first instruction is not FROM"),
        ("RUN", "RNU", "2: unknown instruction 'RNU'"),
        ("LICENSE", "gone.txt", "4: COPY of 'gone.txt', which is not in the build context"),
        ('["onnxgpu"]', "onnxgpu", "6: ENTRYPOINT in shell form"),
        ("USER someone\n", "", "needs an ENTRYPOINT and a USER"),
    ],
)
def test_fault_is_found_and_placed(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "Dockerfile.broken"
    path.write_text(SOUND.replace(old, new), "utf-8")
    outcome = check(str(path))
    assert outcome.returncode == 1
    assert reason in outcome.stderr


@pytest.mark.slow
def test_cpu_image_runs_its_pip_commands_and_the_demo() -> None:
    outcome = check("--run", str(ROOT / "docker/Dockerfile.cpu"))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
