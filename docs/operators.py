"""Writes docs/operators.md, the table of operators, from the registries and ONNX's schemas.

python docs/operators.py            write it
python docs/operators.py --check    fail if it is not what would be written
python docs/operators.py --names    write docs/com_microsoft.txt anew from the onnxruntime that is installed
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import onnx
from onnx.defs import OpSchema

from onnxgpu import providers
from onnxgpu.model_file import gradients
from onnxgpu.model_file.gradient_layers import RULES
from onnxgpu.operators import Entry, Registry

DOCUMENT = Path(__file__).with_name("operators.md")
NAMES = Path(__file__).with_name("com_microsoft.txt")
DOMAINS = ("", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft")

KINDS = {
    "floats": ("float16", "bfloat16", "float", "double"),
    "integers": ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "float8": ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0"),
    "4 bits": ("int4", "uint4", "float4e2m1"),
    "2 bits": ("int2", "uint2"),
    "complex": ("complex64", "complex128"),
}
"""Element types that a cell gives one name where all of them are there."""

INTRODUCTION = """\
# Operators

Which operators run where. This page is written by `docs/operators.py` from the registries of the providers and ONNX's schemas
(`python docs/operators.py`); a test fails when it is not what the script would write.

- **Versions** are those of the operator's schemas (ONNX's `since_version`). Versions between two `·` are served by one
  registration: nothing that it does differs between them.
- **Types** are the element types of the first input. *floats* are float16, bfloat16, float and double; *integers* are those of 8 to
  64 bits.
- **Runs on** names the providers. *fast* marks operators for which the CPU provider has kernels of its own besides the ones
  that are written for any array module; they take part of the nodes, and the others the rest.
- **Limits** are the reasons for which a node is not taken, as `session.placement` shows them. A name in the place of `…` is the node's.

A standard operator that no provider takes runs on `onnx.reference`, slowly, and the placement says so.

"""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    operator: str
    versions: str
    types: str
    providers: str
    limits: str

    def __str__(self) -> str:
        return f"| {' | '.join((self.operator, self.versions, self.types, self.providers, self.limits))} |"


@cache
def registries() -> Mapping[str, Registry]:
    """The registry of each provider that has one, by the provider's short name."""
    found = {}
    for folder in iter_modules(providers.__path__):
        name = f"{providers.__name__}.{folder.name}"
        if folder.name != "array_ops" and find_spec(f"{name}.registry"):
            provider = import_module(f"{name}.provider").PROVIDER
            if find_spec(f"{name}.operators"):
                import_module(f"{name}.operators")
            found[provider.name.removesuffix("ExecutionProvider")] = import_module(f"{name}.registry").REGISTRY
    return found


def serving(registry: Registry | None, domain: str, operator: str, version: int) -> Iterator[Entry]:
    """What serves an operator at a version: a provider's own entry, then that of its base."""
    while registry is not None:
        entry = registry.entry(operator, domain, version)
        if entry is not None:
            yield entry
        registry = registry.base


