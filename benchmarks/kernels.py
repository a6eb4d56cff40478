"""Every CUDA kernel for every architecture, compiled by NVIDIA's own NVRTC: registers, stack, spills, 16-byte loads.

    python benchmarks/kernels.py --json kernels.json

No GPU and no driver are needed. What is in the table says that a kernel compiles and fits; how fast it is, it does not say. A
kernel that spills is a failure unless `SPILLS` gives the reason.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.progress import track

import onnxgpu.providers.cuda.operators  # noqa: F401  declares the kernels
from benchmarks.report import save_json
from onnxgpu.providers.cuda.emulator.toolchain import cuda_include
from onnxgpu.providers.cuda.kernels import FOLDER, OPTIONS, templates

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
SPILLS: dict[str, str] = {}
"""Instances that may spill registers, with the reason."""


@dataclass(frozen=True)
class Row:
    """One instance for one architecture; `error` is the compiler's text if it does not compile."""

    kernel: str
    file: str
    architecture: int
    registers: int = 0
    stack_bytes: int = 0
    spilled_bytes: int = 0
    wide_loads: int = 0
    error: str = ""


def main() -> int:
    """Compile all, print what stands out, and say whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    parser.add_argument("--architectures", type=int, nargs="*", default=ARCHITECTURES)
    arguments = parser.parse_args()
    jobs = [(file, names, sm) for file, names in instances().items() for sm in arguments.architectures]
    with ProcessPoolExecutor() as pool:
        rows = [row for found in track(pool.map(compiled, jobs), "compiling", total=len(jobs)) for row in found]
    failed = [row for row in rows if row.error]
    spilling = [row for row in rows if row.spilled_bytes and row.kernel not in SPILLS]
    for row in (*failed, *spilling):
        print(f"sm_{row.architecture} {row.file} {row.kernel}: {row.error or f'spills {row.spilled_bytes} bytes'}")
    print(f"compiled {len(rows) - len(failed)}, failed {len(failed)}, spilling {len(spilling)}, most registers {max((r.registers for r in rows), default=0)}")
    if arguments.json:
        counts = {"compiled": len(rows) - len(failed), "failed": len(failed), "spilling": len(spilling)}
        save_json({**counts, "rows": [asdict(row) for row in rows]}, arguments.json)
    return int(bool(failed or spilling))


def instances() -> dict[str, tuple[str, ...]]:
    """The file of each kernel → the C++ names of its instances."""
    found: dict[str, list[str]] = {}
    for template in templates():
        found.setdefault(template.file, []).extend(template.names())
    return {file: tuple(dict.fromkeys(names)) for file, names in found.items()}


def compiled(job: tuple[str, tuple[str, ...], int]) -> list[Row]:
    """All instances of one file for one architecture, in one program."""
    from cuda.bindings import nvrtc

    file, names, sm = job
    _, program = nvrtc.nvrtcCreateProgram(f'#include "{file}"\n'.encode(), b"instances.cu", 0, [], [])
    for name in names:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [*OPTIONS, f"--gpu-architecture=sm_{sm}", "--ptxas-options=-v", f"-I{FOLDER}", f"-I{cuda_include()}"]
    code = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
    log = _text(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
    if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        return [Row(name, file, sm, error=log[:400]) for name in names]
    loads = dict(_wide_loads(_text(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)))
    usage = dict(_usage(log))
    rows = []
    for name in names:
        lowered = nvrtc.nvrtcGetLoweredName(program, name.encode())[1].decode()
        rows.append(Row(name, file, sm, *usage[lowered], loads.get(lowered, 0)))
    return rows


def _text(program: object, size: object, get: object) -> str:
    length = size(program)[1]  # type: ignore[operator]
    buffer = b" " * length
    get(program, buffer)  # type: ignore[operator]
    return buffer.rstrip(b"\0 ").decode(errors="replace")


def _usage(log: str) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """For each function: registers, bytes of stack, bytes spilled."""
    pattern = r"Function properties for (\S+)\n\D*(\d+) bytes stack frame, (\d+) bytes spill stores.*\n.*Used (\d+) registers"
    for name, stack, spilled, registers in re.findall(pattern, log):
        yield name, (int(registers), int(stack), int(spilled))


def _wide_loads(ptx: str) -> Iterator[tuple[str, int]]:
    """For each kernel the number of 16-byte loads from global memory."""
    for match in re.finditer(r"\.entry (\w+)\(.*?(?=\.entry |\Z)", ptx, re.DOTALL):
        yield match[1], len(re.findall(r"ld\.global[.\w]*\.(?:v4\.[bfus]32|v2\.[bfus]64|b128)", match[0]))


if __name__ == "__main__":
    sys.exit(main())
