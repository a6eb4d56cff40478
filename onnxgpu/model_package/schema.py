"""The JSON of a package, checked: the manifest, its components and their variants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

SCHEMA_VERSION = (1, 0)
"""(major, minor) that is written; every minor version of that major one is read."""

LAYOUTS = ("portable", "installed")

_TEXT, _OBJECT, _ANY = str, dict, object
_MANIFEST: dict[str, type] = {
    "schema_version": _ANY,
    "package_name": _TEXT,
    "package_version": _TEXT,
    "description": _TEXT,
    "layout": _TEXT,
    "components": _OBJECT,
    "shared_assets": _OBJECT,
    "additional_metadata": _ANY,
}
_COMPONENT: dict[str, type] = {"component_name": _TEXT, "variants": _OBJECT, "additional_metadata": _ANY}
_VARIANT: dict[str, type] = {
    "variant_directory": _TEXT,
    "ep": _TEXT,
    "device": _TEXT,
    "compatibility_string": _TEXT,
    "executor_info": _OBJECT,
    "additional_metadata": _ANY,
}


def parsed(text: str | bytes, where: str) -> Json:
    """The JSON object in `text`.

    Raises:
        ValueError: it is none.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: JSON parse error. {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object.")
    return value


def compact(value: Any) -> str:
    """`value` as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def check_manifest(manifest: Json, *, strict: bool = True) -> tuple[int, int]:
    """Check the fields of a manifest; returns its schema version.

    Raises:
        ValueError: a field is missing, unknown or of another type.
        RuntimeError: the version is not known.
    """
    major, minor = _version(manifest.get("schema_version"))
    if major != SCHEMA_VERSION[0]:
        raise RuntimeError(f"manifest: schema_version major {major} is not supported (this build supports major {SCHEMA_VERSION[0]}).")
    if "components" not in manifest:
        raise ValueError("manifest: missing required 'components' object.")
    _check_fields(manifest, _MANIFEST, "manifest", strict=strict and (major, minor) <= SCHEMA_VERSION)
    if manifest.get("layout", "portable") not in LAYOUTS:
        raise ValueError(f"manifest: layout must be 'portable' or 'installed', got '{manifest['layout']}'.")
    return major, minor


def check_component(name: str, body: Json, *, strict: bool = True) -> None:
    """Check the fields of a component and of its variants.

    Raises:
        ValueError: a field is missing, unknown or of another type.
    """
    where = f"component '{name}'"
    if not isinstance(body.get("variants"), dict):
        raise ValueError(f"{where}: missing required 'variants' object.")
    _check_fields(body, _COMPONENT, where, strict=strict)
    for variant, value in body["variants"].items():
        check_variant(variant, value, strict=strict)


def check_variant(name: str, body: Any, *, strict: bool = True) -> None:
    """Check the fields of a variant.

    Raises:
        ValueError: a field is unknown or of another type.
    """
    where = f"variant '{name}'"
    if not isinstance(body, dict):
        raise ValueError(f"{where}: expected a JSON object.")
    _check_fields(body, _VARIANT, where, strict=strict)
    for key, value in body.get("executor_info", {}).items():
        if not isinstance(value, (str, dict)):
            raise ValueError(f"{where}: executor_info '{key}' must be a path or a JSON object.")


def _check_fields(body: Json, known: Mapping[str, type], where: str, *, strict: bool) -> None:
    for key, value in body.items():
        if key not in known and strict:
            raise ValueError(f"{where}: unknown field '{key}'.")
        if not isinstance(value, known.get(key, object)):
            raise ValueError(f"{where}: '{key}' must be {'a string' if known[key] is str else 'an object'}.")


def _version(value: Any) -> tuple[int, int]:
    if value is None:
        raise ValueError("manifest: missing required 'schema_version'.")
    if isinstance(value, int) and not isinstance(value, bool):
        return value, 0
    major, _, minor = value.partition(".") if isinstance(value, str) else ("", "", "")
    if not (major.isdecimal() and minor.isdecimal()):
        raise ValueError(f"manifest: schema_version must be '<major>.<minor>', got {value!r}.")
    return int(major), int(minor)
