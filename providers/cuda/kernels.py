"""Our own CUDA C++: templates declared beside the operators that launch them, compiled when they are first needed.

    COLUMNS = Template("softmax.cu", "softmax_columns<{T}, {log}>", "pplil", T=FLOATS, log=("false", "true"))
    COLUMNS.instance(T=x.dtype, log="true").launch(blocks, threads, x, y, columns, count, inner)

The choices say which instances there are, for tests and for the table of all kernels on all architectures. An element type is
written as CUDA C++ has it (`__half`) and may be given as a dtype.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from itertools import accumulate, product
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array
from onnxgpu.providers.cuda import narrow
from onnxgpu.providers.cuda.device import compiles_checked, cupy, is_emulated
from onnxgpu.providers.cuda.launches import make

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

_FORMS = {"p": "Q", "i": "i4x", "l": "q", "f": "f4x", "d": "d", "b": "?7x", "s": ""}
"""Letter → how `struct` writes the argument, at an address that is a multiple of 8."""

_SLOT = 8
_LARGEST_SINGLE = float(np.finfo(np.float32).max)

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
        return _function(self, tuple(chosen.items()), cupy().cuda.runtime.getDevice(), compiles_checked())

    def names(self) -> Iterator[str]:
        """The C++ name of every instance."""
        for values in product(*self.choices.values()):
            yield self.expression.format(**dict(zip(self.choices, values, strict=True)))


class Function:
    """A compiled kernel on one device, which takes arguments of exactly the types it declares.

    Args:
        kernel: `cupy.RawKernel`.
        name: for messages.
        signature: see `Template`.
    """

    def __init__(self, kernel: Any, name: str, signature: str) -> None:
        self._kernel, self._name, self._signature = kernel, name, signature
        self._address = kernel.kernel.ptr
        driver = cupy().cuda.driver
        self._launch, self._launch_at_once, self._stream = (
            driver.launchKernel,
            driver.launchCooperativeKernel,
            cupy().cuda.get_current_stream,
        )
        self._convert = tuple(_CONVERSIONS[letter] for letter in signature)
        self._at_once: dict[int, int] = {}
        self._idle: list[_Arguments] = []

    def launch(
        self, blocks: int | tuple[int, ...], threads: int | tuple[int, ...], *arguments: Any, shared: int = 0, is_cooperative: bool = False
    ) -> None:
        """Launch; arrays and None go to pointers, NumPy's arrays to structures, numbers to the declared type.

        Nothing is launched for no blocks. The blocks of a cooperative launch all run at once: see `blocks_at_once`.

        Raises:
            TypeError: the number of arguments is not the kernel's.
        """
        if len(arguments) != len(self._signature):
            raise TypeError(f"kernel {self._name} takes {len(self._signature)} arguments, got {len(arguments)}")
        grid = (*blocks, 1, 1)[:3] if isinstance(blocks, tuple) else (blocks, 1, 1)
        if 0 in grid:
            return
        size = (*threads, 1, 1)[:3] if isinstance(threads, tuple) else (threads, 1, 1)
        values = [convert(value) for convert, value in zip(self._convert, arguments, strict=True)]
        try:
            held = self._idle.pop()
        except IndexError:
            held = _Arguments(self._signature, values)
        held.write(values)
        launch, more = (self._launch_at_once, ()) if is_cooperative else (self._launch, (0,))
        if make(launch, self._address, *grid, *size, shared, self._stream().ptr, held.pointers, *more, held=held):
            self._idle.append(held)

    def blocks_at_once(self, threads: int) -> int:
        """How many blocks of so many threads, without dynamic shared memory, run at once; 0: the device has no cooperative launches."""
        if threads not in self._at_once:
            runtime = cupy().cuda.runtime
            attributes = runtime.cudaDevAttrCooperativeLaunch, runtime.cudaDevAttrMultiProcessorCount
            has_cooperative, multiprocessors = (int(runtime.deviceGetAttribute(each, runtime.getDevice())) for each in attributes)
            each = int(cupy().cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(self._address, threads, 0))
            self._at_once[threads] = multiprocessors * each if has_cooperative else 0
        return self._at_once[threads]


class _Arguments:
    """Memory for the arguments of one launch, and for their addresses, which the driver is given.

    Args:
        signature: see `Template`.
        values: of a launch, structures as bytes: their lengths are those of all launches.

    Attributes:
        pointers: where the addresses lie.
    """

    def __init__(self, signature: str, values: Sequence[Any]) -> None:
        sizes = [len(value) if letter == "s" else _SLOT for letter, value in zip(signature, values, strict=True)]
        starts = [0, *accumulate(-(-size // _SLOT) * _SLOT for size in sizes)]
        forms = (_FORMS[letter] or f"{size}s{-size % _SLOT}x" for letter, size in zip(signature, sizes, strict=True))
        self._pack_into = Struct("=" + "".join(forms)).pack_into
        self._memory = (ctypes.c_uint64 * (starts[-1] // 8 + len(values)))()
        here = ctypes.addressof(self._memory)
        self.pointers = here + starts[-1]
        self._memory[starts[-1] // 8 :] = [here + start for start in starts[:-1]]

    def write(self, values: Sequence[Any]) -> None:
        """Put the arguments in their places."""
        self._pack_into(self._memory, 0, *values)


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
def _function(template: Template, chosen: tuple[tuple[str, Any], ...], device: int, checked: bool) -> Function:
    """Compiled once for each device."""
    name = template.expression.format(**{key: _written(value) for key, value in chosen})
    module = compiled(f'#include "{template.file}"\n', name)
    return Function(module.get_function(name), name, template.signature)


def compiled(source: str, *instances: str) -> Any:
    """A module of this CUDA C++, with these instances of its templates.

    CuPy keeps what it compiled under the source's text alone, which therefore names the state of the files that it may include.
    """
    text = source if is_emulated() else f"// {_state_of_sources()}\n{source}"
    return cupy().RawModule(code=text, options=(*OPTIONS, f"-I{FOLDER}"), name_expressions=instances or None)


@cache
def _state_of_sources() -> str:
    digest = sha256()
    for path in sorted(FOLDER.glob("*.cu*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _written(choice: Any) -> str:
    return C_TYPES[name_of(choice)] if isinstance(choice, np.dtype) else str(choice)


def _address(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, (int, np.integer)):
        return int(value)
    return int(narrow.bits_of(value).data.ptr)


def _structure(value: Any) -> bytes:
    return value if isinstance(value, bytes) else value.tobytes()


def _single(value: Any) -> float:
    """Rounded here: `struct` refuses what is too large for a float, which is infinite."""
    return float(np.float32(value)) if abs(value) > _LARGEST_SINGLE else value


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "p": _address, "s": _structure, "i": int, "l": int, "f": _single, "d": float, "b": bool,
}  # fmt: skip


def by_value(array: np.ndarray) -> np.void:
    """An array's bytes as a structure that is passed by value."""
    return np.frombuffer(array.tobytes(), np.dtype((np.void, array.nbytes)))[0]  # type: ignore[no-any-return]


def dense(xp: Any, array: Array) -> Array:
    """The array, or a copy of it, with its elements in C order, as the kernels want them."""
    if array.flags.c_contiguous:
        return array
    from onnxgpu.providers.cuda.strided import copied  # which launches kernels

    return copied(xp, array)
