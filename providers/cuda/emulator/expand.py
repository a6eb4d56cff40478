"""From CUDA C++ to C++: what g++ cannot read is replaced in the preprocessed source.

A source is expanded with empty files in place of the headers that `cuda_on_host.h` includes already, so little more
than the kernels themselves is left. `__global__` and `__shared__` are then replaced:

    __global__ void f(…)             void f(…), and an entry point that unpacks the arguments of a launch
    __shared__ T x[n];               a static variable, which is found in the symbol table
    extern __shared__ T x[];         a pointer to the block's dynamic shared memory
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

_KERNEL = re.compile(r"__global__\b((?:\s|static|inline|void|__launch_bounds__\s*\([^)]*\)|__attribute__\s*\(\(.*?\)\))*)(\w+)\s*\(")
_DYNAMIC = re.compile(r"extern\s+__shared__\s+([^;\[\]]*?)\b(\w+)\s*\[\s*\]\s*;")
_ATTRIBUTES = re.compile(r"(?:alignas|__align__)\s*\(.*?\)|__attribute__\s*\(\(.*?\)\)")
_SYNCHRONIZES = re.compile(
    r"\b__syncthreads|\b__\w+_sync\b|\b__syncwarp|\b__activemask|\bwmma\b|\bemulated_warp|\bemulated_grid_barrier\b|\b__pipeline_|\bcooperative_groups\b"
)


@dataclass(frozen=True)
class Expanded:
    """C++ that g++ compiles behind `cuda_on_host.h`.

    Attributes:
        text: the source with its entry points.
        lowered: for each name expression, the name its kernel is found under.
    """

    text: str
    lowered: tuple[str, ...]


def expanded(source: str, expressions: Sequence[str], *, checked: bool, strict: bool) -> Expanded:
    """`source`, preprocessed CUDA C++, as C++.

    Args:
        source: the output of `g++ -E`.
        expressions: instances of kernel templates that are wanted, `scale<float>`.
        checked: the module will be instrumented.
        strict: threads that left a kernel count as missing at its barriers.
    """
    kernels = _plain_kernels(source)
    lowered = tuple(f"expression{i}_{sha256(text.encode()).hexdigest()[:8]}" for i, text in enumerate(expressions))
    synchronizes = bool(_SYNCHRONIZES.search(source))
    text = re.sub(r"(?:\bstatic\s+)?\b__shared__\b", "static", _with_dynamic_shared(source))
    text = re.sub(r"\b__global__\b", "", text)
    entries = [(name, name) for name in kernels] + list(zip(expressions, lowered, strict=True))
    flags = {"synchronizes": synchronizes, "strict": strict, "checked": checked}
    return Expanded("\n".join([text, '# 1 "entry points"', *map(_entry, entries), *map(_flag, flags.items())]), lowered)


def _plain_kernels(source: str) -> list[str]:
    """Names of the kernels that are no templates."""
    names: list[str] = []
    for match in _KERNEL.finditer(source):
        before = re.sub(r"^#.*$", "", source[max(0, match.start() - 400) : match.start()], flags=re.MULTILINE)
        before = re.sub(r'(?:\s|extern\s*"C"|static|inline)*$', "", before)
        if not before.endswith(">") and match[2] not in names:
            names.append(match[2])
    return names


def _with_dynamic_shared(source: str) -> str:
    at_namespace_scope: list[tuple[str, str]] = []

    def declaration(match: re.Match[str]) -> str:
        kind = _ATTRIBUTES.sub("", match[1]).strip()
        depth = source.count("{", 0, match.start()) - source.count("}", 0, match.start())
        if depth <= 0:
            at_namespace_scope.append((kind, match[2]))
            return ""
        return f"{kind}* const {match[2]} = reinterpret_cast<{kind}*>(emulated_dynamic_shared);"

    text = _DYNAMIC.sub(declaration, source)
    for kind, name in at_namespace_scope:
        text = re.sub(rf"\b{name}\b", f"(reinterpret_cast<{kind}*>(emulated_dynamic_shared))", text)
    return text


def _entry(entry: tuple[str, str]) -> str:
    kernel, name = entry
    signature = f"decltype(emulated_signature(&{kernel}))"
    return (
        f'extern "C" EMULATED_NOT_CHECKED void emulated_entry_{name}(void** parameters) {{ emulated_call(&{kernel}, parameters); }}\n'
        f'extern "C" {{ extern const {signature} emulated_signature_{name}; '
        f"const {signature} emulated_signature_{name} = emulated_signature(&{kernel}); }}"
    )


def _flag(flag: tuple[str, bool]) -> str:
    name, value = flag
    return f'extern "C" {{ int emulated_{name} = {int(value)}; }}'
