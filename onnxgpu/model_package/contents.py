"""What is in a package: its manifest and components, read from a folder or made, and the folders they name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxgpu.model_package.paths import Resolver, asset_folder, assets_on_disk
from onnxgpu.model_package.schema import SCHEMA_VERSION, Json, check_component, check_manifest, compact, parsed

MANIFEST, COMPONENT = "manifest.json", "component.json"
UNWRITTEN = (0, 0)
"""The version that a package has before it is written."""


@dataclass
class Component:
    """A component: its JSON, and the file it is in (a path from the root), or None for one in the manifest."""

    body: Json
    file: str | None = None

    @property
    def folder(self) -> str:
        """Where its variants lie, from the root."""
        return "" if self.file is None else os.path.dirname(self.file)


@dataclass
class Contents:
    """A package in memory.

    Attributes:
        root: where it was read from or written to, absolute; None for a new one.
        manifest: its fields but `components`, `shared_assets` and the version.
        components: by name.
        overrides: shared assets that lie elsewhere than usual.
        staged: shared assets that are copied when the package is written, with their sources.
        version: (major, minor) of the schema; `UNWRITTEN` before a new package is written.
        allow_external_paths: paths may leave the package although its layout is portable.
        follow_links: a link counts as what it leads to.
    """

    root: Path | None = None
    manifest: Json = field(default_factory=dict)
    components: dict[str, Component] = field(default_factory=dict)
    overrides: dict[str, str] = field(default_factory=dict)
    staged: dict[str, str] = field(default_factory=dict)
    version: tuple[int, int] = UNWRITTEN
    allow_external_paths: bool = False
    follow_links: bool = True

    @property
    def layout(self) -> str:
        """`portable` or `installed`."""
        return str(self.manifest.get("layout", "portable"))

    @property
    def resolver(self) -> Resolver:
        """Finds paths as the layout allows."""
        confined = self.layout == "portable" and not self.allow_external_paths
        return Resolver(self.root, confined=confined, follow_links=self.follow_links)

    def assets(self) -> dict[str, str]:
        """The directory of each shared asset, by its URI.

        Raises:
            ValueError: one leaves the package, and may not.
        """
        found = {uri: self.resolver.path(path) for uri, path in self.overrides.items()}
        if self.root is not None:
            for uri in assets_on_disk(self.root):
                found.setdefault(uri, str(self.root / asset_folder(uri)))
        for uri, source in self.staged.items():
            found.setdefault(uri, source)
        return found

    def component(self, name: str) -> Component:
        """The component of that name.

        Raises:
            FileNotFoundError: there is none.
        """
        if name not in self.components:
            raise FileNotFoundError(f"component '{name}' not found.")
        return self.components[name]

    def variant(self, component: str, name: str) -> Json:
        """The JSON of a variant.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        variants: dict[str, Json] = self.component(component).body["variants"]
        if name not in variants:
            raise FileNotFoundError(f"variant '{name}' not found in component '{component}'.")
        return variants[name]

    def variant_folder(self, component: str, name: str) -> str | None:
        """The directory of a variant; None where it declares none and there is none of its name.

        Raises:
            FileNotFoundError: there is no such variant, or it declares a directory that is not there.
            ValueError: the directory is outside the package, and may not be.
        """
        declared = self.variant(component, name).get("variant_directory")
        relative = os.path.join(self.component(component).folder, declared or name)
        path = self.resolver.path(relative, must_exist=declared is not None)
        return path if os.path.isdir(path) else None

    def executor_info(self, component: str, name: str, key: str) -> str | None:
        """The JSON text of a consumer's information about a variant; None if there is none, or its file is not there."""
        value = self.variant(component, name).get("executor_info", {}).get(key)
        if not isinstance(value, str):
            return None if value is None else compact(value)
        path = Path(self.resolver.path(value, self.variant_folder(component, name)))
        return path.read_text("utf-8") if path.is_file() else None

    def described(self) -> dict[str, Any]:
        """Everything, as `ModelPackage.get_info` gives it."""
        return {
            "schema_version_major": self.version[0],
            "schema_version_minor": self.version[1],
            "package_name": self.manifest.get("package_name"),
            "package_version": self.manifest.get("package_version"),
            "description": self.manifest.get("description"),
            "layout": self.layout,
            "additional_metadata_json": _metadata(self.manifest),
            "components": [self._described_component(name) for name in self.components],
            "shared_assets": [{"uri": uri, "resolved_path": path} for uri, path in self.assets().items()],
        }

    def _described_component(self, name: str) -> dict[str, Any]:
        body = self.components[name].body
        return {
            "name": name,
            "additional_metadata_json": _metadata(body),
            "variants": [self._described_variant(name, variant) for variant in body["variants"]],
        }

    def _described_variant(self, component: str, name: str) -> dict[str, Any]:
        body = self.variant(component, name)
        texts = {key: self.executor_info(component, name, key) for key in body.get("executor_info", {})}
        return {
            "name": name,
            "variant_directory": self.variant_folder(component, name),
            "ep": body.get("ep"),
            "device": body.get("device"),
            "compatibility_string": body.get("compatibility_string"),
            "additional_metadata_json": _metadata(body),
            "executor_info": {key: text for key, text in texts.items() if text is not None},
        }

    def manifest_json(self) -> Json:
        """The manifest as it is written."""
        major, minor = self.version
        written: Json = {"schema_version": f"{major}.{minor}", "layout": self.layout}
        written["components"] = {name: _reference(component) for name, component in self.components.items()}
        written |= {key: value for key, value in self.manifest.items() if key != "layout"}
        return written | ({"shared_assets": self.overrides} if self.overrides else {})


