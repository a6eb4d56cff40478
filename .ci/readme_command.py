"""Print a command of README.md's first shell block: `python .ci/readme_command.py NUMBER`, counted from 1.

A command is a line that is neither empty nor a comment, without a leading `$ `; a line that ends in a backslash goes on
in the next one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
FENCE = re.compile(r"^```(?:sh|bash|shell|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(readme: str) -> list[str]:
    """The commands of the first fenced block, a comment after one cut off."""
    block = FENCE.search(readme)
    lines = block.group(1).replace("\\\n", " ").splitlines() if block else []
    cleaned = (re.sub(r"\s+#\s.*$", "", line.removeprefix("$ ")).strip() for line in lines)
    return [line for line in cleaned if line and not line.startswith("#")]


if __name__ == "__main__":
    found = commands(README.read_text("utf-8"))
    number = int(sys.argv[1])
    if number > len(found):
        sys.exit(f"README.md: the first code block has {len(found)} commands, number {number} was asked for")
    print(found[number - 1])
