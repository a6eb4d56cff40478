"""What stands in for NVRTC: CUDA C++ becomes a shared object, kept on disk under the hash of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from onnxgpu.providers.cuda.emulator.expand import expanded
from onnxgpu.providers.cuda.emulator.toolchain import HERE, Toolchain, run, toolchain

IMAGE = "ONNXGPU EMULATED "
"""What an image begins with; the path of the shared object follows, then a line for each of its shared variables."""

_LANGUAGE = ("-std=c++17", "-w", "-fpermissive")
_CODE = ("-g1", "-fPIC", "-fno-strict-aliasing", "-fno-gnu-unique", "-ffp-contract=fast")
_FAST = ("-O2", "-march=native")
_CHECKED = ("-O1", "-march=native", "-fsanitize=thread", "--param", "tsan-distinguish-volatile=0", "-fno-tree-vectorize")
_CUPY_HEADERS = ("cupy/complex.cuh", "cupy/carray.cuh", "cupy/atomics.cuh", "cupy/math_constants.h")


@dataclass(frozen=True)
class Compiled:
    """A compiled module.

    Attributes:
        path: its shared object.
        lowered: the names of the kernels that were asked for by expression.
        shared: where in it the variables in shared memory lie: offset and bytes, in hexadecimal.
    """

    path: Path
    lowered: tuple[str, ...]
    shared: tuple[str, ...]

    @property
    def image(self) -> str:
        """What `cuModuleLoadData` takes."""
        return "\n".join((f"{IMAGE}{self.path}", *self.shared))


class CompileError(Exception):
    """g++ refused a source; the text is its own."""


def compile_source(
    source: str, *, name: str, options: Sequence[str] = (), expressions: Sequence[str] = (), checked: bool = False
) -> Compiled:
    """Compile CUDA C++.

    Args:
        source: the program.
        name: its file name, for messages.
        options: NVRTC's; those for macros and include folders are used.
        expressions: instances of kernel templates that are wanted.
        checked: instrument every access.

    Raises:
        CompileError: the source is not valid.
    """
    tools = toolchain()
    is_cupys = "#include <cupy/" in source
    checked = checked and not is_cupys
    used = tuple(option for option in options if option.startswith(("-D", "-U", "-I")))
    key = _key(source, name, used, tuple(expressions), checked)
    path = tools.folder / "kernels" / f"{key}.so"
    facts = path.with_suffix(".json")
    if path.exists():
        known = json.loads(facts.read_text())
        return Compiled(path, tuple(known["lowered"]), tuple(known["shared"]))
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        folder = Path(scratch)
        file = folder / (Path(name).name or "kernel.cu")
        text = _preprocessed(tools, file, source, used)
        result = expanded(text, expressions, checked=checked, strict=not is_cupys)
        file.write_text(result.text)
        header = precompiled(checked=checked, with_cupy=is_cupys)
        macros = tuple(option for option in used if not option.startswith("-I"))
        _compile([tools.compiler, *_flags(checked), *macros, "-I", header.parent, "-include", header.name, *tools.includes,
                  "-x", "c++", "-c", file, "-o", folder / "module.o"])  # fmt: skip
        # Linked by itself, without -fsanitize=thread: the driver answers the instrumented accesses, not the sanitizer's library.
        _compile([tools.compiler, "-shared", folder / "module.o", "-o", folder / "module.so"])
        shared = tuple(_shared_variables(folder / "module.so"))
        _publish(folder / "facts", facts, json.dumps({"lowered": result.lowered, "shared": shared}))
        (folder / "module.so").replace(path)
    return Compiled(path, result.lowered, shared)


def _shared_variables(module: Path) -> Iterator[str]:
    """Offset and bytes of the functions' static variables that can be written: device code has no others than shared ones."""
    pattern = re.compile(r"^([0-9a-f]+) .{7} \.(?:bss|data)\s+([0-9a-f]+) .*\b_ZZ\w+$", re.MULTILINE)
    for offset, size in pattern.findall(run(["objdump", "-t", module])):
        yield f"{offset} {size}"


