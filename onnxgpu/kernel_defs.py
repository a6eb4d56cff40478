"""Which operators the providers run, as onnxruntime lists its kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from onnxgpu import discovery
from onnxgpu.operators import Registry

NEWEST = 2**31 - 1
"""End of the range of a kernel whose operator has no newer meaning."""


@dataclass(frozen=True, slots=True)
class KernelDef:
    """An operator of a provider.

    Attributes:
        op_name: the operator.
        domain: of the operator; empty for ONNX's own.
        provider: the provider.
        version_range: first and last opset with this meaning.
        type_constraints: name of a type parameter → types that ONNX allows for it; empty for other domains.
    """

    op_name: str
    domain: str
    provider: str
    version_range: tuple[int, int]
    type_constraints: Mapping[str, list[str]] = field(default_factory=dict)


def get_all_opkernel_def() -> list[KernelDef]:
    """The kernels of all providers that have a registry of operators."""
    return [kernel for name in discovery.providers() for kernel in _kernels(name)]


def get_registered_ep_kernel_defs(ep_name: str) -> list[KernelDef]:
    """The kernels of one provider.

    Raises:
        RuntimeError: there is no such provider.
    """
    if ep_name not in discovery.providers():
        raise RuntimeError(f"No devices found for EP '{ep_name}'. Is it registered via register_execution_provider_library()?")
    return list(_kernels(ep_name))


def _kernels(provider: str) -> Iterator[KernelDef]:
    registry = _registry(discovery.providers()[provider].__module__)
    starts: dict[tuple[str, str], set[int]] = {}
    while registry is not None:
        for entry in registry.entries():
            starts.setdefault((entry.domain, entry.operator), set()).add(entry.since)
        registry = registry.base
    for (domain, operator), versions in sorted(starts.items()):
        ordered = sorted(versions)
        for since, following in zip(ordered, [*ordered[1:], NEWEST + 1], strict=True):
            yield KernelDef(operator, domain, provider, (since, following - 1), _constraints(domain, operator, following - 1))


def _registry(module: str) -> Registry | None:
    """The registry beside the module of a provider, if it has one."""
    name = f"{module.rpartition('.')[0]}.registry"
    registry = getattr(import_module(name), "REGISTRY", None) if "." in module and find_spec(name) else None
    return registry if isinstance(registry, Registry) else None


def _constraints(domain: str, operator: str, version: int) -> Mapping[str, list[str]]:
    fitting = [schema for since, schema in _types().get((domain, operator), ()) if since <= version]
    return {name: list(types) for name, types in fitting[-1].items()} if fitting else {}


@cache
def _types() -> Mapping[tuple[str, str], list[tuple[int, Mapping[str, list[str]]]]]:
    from onnxgpu.capi.schemadef import get_all_operator_schema

    found: dict[tuple[str, str], list[tuple[int, Mapping[str, list[str]]]]] = {}
    for schema in sorted(get_all_operator_schema(), key=lambda schema: schema.since_version):
        constraints = {item.type_param_str: list(item.allowed_type_strs) for item in schema.type_constraints}
        found.setdefault((schema.domain, schema.name), []).append((schema.since_version, constraints))
    return found
