"""Inputs for a model run from the command line: files the user names, seeded random values for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from onnxgpu.dtypes import dtype_named, is_extended, is_integer
from onnxgpu.errors import InvalidArgument, NoSuchFile
from onnxgpu.metadata import NodeArg

SEED = 0


def feeds_from(inputs: Sequence[NodeArg], named: Sequence[str], overridable: Sequence[NodeArg] = ()) -> tuple[dict[str, Any], list[str]]:
    """The feeds, and the names of the inputs that were made up.

    Args:
        inputs: the model's.
        named: `name=file.npy` for each input the user gives.
        overridable: inputs that may be given, and are not made up.

    Raises:
        InvalidArgument: a part is not of that form, names no input, or one that was named before.
        NoSuchFile: a file is not there.
    """
    feeds: dict[str, Any] = {}
    for name, path in map(_split, named):
        if name in feeds:
            raise InvalidArgument(f"--input {name}={path}: {name} is given twice")
        feeds[name] = _load(name, path, (*inputs, *overridable))
    made_up = [argument for argument in inputs if argument.name not in feeds]
    generator = np.random.default_rng(SEED)
    for argument in made_up:
        feeds[argument.name] = random_value(argument, generator)
    return feeds, [argument.name for argument in made_up]


def random_value(argument: NodeArg, generator: np.random.Generator) -> Any:
    """A value of the input's type; unknown dimensions are 1.

    Raises:
        InvalidArgument: the input is no tensor of numbers.
    """
    if not argument.type.startswith("tensor(") or argument.shape is None:
        raise InvalidArgument(f"input {argument.name} is a {argument.type}: give it with --input {argument.name}=FILE.npy")
    dtype = dtype_named(argument.type[7:-1])
    shape = [size if isinstance(size, int) else 1 for size in argument.shape]
    if dtype == np.dtype(object):
        return np.full(shape, "text", dtype=object)
    if dtype == np.dtype(bool):
        return generator.integers(0, 2, shape).astype(bool)
    if is_integer(dtype):
        return generator.integers(0, 2, shape).astype(dtype)
    values = generator.standard_normal(shape)
    return values.astype(np.float32).astype(dtype) if is_extended(dtype) else values.astype(dtype)


def _split(part: str) -> tuple[str, str]:
    name, equals, path = part.rpartition("=")
    if not equals or not name or not path:
        raise InvalidArgument(f"--input {part!r}: expected name=file.npy")
    return name, path


def _load(name: str, path: str, inputs: Sequence[NodeArg]) -> np.ndarray:
    known = {argument.name: argument for argument in inputs}
    if name not in known:
        raise InvalidArgument(f"--input {name}={path}: the model has no input {name!r}; its inputs are {list(known)}")
    if not Path(path).is_file():
        raise NoSuchFile(f"--input {name}={path}: there is no such file")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise InvalidArgument(f"--input {name}={path}: not a .npy file ({error})") from None
    if not isinstance(array, np.ndarray):
        raise InvalidArgument(f"--input {name}={path}: an archive of arrays, expected a .npy file with one")
    return _with_own_type(array, known[name])


def _with_own_type(array: np.ndarray, argument: NodeArg) -> np.ndarray:
    """NumPy saves the types that it does not have itself, like bfloat16, as plain bytes of their width."""
    if array.dtype.kind != "V" or not argument.type.startswith("tensor("):
        return array
    dtype = dtype_named(argument.type[7:-1])
    return array.view(dtype) if dtype.itemsize == array.dtype.itemsize else array