@cache
def schemas(domain: str) -> Mapping[str, Sequence[OpSchema]]:
    """Every version of each operator of a domain that is not deprecated, oldest first."""
    found: dict[str, list[OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == domain and not schema.deprecated:
            found.setdefault(schema.name, []).append(schema)
    return {name: sorted(found[name], key=lambda schema: schema.since_version) for name in sorted(found)}


def registered(domain: str) -> Mapping[str, Sequence[int]]:
    """Every registered operator of a domain, with the versions at which a meaning begins."""
    found: dict[str, set[int]] = {}
    for registry in registries().values():
        layer: Registry | None = registry
        while layer is not None:
            for entry in layer.entries():
                if entry.domain == domain:
                    found.setdefault(entry.operator, set()).add(entry.since)
            layer = layer.base
    return {name: sorted(found[name]) for name in sorted(found)}


def rows(domain: str) -> list[Row]:
    """The lines of a domain: what ONNX defines, what onnxruntime has, and what is registered besides."""
    history, ours = schemas(domain), registered(domain)
    names = {*history, *ours, *(onnxruntime_names() if domain == "com.microsoft" else ())}
    return [row(domain, name, history.get(name, ()), ours.get(name, (1,))) for name in sorted(names)]


def row(domain: str, operator: str, history: Sequence[OpSchema], registered_since: Sequence[int]) -> Row:
    """One operator."""
    label = f"[{operator}](https://onnx.ai/onnx/operators/{page(domain, operator)}.html)" if history else operator
    versions = [schema.since_version for schema in history] or list(registered_since)
    if (domain, operator) == (gradients.DOMAIN, "Gradient"):
        limits = f"in the main graph, from opset {gradients.OLDEST_OPSET} on, over {', '.join(sorted(RULES))}"
        return Row(label, "1", "floats", "any: ordinary nodes take its place", limits)
    newest = {name: list(serving(registry, domain, operator, versions[-1])) for name, registry in registries().items()}
    newest = {name: entries for name, entries in newest.items() if entries}
    if not newest:
        return Row(label, ", ".join(map(str, versions)) if history else "", "", "-", "")
    runs_on = ", ".join(f"{name}, fast" if len(entries) > 1 else name for name, entries in newest.items())
    last = next(iter(newest.values()))[-1]
    return Row(label, served(domain, operator, versions), types(history, last), runs_on, limits_of(last))


def page(domain: str, operator: str) -> str:
    """ONNX's page on an operator."""
    return f"onnx_{domain.replace('.', '')}_{'_' if not domain else ''}{operator}" if domain else f"onnx__{operator}"


def served(domain: str, operator: str, versions: Sequence[int]) -> str:
    """The versions, those of one registration together."""

    def since(version: int) -> int:
        found = (entry for registry in registries().values() for entry in serving(registry, domain, operator, version))
        return max((entry.since for entry in found), default=0)

    groups = ((first, list(group)) for first, group in groupby(versions, since))
    return " · ".join(", ".join(map(str, group)) if first else f"not {', '.join(map(str, group))}" for first, group in groups)


def types(history: Sequence[OpSchema], entry: Entry) -> str:
    """The element types of the first input, by the newest schema and the registration."""
    allowed = set(entry.types) if entry.types is not None else None
    if history and history[-1].inputs:
        declared = {name.split("(")[-1].rstrip(")") for name in history[-1].inputs[0].types if "tensor(" in name}
        allowed = declared if allowed is None else declared & allowed
    elif history:
        return "no input"
    return "any" if allowed is None else ", ".join(kinds(allowed)) or "no tensor"


def kinds(names: set[str]) -> Iterator[str]:
    """Element types in few words."""
    rest = set(names)
    for kind, members in KINDS.items():
        if rest.issuperset(members):
            yield kind
            rest -= set(members)
    order = [name for members in KINDS.values() for name in members]
    yield from sorted(rest, key=lambda name: (order.index(name) if name in order else len(order), name))


def limits_of(entry: Entry) -> str:
    """Why an entry does not take a node."""
    return "; ".join(dict.fromkeys(reasons(entry.when))) if entry.when else ""


def reasons(when: Callable[..., Any]) -> Iterator[str]:
    """The sentences that a condition may give, read off its source; `…` stands for what only the node tells."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(when))).body
    scope = dict(inspect.unwrap(when).__globals__)
    nodes = list(ast.walk(function))
    loops = {
        node.target.id: node.iter for node in nodes if isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Name)
    }
    for node in nodes:
        if isinstance(node, ast.Return) and node.value is not None:
            yield from answers(node.value, scope, loops)


def answers(node: ast.expr, scope: Mapping[str, Any], loops: Mapping[str, ast.expr]) -> Iterator[str]:
    """The sentences that one returned expression may be."""
    if isinstance(node, ast.IfExp):
        yield from answers(node.body, scope, loops)
        yield from answers(node.orelse, scope, loops)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and inspect.isfunction(scope.get(node.func.id)):
        yield from reasons(scope[node.func.id])
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else value_of(part, scope, loops) for part in node.values)


def value_of(part: ast.expr, scope: Mapping[str, Any], loops: Mapping[str, ast.expr]) -> str:
    """What a place in a sentence holds: a value of the module, each value of a loop over constants, or `…`."""
    expression = part.value if isinstance(part, ast.FormattedValue) else part
    choices = loops.get(expression.id) if isinstance(expression, ast.Name) else None
    try:
        if choices is not None:
            return " or ".join(map(str, ast.literal_eval(choices)))
        return str(eval(compile(ast.Expression(expression), "<limit>", "eval"), dict(scope)))
    except (NameError, ValueError):
        return "…"


def onnxruntime_names() -> list[str]:
    """The operators of com.microsoft that onnxruntime's CPU provider has."""
    return [line for line in NAMES.read_text("utf-8").splitlines() if line and not line.startswith("#")]


def names_text() -> str:
    """docs/com_microsoft.txt, by the onnxruntime that is installed."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

    kernels = (kernel for kernel in get_all_opkernel_def() if kernel.provider.startswith("CPU"))
    names = {kernel.op_name for kernel in kernels if kernel.domain == "com.microsoft"}
    return "\n".join([f"# Operators of com.microsoft in the CPU provider of onnxruntime {onnxruntime.__version__}", *sorted(names), ""])


def summary() -> str:
    """How many operators of each domain there are, and which of onnxruntime's are not."""
    lines = ["| domain | operators | here | not here |", "| --- | --- | --- | --- |"]
    for domain in DOMAINS:
        known = onnxruntime_names() if domain == "com.microsoft" else list(schemas(domain))
        ours = {*registered(domain), *(["Gradient"] if domain == gradients.DOMAIN else [])}
        missing = [name for name in known if name not in ours]
        count = f"{len(known)} of onnxruntime's CPU" if domain == "com.microsoft" else f"{len(known)}"
        here = len(known) - len(missing)
        link = f"[{domain or 'ai.onnx'}](#{anchor(domain)})"
        lines.append(f"| {link} | {count} | {here} ({here / len(known):.1%}) | {', '.join(missing) or '-'} |")
    return "\n".join(lines) + "\n"


def anchor(domain: str) -> str:
    """The link to a domain's heading."""
    return (domain or "ai.onnx").replace(".", "")


def notes(domain: str) -> str:
    """What stands before a domain's table."""
    extra = sorted(set(registered(domain)) - set(schemas(domain)))
    if domain == "com.microsoft":
        more = sorted(set(extra) - set(onnxruntime_names()))
        return f"Besides those of onnxruntime's CPU provider: {', '.join(more)}.\n\n" if more else ""
    return f"Not ONNX's own, but in models that onnxruntime takes: {', '.join(extra)}.\n\n" if extra else ""


def document() -> str:
    """The whole page."""
    head = "| operator | versions | types | runs on | limits |\n| --- | --- | --- | --- | --- |\n"
    parts = [INTRODUCTION, summary()]
    for domain in DOMAINS:
        table = "\n".join(map(str, rows(domain)))
        parts.append(f"\n## {domain or 'ai.onnx'}\n\n{notes(domain)}{head}{table}\n")
    return "".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="The table of operators.")
    parser.add_argument("--check", action="store_true", help="fail if the page is not what would be written")
    parser.add_argument("--names", action="store_true", help="write the names of onnxruntime's operators anew first")
    chosen = parser.parse_args(arguments)
    if chosen.names:
        NAMES.write_text(names_text(), "utf-8")
    text = document()
    if not chosen.check:
        DOCUMENT.write_text(text, "utf-8")
    elif not DOCUMENT.exists() or DOCUMENT.read_text("utf-8") != text:
        print(f"{DOCUMENT.name} is stale: run python docs/operators.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
