"""The documents: links and headings exist, examples print what is shown, every knob is told.

A ```text block right behind a ```python block is what that block prints. `python -m tests.test_docs` writes the text
blocks anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onnxgpu import knobs
from onnxgpu.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "packaging").rglob("*.md")})
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
EXAMPLE = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:`|&& )onnxgpu (\w+)")
END_OF_BLOCK = "\x1e"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    return FENCED.sub("", path.read_text("utf-8"))


def anchors(path: Path) -> set[str]:
    """The headings as GitHub links to them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(path))}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_and_headings_exist(path: Path) -> None:
    for target, anchor in LINK.findall(prose(path)):
        linked = (path.parent / target).resolve() if target else path
        assert linked.exists(), f"{name_of(path)} links to {target}"
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), f"{name_of(path)} links to {target}#{anchor}; headings: {sorted(anchors(linked))}"


def examples(text: str) -> list[re.Match[str]]:
    return list(EXAMPLE.finditer(text))


def printed(text: str, folder: Path) -> list[str]:
    """What each Python block of a document prints, run in order as one program."""
    program = "\n".join(f"{example['code']}\nprint({END_OF_BLOCK!r})" for example in examples(text))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONNXGPU_")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", knobs.CHECK.name: "1"}
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    blocks = outcome.stdout.split(f"{END_OF_BLOCK}\n")[:-1]
    return ["".join(f"{line.rstrip()}\n" for line in block.strip("\n").splitlines()) for block in blocks]


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if examples(path.read_text("utf-8"))], ids=name_of)
def test_examples_print_what_is_shown(path: Path, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    for example, output in zip(examples(text), printed(text, tmp_path), strict=True):
        assert example["output"] is None or example["output"] == output, f"{name_of(path)}: run `python -m tests.test_docs`"


def test_the_guide_to_providers_shows_the_example() -> None:
    code = (ROOT / "examples/tiny_provider/tiny_provider.py").read_text("utf-8")
    assert code.count("\n") < 60
    assert f"```python\n{code}```\n" in (ROOT / "docs/writing-a-provider.md").read_text("utf-8")


def test_every_knob_is_described() -> None:
    text = "".join(prose(path) for path in DOCUMENTS)
    assert [knob.name for knob in knobs.ALL if f"`{knob.name}" not in text] == []


def test_every_command_of_the_documents_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE))
    named = {name for path in DOCUMENTS for name in COMMAND.findall(path.read_text("utf-8"))}
    assert known <= named, "a command that no document tells of"
    assert named <= known, "a command that does not exist"


def rewritten(path: Path) -> str:
    """The document with the output of its examples as they print now."""
    text = path.read_text("utf-8")
    outputs = iter(printed(text, ROOT))

    def with_output(example: re.Match[str]) -> str:
        output = next(outputs)
        return example.group() if example["output"] is None else f"```python\n{example['code']}```\n\n```text\n{output}```\n"

    return EXAMPLE.sub(with_output, text)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(rewritten(document), "utf-8")
