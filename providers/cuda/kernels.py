"""Our own CUDA C++: templates declared beside the operators that launch them, compiled when they are first needed.

    COLUMNS = Template("softmax.cu", "softmax_columns<{T}, {log}>", "pplil", T=FLOATS, log=("false", "true"))
    COLUMNS.instance(T=x.dtype, log="true").launch(blocks, threads, x, y, columns, count, inner)

The choices say which instances there are, for tests and for the table of all kernels on all architectures. An element type is
written as CUDA C++ has it (`__half`) and may be given as a dtype.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array
from onnxgpu.providers.cuda import narrow
from onnxgpu.providers.cuda.device import compiles_checked, cupy

FOLDER = Path(__file__).resolve().parents[2] / "kernels"
OPTIONS = ("-std=c++17",)

C_TYPES = {
    "float": "float",
    "double": "double",
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
    **narrow.C_TYPES,
}
"""ONNX's names of element types → CUDA C++'s."""

FLOATS = tuple(C_TYPES[name] for name in ("float", "double", "float16", "bfloat16"))
FLOAT_NAMES = frozenset({"float", "double", "float16", "bfloat16"})
INTEGER_NAMES = frozenset(C_TYPES) - FLOAT_NAMES - narrow.C_TYPES.keys() - {"bool"}

THREADS = 256
MOST_BLOCKS = 1 << 16

_SCALARS = {"i": np.int32, "l": np.int64, "f": np.float32, "d": np.float64, "b": np.bool_}

_templates: list[Template] = []


@dataclass(frozen=True, eq=False)
class Template:
    """A kernel template in a file of `kernels/`.

    Args:
        file: the file's name.
        expression: the instance's C++ name, with the choices' names in braces.
        signature: a letter a parameter: `p` pointer, `i` int, `l` long long, `f` float, `d` double, `b` bool, `s` a
            structure.
        choices: for each name in the expression, what it may be.
    """

    file: str
    expression: str
    signature: str
    choices: dict[str, Sequence[str]] = field(default_factory=dict)

    def __init__(self, file: str, expression: str, signature: str, **choices: Sequence[str]) -> None:
        object.__setattr__(self, "file", file)
        object.__setattr__(self, "expression", expression)
        object.__setattr__(self, "signature", signature)
        object.__setattr__(self, "choices", choices)
        _templates.append(self)

    def instance(self, **chosen: Any) -> Function:
        """The instance for these choices, on the current device."""
        names = {name: C_TYPES[name_of(value)] if isinstance(value, np.dtype) else str(value) for name, value in chosen.items()}
        return _function(self, self.expression.format(**names), cupy().cuda.Device().id, compiles_checked())

    def names(self) -> Iterator[str]:
        """The C++ name of every instance."""
        for values in product(*self.choices.values()):
            yield self.expression.format(**dict(zip(self.choices, values, strict=True)))


class Function:
    """A compiled kernel, which takes arguments of exactly the types it declares."""

    def __init__(self, function: Any, name: str, signature: str) -> None:
        self._function, self._name, self._signature = function, name, signature

    def launch(self, blocks: int | tuple[int, ...], threads: int | tuple[int, ...], *arguments: Any, shared: int = 0) -> None:
        """Launch; arrays and None go to pointers, NumPy's arrays to structures, numbers to the declared type.

        Nothing is launched for no blocks.

        Raises:
            TypeError: the number of arguments is not the kernel's.
        """
        if len(arguments) != len(self._signature):
            raise TypeError(f"kernel {self._name} takes {len(self._signature)} arguments, got {len(arguments)}")
        grid = blocks if isinstance(blocks, tuple) else (blocks,)
        if 0 in grid:
            return
        size = threads if isinstance(threads, tuple) else (threads,)
        self._function(grid, size, tuple(map(_argument, self._signature, arguments)), shared_mem=shared)


def templates() -> tuple[Template, ...]:
    """Every template that an operator of this provider declares."""
    return tuple(_templates)


def blocks_for(count: int, threads: int = THREADS, most: int = MOST_BLOCKS) -> int:
    """Blocks for so many independent threads; kernels go on in strides where these are not enough."""
    return min(most, -(-count // threads))


def whole_warps(count: int, most: int = 1024) -> int:
    """Threads of a block for `count` elements: whole warps, at most `most`."""
    return min(most, max(32, (count + 31) // 32 * 32))


@cache
def _function(template: Template, name: str, device: int, checked: bool) -> Function:
    """Compiled once for each device."""
    source = f'#include "{template.file}"\n'
    module = cupy().RawModule(code=source, options=(*OPTIONS, f"-I{FOLDER}"), name_expressions=(name,))
    return Function(module.get_function(name), name, template.signature)


def _argument(letter: str, value: Any) -> Any:
    if letter == "p":
        return np.uint64(0) if value is None else narrow.bits_of(value)
    if letter == "s":
        return value if isinstance(value, np.void) else by_value(value)
    return _SCALARS[letter](value)


def by_value(array: np.ndarray) -> np.void:
    """An array's bytes as a structure that is passed by value."""
    return np.frombuffer(array.tobytes(), np.dtype((np.void, array.nbytes)))[0]  # type: ignore[no-any-return]


def dense(xp: Any, array: Array) -> Array:
    """The array, or a copy of it, with its elements in C order, as the kernels want them."""
    if array.flags.c_contiguous:
        return array
    from onnxgpu.providers.cuda.strided import copied  # which launches kernels

    return copied(xp, array)
