"""Type stubs of the module `tensorrt`, from the API that the stand-in keeps, and pyright on the provider against them.

    pip install basedpyright
    python packaging/tensorrt_stubs.py

The provider asks `library.tensorrt()` for the module and does not import it. For the check that function returns a class with the
module's contents, so that a name, an argument or a type that one of the versions lacks is an error.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from keyword import iskeyword
from pathlib import Path

from onnxgpu.providers.tensorrt.stand_in.surface.api import VERSIONS, Api, ClassApi, Parameter, Property, Signature, load
from onnxgpu.providers.tensorrt.stand_in.surface.classes import UNSET_BY_NONE

ROOT = Path(__file__).resolve().parents[1]
CHECKED = "onnxgpu/providers/tensorrt"
LEFT_OUT = ("stand_in",)  # it is what the stubs are made from

HEADER = """import builtins
from collections.abc import Buffer, Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Never, Self, SupportsFloat, SupportsIndex, overload

import numpy

__version__: str
"""
GIVEN = {
    "Buffer": "Buffer",
    "Callable": "Callable[..., Any]",
    "CapsuleType": "Any",
    "Dims": "Dims | Sequence[SupportsIndex]",
    "Iterable": "Iterable[Any]",
    "SupportsFloat": "SupportsFloat | SupportsIndex",
    "SupportsInt": "SupportsIndex",
    "Weights": "Weights | numpy.ndarray[Any, Any]",
    "bool": "builtins.bool",
    "ndarray": "numpy.ndarray[Any, Any]",
    "object": "object",
}
RETURNED = GIVEN | {"Dims": "Dims", "Weights": "Weights", "object": "Any"}
INTEGER = re.compile(r"u?int\d+")


def typed(text: str, names: dict[str, str]) -> str:
    """A type of the API as a type of a stub."""
    bare = text if text in UNSET_BY_NONE else text.removesuffix(" | None")
    return re.sub(r"[\w.]+", lambda word: "SupportsIndex" if INTEGER.fullmatch(word[0]) else names.get(word[0], word[0]), bare)


def parameters(found: Iterable[Parameter], first: str) -> str:
    """What stands between the brackets of a definition."""
    parts = [first] if first else []
    needs_default = False
    for each in found:
        needs_default |= each.default is not None
        kind = typed(each.type, GIVEN) + (" | None" if each.default == "None" else "")
        name = f"__{each.name}" if each.by_position_only or iskeyword(each.name) else each.name
        parts.append(f"{name}: {kind}" + " = ..." * needs_default)
    return ", ".join(parts)


def definitions(
    name: str, overloads: tuple[Signature, ...], *, first: str = "self", indent: str = "    ", static: bool = False
) -> Iterator[str]:
    """A function with its overloads."""
    for each in overloads:
        if len(overloads) > 1:
            yield f"{indent}@overload\n"
        if static:
            yield f"{indent}@staticmethod\n"
        yield f"{indent}def {name}({parameters(each.parameters, first)}) -> {typed(each.returns, RETURNED)}: ...\n"


def accessors(name: str, declared: Property) -> Iterator[str]:
    """A property; of one that can only be written, nothing can be done with the value."""
    yield f"    @property\n    def {name}(self) -> {typed(declared.get, RETURNED) if declared.get else 'Never'}: ...\n"
    if declared.set:
        yield f"    @{name}.setter\n    def {name}(self, value: {typed(declared.set, GIVEN)}) -> None: ...\n"


def enum(name: str, api: ClassApi) -> Iterator[str]:
    """An enum as pybind11 makes it, which is none of Python's. It is no index here, because flags are `1 << int(flag)`."""
    yield f"class {name}:\n    __members__: ClassVar[dict[str, {api.name}]]\n    name: str\n    value: int\n"
    yield "    def __init__(self, value: SupportsIndex) -> None: ...\n    def __int__(self) -> int: ...\n"
    if api.ordered:
        yield from (f"    def __{each}__(self, other: Self) -> builtins.bool: ...\n" for each in ("lt", "le", "gt", "ge"))
    yield from (f"    {member}: ClassVar[{api.name}]\n" for member in api.members)
    yield from (line for member, declared in api.properties.items() for line in accessors(member, declared))


