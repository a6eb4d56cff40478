"""Reads what PyCUDA's modules have from its sources, and writes it as `api.json`: `python read_api.py PYCUDA COMPYTE`.

PYCUDA and COMPYTE are checkouts of inducer/pycuda and inducer/compyte. The driver is C++ behind Boost.Python: names come from what
`wrap_cudadrv.cpp` and `mempool.cpp` register, and parameters from there where they are named, otherwise from the C++ function. An
argument that Boost.Python was given no name for is by position only. A signature is kept as text; None where neither source tells.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

Members = dict[str, "str | None"]

_REGISTERED = re.compile(
    r"py::(?P<kind>class_|enum_)<(?P<of>[^;]*?)>(?:\s*\w+)?\s*\(\s*\"(?P<name>\w+)\"(?P<more>[^;]*)"
    r"|py::def\(\s*\"(?P<function>\w+)\"(?P<rest>[^;]*)"
    r"|DEF_SIMPLE_FUNCTION\((?P<simple>\w+)\)"
    r"|DECLARE_EXC\((?P<error>\w+), (?P<base>[^)]*)\)"
    r"|\b(?P<wrapper>wrapper|wrp)\s*\.(?P<late>[^;]*)",
    re.DOTALL,
)
_MEMBER = re.compile(
    r"\.def\(\s*\"(?P<name>\w+)\"(?P<rest>.*?)(?=\n\s*\.|\Z)|\.DEF_SIMPLE_METHOD\((?P<simple>\w+)\)|\.staticmethod\(\"(?P<static>\w+)\"\)"
    r"|add_property\(\"(?P<property>\w+)\"|\.value\(\"(?P<value>\w+)\"",
    re.DOTALL,
)
_NAMED = re.compile(r"py::args?\((?P<names>\"[^)]*?\")\)(?:=(?P<default>py::object\(\)|py::list\(\)|\"?\w+\"?))?")


def named(text: str) -> str | None:
    """The signature that Boost.Python was told."""
    parameters = []
    for found in _NAMED.finditer(text):
        names = [name.strip().strip('"') for name in found["names"].split(",")]
        default = {None: "", "py::object()": "=None", "py::list()": "=[]"}.get(found["default"], f"={found['default']}")
        parameters += [*names[:-1], names[-1] + default]
    return f"({', '.join(parameters)})" if parameters else None


def of_function(name: str, sources: str, inside: str = "") -> str | None:
    """By position, as many as the C++ function takes; those with a default may be left out."""
    text = sources
    if inside:
        start = re.search(rf"class {inside}\b[^;{{]*\{{", sources)
        if start is None:
            return None
        text = sources[start.end() : sources.find("\n  };", start.end())]
    found = re.search(rf"[\w>*&]\s+\**{name}\(([^()]*)\)\s*(?:const\s*)?[{{;\n]", text)
    if found is None:
        return None
    given = [part for part in found[1].split(",") if part.strip()]
    shown = [f"_{i}=None" if "=" in part else f"_{i}" for i, part in enumerate(given)]
    return f"({', '.join([*shown, '/'])})" if shown else "()"


def registered(text: str, sources: str) -> tuple[Members, dict[str, Members]]:
    """Functions and classes of the driver."""
    text = re.sub(r"^\s*#.*$|//.*$", "", text, flags=re.MULTILINE)
    functions: Members = {}
    classes: dict[str, Members] = {}
    latest = ""
    for found in _REGISTERED.finditer(text):
        if found["function"]:
            functions[found["function"]] = named(found["rest"]) or of_wrapped(found["rest"], sources)
        elif found["simple"]:
            functions[found["simple"]] = of_function(found["simple"], sources)
        elif found["error"]:
            classes[found["error"]] = {}
        elif found["wrapper"]:
            classes[latest] |= members("." + found["late"], sources, "")
        else:
            latest = found["name"]
            cpp = re.findall(r"typedef (?:pycuda::)?(\w+) cl;", text[: found.start()])
            made = members(found["more"], sources, cpp[-1] if cpp else "")
            made.update(initial(found["kind"], found["more"]))
            classes[latest] = made
    pool = text[text.find("void expose_memory_pool") :]
    for name in ("DeviceMemoryPool", "PageLockedMemoryPool"):
        if name in classes:
            classes[name] |= members(pool[: pool.find("\n  }")], sources, "memory_pool")
    return functions, classes


def initial(kind: str, text: str) -> Members:
    """How an object is made, if a program can make one."""
    if kind == "enum_" or "py::no_init" in text:
        return {}
    made = re.search(r"py::init<(.*?)>\s*\((.*?)\)\s*\)", text, re.DOTALL)
    if made is None:
        return {"__init__": None if "make_constructor" in text or "py::init" in text else "()"}
    if "optional" in made[1]:
        return {"__init__": "(_0=None, /)" if not _NAMED.search(made[0]) else named(re.sub(r"\)\)$", ")=None)", made[0]))}
    return {"__init__": named(made[0])}


def members(text: str, sources: str, inside: str) -> Members:
    """Methods with their signatures; `property` and `value` for what is called by no parentheses."""
    found: Members = {}
    for match in _MEMBER.finditer(text):
        if match["name"]:
            told = named(match["rest"]) or of_function(match["name"], sources, inside)
            found[match["name"]] = told or of_wrapped(match["rest"], sources, bound=True)
        elif match["simple"]:
            found[match["simple"]] = of_function(match["simple"], sources, inside)
        elif match["property"] or match["value"]:
            found[match["property"] or match["value"]] = "property" if match["property"] else "value"
    return {name: signature.replace("(self, ", "(").replace("(self)", "()") if signature else None for name, signature in found.items()}


def of_wrapped(rest: str, sources: str, *, bound: bool = False) -> str | None:
    """The signature of the C++ function that was registered; `bound`: its first parameter is the object."""
    wrapped = re.match(r"\s*,\s*(?:&cl::)?(\w+)", rest)
    signature = of_function(wrapped[1], sources) if wrapped else None
    if signature and bound:
        return re.sub(r"^\(_0(?:, )?/?", "(", signature).replace("(, /", "(")
    return signature


def in_python(path: Path) -> tuple[Members, dict[str, Members]]:
    """Functions and classes of a Python module, at its top level."""
    functions: Members = {}
    classes: dict[str, Members] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = f"({ast.unparse(node.args)})"
        elif isinstance(node, ast.ClassDef):
            classes[node.name] = {}
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    is_property = any("property" in ast.unparse(decorator) for decorator in inner.decorator_list)
                    text = ast.unparse(inner.args).removeprefix("self").removeprefix(", ")
                    classes[node.name][inner.name] = "property" if is_property else f"({text})"
    return functions, classes


def main(pycuda: Path, compyte: Path) -> None:
    wrappers = "\n".join((pycuda / "src" / "wrapper" / name).read_text() for name in ("wrap_cudadrv.cpp", "mempool.cpp"))
    headers = "\n".join((pycuda / "src" / "cpp" / name).read_text() for name in ("cuda.hpp", "mempool.hpp"))
    functions, classes = registered(wrappers, f"{wrappers}\n{headers}")
    api: dict[str, dict[str, dict[str, Any]]] = {}
    for module in ("driver", "gpuarray", "tools", "autoprimaryctx"):
        more, others = in_python(pycuda / "pycuda" / f"{module}.py")
        own = (functions | more, classes | others) if module == "driver" else (more, others)
        api[f"pycuda.{module}"] = {"functions": own[0], "classes": own[1]}
    pools = {name: classes[name] for name in ("DeviceMemoryPool", "PageLockedMemoryPool")}
    api["pycuda.tools"]["classes"] = pools | api["pycuda.tools"]["classes"]
    flags = in_python(compyte / "array.py")[1]["ArrayFlags"]
    api["pycuda.gpuarray"]["classes"]["_ArrayFlags"] = flags | dict.fromkeys(("f_contiguous", "c_contiguous", "forc"), "property")
    lines = [f'"{module}": {json.dumps(members, sort_keys=True)}' for module, members in api.items()]
    Path(__file__).with_name("api.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
