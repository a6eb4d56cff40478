"""Check the Dockerfiles of this folder without a Docker engine.

    python docker/check.py                                  # every Dockerfile: instructions, order, copied files
    python docker/check.py --run docker/Dockerfile.cpu      # also carry out its pip commands and its entry point

`--run` copies what the COPY lines name into a scratch folder, runs each `RUN pip …` there in order in a fresh virtual
environment, and then the image's entry point with its arguments. The commands that change the system are printed and
left out. The exit status is 1, with the file, the line and the reason, at the first fault.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "USER", "VOLUME", "WORKDIR"}
EXEC_FORM = {"CMD", "ENTRYPOINT"}


class DockerfileError(Exception):
    """A Dockerfile breaks a rule, or one of its commands failed."""


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile: `line` is where it begins, counted from 1."""

    line: int
    name: str
    text: str

    def words(self) -> list[str]:
        """Its arguments without options; those of an exec form are its JSON strings."""
        if self.text.startswith("["):
            strings: list[str] = json.loads(self.text)
            return strings
        return [word for word in shlex.split(self.text) if not word.startswith("--")]


def parse(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile in order; a line that ends in a backslash goes on in the next one."""
    pending, begin = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        begin = begin if pending else number
        pending += stripped.removesuffix("\\").strip() + " "
        if not stripped.endswith("\\"):
            name, _, rest = pending.strip().partition(" ")
            yield Instruction(begin, name, rest.strip())
            pending = ""
    if pending:
        raise DockerfileError(f"line {begin}: the last line ends in a backslash")


def fault(instruction: Instruction, context: Path) -> str | None:
    """What is wrong with one instruction, or None; `context` is the build context's root."""
    if instruction.name not in INSTRUCTIONS:
        return f"unknown instruction {instruction.name!r} (known: {', '.join(sorted(INSTRUCTIONS))})"
    if not instruction.text:
        return f"{instruction.name} without arguments"
    if instruction.name in EXEC_FORM and not instruction.text.startswith("["):
        return f"{instruction.name} in shell form: its process would not get signals; write a JSON list"
    if instruction.name == "COPY":
        missing = [source for source in instruction.words()[:-1] if not (context / source).exists()]
        return f"COPY of {missing[0]!r}, which is not in the build context" if missing else None
    return None


def check(path: Path, context: Path = ROOT) -> list[Instruction]:
    """The instructions of a sound Dockerfile.

    Raises:
        DockerfileError: with the file, the line and the reason.
    """
    instructions = list(parse(path.read_text("utf-8")))
    names = [each.name for each in instructions]
    if not names or names[0] != "FROM":
        raise DockerfileError(f"{path.name}: the first instruction is not FROM")
    for each in instructions:
        reason = fault(each, context)
        if reason:
            raise DockerfileError(f"{path.name}:{each.line}: {reason}")
    if "ENTRYPOINT" not in names or "USER" not in names:
        raise DockerfileError(f"{path.name}: needs an ENTRYPOINT and a USER other than root")
    return instructions


def copy(instruction: Instruction, target: Path) -> None:
    """Carry out a COPY of files and folders from the repository; links stay links, as in a build."""
    *sources, destination = instruction.words()
    for source in sources:
        origin = ROOT / source
        if origin.is_dir():
            shutil.copytree(origin, target / destination, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(origin, target / destination)


def execute(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run one command of the image in `folder`.

    Raises:
        DockerfileError: it failed.
    """
    print("+", shlex.join(command), flush=True)
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None or subprocess.run([program, *command[1:]], cwd=folder, env=environment).returncode:
        raise DockerfileError(f"failed: {shlex.join(command)}")


def run(instructions: list[Instruction]) -> None:
    """Carry out what of a Dockerfile can be without its base image."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, home = Path(scratch, "image"), Path(scratch, "home")
        folder.mkdir()
        home.mkdir()
        venv.create(Path(scratch, "venv"), with_pip=True)
        environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        environment |= {"PATH": f"{scratch}/venv/bin{os.pathsep}{os.environ['PATH']}", "PIP_QUIET": "1"}
        start: dict[str, list[str]] = {}
        for each in instructions:
            if each.name == "COPY":
                copy(each, folder)
            elif each.name == "RUN" and each.text.startswith("pip "):
                execute(shlex.split(each.text), folder, environment)
            elif each.name == "RUN":
                print("not here:", each.text)
            elif each.name in EXEC_FORM:
                start[each.name] = each.words()
        execute([*start["ENTRYPOINT"], *start.get("CMD", [])], home, environment)


def main() -> int:
    """Check the Dockerfiles named, or all of this folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="carry out the pip commands and the entry point")
    parser.add_argument("files", nargs="*", type=Path, default=sorted(Path(__file__).parent.glob("Dockerfile.*")))
    options = parser.parse_args()
    try:
        for path in options.files:
            instructions = check(path)
            print(f"{path.name}: {len(instructions)} instructions, sound")
            if options.run:
                run(instructions)
    except DockerfileError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
