"""Every CUDA kernel for every architecture, compiled by NVIDIA's own NVRTC: registers, stack, spills, 16-byte loads.

    python benchmarks/kernels.py --json kernels.json

No GPU and no driver are needed. What is in the table says that a kernel compiles and fits; how fast it is, it does not say. A
kernel that spills more than `SPILLED_BYTES` is a failure, unless `MAY_SPILL` gives the reason.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.progress import track

import onnxgpu.providers.cuda.operators  # noqa: F401  declares the kernels
from benchmarks.report import save_json
from onnxgpu.dtypes import dtype_named
from onnxgpu.providers.cuda.emulator.toolchain import cuda_include
from onnxgpu.providers.cuda.generated import FORMS, INTEGER_FORMS, arity, source
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FOLDER, INTEGER_NAMES, OPTIONS, templates

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
SPILLED_BYTES = 32
"""As much may be spilled: around a call of the slow path of a function of NVIDIA's (double's exp, sin, division), the compiler saves a
register or two whatever the kernel does. What is spilled for want of registers is more."""
MAY_SPILL = {
    **{
        f"softmax_long_rows<double, {logarithm}, false>": "the double exponentials of what a thread holds, each with a slow path"
        for logarithm in ("false", "true")
    },
    "align_regions<double>": "on sm_100, around the slow paths of five double divisions; it uses 64 registers of 255",
    **{
        f"multiply_packed<float, {weights}, LargeTile>": "before sm_90 the largest tile wants nine registers more than two blocks have"
        for weights in ("Blocks<float, 2>", "Blocks<float, 4>", "Blocks<float, 8>", "Levels<float>")
    },
    "deform_windows<__half>": "on sm_80, around the calls of 64-bit divisions; it may use 255 registers",
}
"""Instances that may spill more, with the reason."""


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
    jobs = [(program, sm) for program in (*programs(), *generated_programs()) for sm in arguments.architectures]
    with ProcessPoolExecutor() as pool:
        rows = [row for found in track(pool.map(compiled, jobs), "compiling", total=len(jobs)) for row in found]
    failed = [row for row in rows if row.error]
    spilling = [row for row in rows if row.spilled_bytes > SPILLED_BYTES and row.kernel not in MAY_SPILL]
    for row in (*failed, *spilling):
        print(f"sm_{row.architecture} {row.file} {row.kernel}: {row.error or f'spills {row.spilled_bytes} bytes'}")
    counts = {"compiled": len(rows) - len(failed), "failed": len(failed), "spilling": len(spilling)}
    print(*(f"{name} {count}" for name, count in counts.items()), f"most registers {max((row.registers for row in rows), default=0)}")
    if arguments.json:
        save_json({**counts, "rows": [asdict(row) for row in rows]}, arguments.json)
    return int(bool(failed or spilling))


@dataclass(frozen=True)
class Program:
    """Kernels that are compiled together: templates by the names of their instances, or kernels by their own names."""

    label: str
    source: str
    expressions: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()


def programs() -> Iterator[Program]:
    """Every instance of the templates, a program a file."""
    found: dict[str, list[str]] = {}
    for template in templates():
        found.setdefault(template.file, []).extend(template.names())
    for file, names in found.items():
        yield Program(file, f'#include "{file}"\n', tuple(dict.fromkeys(names)))


def generated_programs() -> Iterator[Program]:
    """Every operator that an elementwise expression may have, and a chain of several, a program an element type."""
    floats, integers = _alone(FORMS), _alone(INTEGER_FORMS)
    floats["Chain"] = ("Mul 0 1", "Add %0 =0.5", "Sigmoid %1", "Mul %0 %2", "Clip %3 =0 =6", "Add %4 2")
    for name, expressions in (*((name, floats) for name in sorted(FLOAT_NAMES)), *((name, integers) for name in sorted(INTEGER_NAMES))):
        dtype, forms = dtype_named(name), ("dense", "broadcast")
        parts = [source(steps, dtype, 3 if key == "Chain" else arity(key), 0, 3, key) for key, steps in expressions.items()]
        kernels = [f"{key}_{form}" for key in expressions for form in forms]
        if expressions is floats:
            parts.append(source(floats["Chain"], dtype, 3, 0, 3, "WideChain", width=16 // dtype.itemsize))
            kernels += [f"WideChain_{form}" for form in forms]
        yield Program(f"generated for {name}", "\n".join(parts), plain=tuple(kernels))


def _alone(forms: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Each operator as an expression of one step."""
    return {name: (f"{name} {' '.join(map(str, range(arity(name))))}",) for name in forms}


def compiled(job: tuple[Program, int]) -> list[Row]:
    """All kernels of one program for one architecture."""
    from cuda.bindings import nvrtc

    made, sm = job
    _, program = nvrtc.nvrtcCreateProgram(made.source.encode(), b"instances.cu", 0, [], [])
    for name in made.expressions:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [*OPTIONS, f"--gpu-architecture=sm_{sm}", "--ptxas-options=-v", f"-I{FOLDER}", f"-I{cuda_include()}"]
    code = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
    log = _text(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
    if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        return [Row(made.label, made.label, sm, error=log[:400])]
    loads = dict(_wide_loads(_text(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)))
    usage = dict(_usage(log))
    lowered = {name: nvrtc.nvrtcGetLoweredName(program, name.encode())[1].decode() for name in made.expressions}
    lowered |= {name: name for name in made.plain}
    return [Row(name, made.label, sm, *usage[symbol], loads.get(symbol, 0)) for name, symbol in lowered.items()]


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