@cache
def precompiled(*, checked: bool, with_cupy: bool) -> Path:
    """The header in front of every kernel, precompiled beside a copy of it."""
    tools = toolchain()
    folder = tools.folder / f"header{'-checked' if checked else ''}{'-cupy' if with_cupy else ''}"
    header = folder / "on_host.h"
    if (folder / "on_host.h.gch").exists():
        return header
    lines = ["cuda_on_host.h", *(_CUPY_HEADERS if with_cupy else ())]
    with tempfile.TemporaryDirectory(dir=tools.folder) as scratch:
        made = Path(scratch)
        _publish(made / "text", folder / "on_host.h", "".join(f"#include <{line}>\n" for line in lines))
        run([tools.compiler, *_flags(checked), *tools.includes, "-x", "c++-header", header, "-o", made / "header.gch"])
        (made / "header.gch").replace(folder / "on_host.h.gch")
    return header


def _flags(checked: bool) -> tuple[str, ...]:
    return (*_LANGUAGE, *_CODE, *(_CHECKED if checked else _FAST))


def _preprocessed(tools: Toolchain, file: Path, source: str, options: Sequence[str]) -> str:
    """The source with its macros and own headers expanded; of the headers that are precompiled nothing."""
    file.write_text(source)
    markers = ("-include", HERE / "include" / "markers.h")
    folders: tuple[str | Path, ...] = ("-I", _stand_ins(), *options, "-I", tools.cupy_include, "-I", tools.cuda_include)
    command: list[str | Path] = [tools.compiler, *_LANGUAGE, "-E", "-nostdinc", *folders, *markers, "-x", "c++", file]
    return _compile(command).replace(str(file), file.name)


@cache
def _stand_ins() -> Path:
    """A folder with an empty file for every header that `cuda_on_host.h` includes, directly or not."""
    tools = toolchain()
    folder = tools.folder / "stand_ins"
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(dir=tools.folder) as scratch:
        for header in (*_STANDARD, *_NVIDIA, *_CUPY_HEADERS):
            path = Path(scratch) / "made" / header
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        try:
            (Path(scratch) / "made").replace(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


_STANDARD = [
    "algorithm",
    "assert.h",
    "cassert",
    "cfloat",
    "climits",
    "cmath",
    "cstddef",
    "cstdint",
    "cstdio",
    "cstring",
    "ctype.h",
    "float.h",
    "initializer_list",
    "limits",
    "limits.h",
    "math.h",
    "stddef.h",
    "stdint.h",
    "stdio.h",
    "stdlib.h",
    "string.h",
    "tuple",
    "type_traits",
    "utility",
]
_NVIDIA = [
    "builtin_types.h",
    "cuda.h",
    "cuda_bf16.h",
    "cuda_bf16.hpp",
    "cuda_fp16.h",
    "cuda_fp16.hpp",
    "cuda_fp8.h",
    "cuda_fp8.hpp",
    "cuda_pipeline.h",
    "cuda_pipeline_primitives.h",
    "cuda_runtime.h",
    "cuda_runtime_api.h",
    "device_launch_parameters.h",
    "math_constants.h",
    "mma.h",
    "nv/target",
    "vector_functions.h",
    "vector_types.h",
]


def _compile(command: Sequence[str | os.PathLike[str]]) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise CompileError(finished.stderr or finished.stdout)
    return finished.stdout


def _publish(scratch: Path, path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch.write_text(text)
    scratch.replace(path)


@cache
def _own_digest() -> str:
    return hashlib.sha256(b"".join(Path(HERE, name).read_bytes() for name in ("compiler.py", "expand.py"))).hexdigest()


def _key(source: str, name: str, options: tuple[str, ...], expressions: tuple[str, ...], checked: bool) -> str:
    digest = hashlib.sha256(repr((source, name, options, expressions, checked, _own_digest())).encode())
    for option in options:
        folder = Path(option[2:])
        if option.startswith("-I") and "site-packages" not in folder.parts:
            for path in sorted(folder.glob("*.cu*")):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:24]