def read(root: str | os.PathLike[str], *, allow_external_paths: bool = False, follow_links: bool = True, strict: bool = True) -> Contents:
    """The package in a folder.

    Raises:
        OSError: there is no such folder or file.
        ValueError: a file is not what it should be; says where.
        RuntimeError: the package is of a version that is not known.
    """
    if not os.path.isdir(root):
        raise OSError(f"package_root '{os.fspath(root)}' is not a directory.")
    folder = Path(os.path.abspath(root))
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"Cannot open file: '{folder / MANIFEST}': No such file or directory")
    manifest = parsed((folder / MANIFEST).read_bytes(), "manifest")
    version = check_manifest(manifest, strict=strict)
    strict = strict and version <= SCHEMA_VERSION
    contents = Contents(folder, version=version, allow_external_paths=allow_external_paths, follow_links=follow_links)
    contents.manifest = {key: value for key, value in manifest.items() if key not in ("schema_version", "components", "shared_assets")}
    contents.overrides = dict(manifest.get("shared_assets", {}))
    _ = contents.assets()  # refuses a directory outside the package
    for name, value in manifest["components"].items():
        contents.components[name] = _read_component(contents, name, value, strict=strict)
    for component, name in variants_of(contents):
        _ = contents.variant_folder(component, name)  # refuses one that is not there, or outside the package
    return contents


def variants_of(contents: Contents) -> Iterator[tuple[str, str]]:
    """(component, variant) for all of a package."""
    for component, value in contents.components.items():
        for name in value.body["variants"]:
            yield component, name


def _read_component(contents: Contents, name: str, value: Any, *, strict: bool) -> Component:
    if isinstance(value, str):
        path = contents.resolver.path(value, must_exist=True)
        file = os.path.join(value, COMPONENT) if os.path.isdir(path) else value
        component = Component(parsed(Path(contents.resolver.path(file, must_exist=True)).read_bytes(), f"component '{name}'"), file)
    elif isinstance(value, dict):
        component = Component(value)
    else:
        raise ValueError(f"component '{name}': expected a path or a JSON object.")
    check_component(name, component.body, strict=strict)
    return component


def _reference(component: Component) -> str | Json:
    if component.file is None:
        return component.body
    return component.folder if os.path.basename(component.file) == COMPONENT and component.folder else component.file


def _metadata(body: Json) -> str | None:
    return compact(body["additional_metadata"]) if "additional_metadata" in body else None