def class_stub(api: ClassApi, classes: dict[str, ClassApi]) -> Iterator[str]:
    """One class."""
    if api.members:
        yield from enum(api.name, api)
        return
    yield f"class {api.name}({', '.join(api.bases)}):\n"
    for nested in api.classes:
        short = nested.rpartition(".")[2]
        if nested.startswith(f"{api.name}."):
            yield from (f"    {line}" for line in "".join(enum(short, classes[nested])).splitlines(keepends=True))
        elif not api.bases:
            yield f"    {short} = {nested}\n"
    if api.constructors:
        yield from definitions("__init__", api.constructors)
    else:
        yield "    def __init__(self, _: Never) -> None: ...\n"
    for name, overloads in api.methods.items():
        if name not in ("__del__", "__enter__", "__exit__", "__repr__", "__str__", "__eq__", "__ne__"):
            yield from definitions(name, overloads)
    for name, overloads in api.static_methods.items():
        yield from definitions(name, overloads, first="", static=True)
    for name, declared in api.properties.items():
        yield from accessors(name, declared)
    yield from (f"    {name}: ClassVar[{constant(value)}]\n" for name, value in api.constants.items())
    if api.buffer:
        yield "    def __buffer__(self, flags: int, /) -> memoryview: ...\n"


def constant(value: int | str) -> str:
    """The type of a constant."""
    return "int" if isinstance(value, int) else value.rpartition(".")[0]


def stub(api: Api) -> str:
    """The text of `tensorrt/__init__.pyi`."""
    lines = [HEADER]
    for name, each in api.classes.items():
        lines += class_stub(each, dict(api.classes)) if "." not in name else []
    for name, overloads in api.functions.items():
        lines += definitions(name, overloads, first="", indent="")
    lines += [f"{name}: {constant(value)}\n" for name, value in api.constants.items()]
    return "".join(lines)


def module_stub(api: Api) -> str:
    """The text of `tensorrt_module.pyi`: a class `Module` that has the contents of the module `tensorrt`."""
    lines = ["import tensorrt\nclass Module:\n    __version__: str\n    __file__: str\n"]
    lines += [f"    {name} = tensorrt.{name}\n" for name in (*api.classes, *api.constants) if "." not in name]
    lines += [f"    {name} = staticmethod(tensorrt.{name})\n" for name in api.functions]
    return "".join(lines)


def check(version: str) -> str:
    """What pyright has against the provider with one version; empty if nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "onnxgpu", folder / "onnxgpu", ignore=lambda _, names: [each for each in names if each == "__pycache__"])
        stubs = folder / "typings" / "tensorrt"
        stubs.mkdir(parents=True)
        (stubs / "__init__.pyi").write_text(stub(load(version)), "utf-8")
        (folder / "typings" / "tensorrt_module.pyi").write_text(module_stub(load(version)), "utf-8")
        library = folder / CHECKED / "library.py"
        if library.exists():
            library.write_text(returning_the_module(library.read_text("utf-8")), "utf-8")
        settings = {"include": [CHECKED, "typings"], "exclude": [f"{CHECKED}/{each}" for each in LEFT_OUT], "stubPath": "typings"}
        settings |= {
            "typeCheckingMode": "basic",
            "reportMissingImports": False,
            "reportMissingModuleSource": False,
            "pythonVersion": "3.12",
        }
        (folder / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
        command = ["basedpyright", "--pythonpath", sys.executable, "--outputjson", "--project", name]
        found = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
        errors = [each for each in found["generalDiagnostics"] if each["severity"] == "error"]
        assert found["summary"]["filesAnalyzed"] > 1, "pyright saw nothing of the provider"
        return "".join(
            f"{Path(each['file']).relative_to(folder)}:{each['range']['start']['line'] + 1}: {each['message']}\n" for each in errors
        )


def returning_the_module(text: str) -> str:
    """`library.py`, with a type for what `tensorrt()` returns."""
    found, count = re.subn(r"^def tensorrt\(\) -> Any:", "def tensorrt() -> Module:", text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError("library.py has no `def tensorrt() -> Any:`")
    return found.replace("from typing import Any\n", "from typing import Any\nfrom tensorrt_module import Module\n", 1)


def main() -> int:
    """Check with every version."""
    found = {version: check(version) for version in VERSIONS}
    for version, errors in found.items():
        print(f"TensorRT {version}: " + (f"\n{errors}" if errors else "the provider uses nothing that its API lacks"))
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
