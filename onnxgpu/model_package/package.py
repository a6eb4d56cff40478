"""ModelPackage: open, make, change and write a package."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from onnxgpu.atomic_file import whole_file
from onnxgpu.model_package.contents import COMPONENT, MANIFEST, UNWRITTEN, Component, Contents, read, variants_of
from onnxgpu.model_package.paths import asset_folder, assets_on_disk, directory_hash
from onnxgpu.model_package.schema import LAYOUTS, SCHEMA_VERSION, Json, check_component, check_variant, compact, parsed
from onnxgpu.options.enums import NamedInteger


class ModelPackageWriteMode(NamedInteger):
    """How `commit` writes components: where they are now, or all in the manifest."""

    PRESERVE = 0
    DENSE = 1


class ModelPackage:
    """A package in memory; a new one is empty. Nothing is written before `commit`.

    Methods raise ValueError for what the format does not allow and for a package that is closed, FileNotFoundError for what is
    not there. Other errors are listed with the method.
    """

    def __init__(self) -> None:
        self._contents: Contents | None = Contents()
        self._orphans: list[str] = []

    @staticmethod
    def open(
        package_root: str, allow_external_paths: bool = False, follow_symlinks: bool = True, strict_unknown_fields: bool = True
    ) -> ModelPackage:
        """The package in a folder.

        Args:
            package_root: the folder.
            allow_external_paths: paths may leave it although its layout is portable.
            follow_symlinks: a link counts as what it leads to.
            strict_unknown_fields: refuse fields that this version does not know.

        Raises:
            OSError: there is no such folder or file.
            ValueError: a file is not what it should be.
            RuntimeError: the package is of a version that is not known.
        """
        package = ModelPackage()
        package._contents = read(
            package_root, allow_external_paths=allow_external_paths, follow_links=follow_symlinks, strict=strict_unknown_fields
        )
        return package

    @staticmethod
    def compute_directory_hash(source_dir: str) -> str:
        """The URI of a directory as a shared asset.

        Raises:
            FileNotFoundError: it is no directory.
            ValueError: it holds a link.
        """
        return directory_hash(source_dir)

    def close(self) -> None:
        """Forget the package; every other method raises from now on."""
        self._contents = None

    def get_info(self) -> dict[str, Any]:
        """Metadata, components, variants and shared assets."""
        return self._open.described()

    def get_component_json(self, component_name: str) -> str:
        """The JSON of a component."""
        return compact(self._open.component(component_name).body)

    def get_variant_json(self, component_name: str, variant_name: str) -> str:
        """The JSON of a variant."""
        return compact(self._open.variant(component_name, variant_name))

    def resolve_asset_uri(self, uri: str) -> str:
        """The directory of a shared asset."""
        assets = self._open.assets()
        if uri not in assets:
            raise FileNotFoundError(f"Asset URI not declared in this package: '{uri}'.")
        return assets[uri]

    def resolve_string_ref(self, string_ref: str, base_dir: str | None = None, must_exist: bool = False) -> str:
        """What a path, or `sha256:…/tail`, in a package means."""
        contents = self._open
        return contents.resolver.reference(string_ref, contents.assets(), base_dir, must_exist=must_exist)

    def set_metadata(self, name: str | None = None, version: str | None = None, description: str | None = None) -> None:
        """Set what the package says of itself; None leaves a field as it is."""
        given = {"package_name": name, "package_version": version, "description": description}
        self._open.manifest.update({key: value for key, value in given.items() if value is not None})

    def set_layout(self, layout: str) -> None:
        """`portable`: paths stay in the package; `installed`: they may leave it."""
        if layout not in LAYOUTS:
            raise ValueError("SetLayout: layout must be 'portable' or 'installed'.")
        self._open.manifest["layout"] = layout

    def set_additional_metadata_json(
        self, scope: str, component_name: str | None = None, variant_name: str | None = None, json: str | None = None
    ) -> None:
        """Set, or with None take away, free-form metadata of `manifest`, `component` or `variant`."""
        body = self._scope(scope, component_name, variant_name)
        if json is None:
            body.pop("additional_metadata", None)
        else:
            body["additional_metadata"] = _any_json(json)

    def set_component_inline(self, name: str, component_json: str) -> None:
        """Set a component, written into the manifest."""
        body = parsed(component_json, f"component '{name}'")
        check_component(name, body)
        self._open.components[name] = Component(body)

    def set_component_external(self, name: str, path: str) -> None:
        """Move a component to a file, or to `component.json` in a directory; what is there is read."""
        contents = self._open
        target = contents.resolver.path(path)
        file = os.path.join(path, COMPONENT) if os.path.isdir(target) else path
        resolved = Path(contents.resolver.path(file))
        body = contents.components[name].body if name in contents.components else {"variants": {}}
        if resolved.is_file():
            body = parsed(resolved.read_bytes(), f"component '{name}'")
        check_component(name, body)
        contents.components[name] = Component(body, file)

    def remove_component(self, name: str) -> None:
        """Take a component away, if it is there; `prune` deletes its directories."""
        contents = self._open
        if name in contents.components:
            for variant in list(contents.components[name].body["variants"]):
                self.remove_variant(name, variant)
            del contents.components[name]

    def set_variant(self, component_name: str, variant_name: str, variant_json: str) -> None:
        """Set a variant of a component that exists."""
        contents = self._open
        if component_name not in contents.components:
            raise FileNotFoundError(f"SetVariant: component '{component_name}' not found.")
        body = parsed(variant_json, f"variant '{variant_name}'")
        check_variant(variant_name, body)
        variants = contents.components[component_name].body["variants"]
        before = variants.get(variant_name)
        variants[variant_name] = body
        try:
            contents.variant_folder(component_name, variant_name)
        except (OSError, ValueError):
            if before is None:
                del variants[variant_name]
            else:
                variants[variant_name] = before
            raise

    def remove_variant(self, component_name: str, variant_name: str) -> None:
        """Take a variant away, if it is there; `prune` deletes its directory."""
        contents = self._open
        variants = contents.component(component_name).body["variants"]
        if variant_name in variants:
            folder = contents.variant_folder(component_name, variant_name)
            self._orphans += [folder] if folder else []
            del variants[variant_name]

    def set_variant_executor_info_inline(self, component_name: str, variant_name: str, namespace_key: str, info_json: str) -> None:
        """Set what a consumer (`ort`) has to know of a variant."""
        info = parsed(info_json, "executor_info inline value")
        self._open.variant(component_name, variant_name).setdefault("executor_info", {})[namespace_key] = info

    def set_variant_executor_info_external(self, component_name: str, variant_name: str, namespace_key: str, path: str) -> None:
        """Set the file, from the variant's directory, that has what a consumer has to know."""
        contents = self._open
        contents.resolver.path(path)
        contents.variant(component_name, variant_name).setdefault("executor_info", {})[namespace_key] = path

    def remove_variant_executor_info(self, component_name: str, variant_name: str, namespace_key: str) -> None:
        """Take away what a consumer has to know, if it is there."""
        body = self._open.variant(component_name, variant_name)
        if body.get("executor_info", {}).pop(namespace_key, None) is not None and not body["executor_info"]:
            del body["executor_info"]

    def add_shared_asset(self, source_dir: str, expected_uri: str | None = None, copy_in: bool = True) -> str:
        """Add a directory that variants share; returns its URI.

        Args:
            source_dir: the directory; it has to be there until `commit`.
            expected_uri: refuse the directory if its URI is another.
            copy_in: copy it into the package; otherwise the package refers to it, which only the layout `installed` allows.

        Raises:
            RuntimeError: the URI is not the expected one, or the layout does not allow to refer to the directory.
        """
        contents = self._open
        uri = directory_hash(source_dir)
        if expected_uri is not None and uri != expected_uri:
            raise RuntimeError(f"AddSharedAsset: hash mismatch — computed {uri}, expected {expected_uri}.")
        if copy_in:
            contents.staged[uri] = source_dir
        elif contents.layout == "portable":
            raise RuntimeError("AddSharedAsset: copy_in=false rejected in portable layout (the path would point outside <package_root>).")
        else:
            contents.overrides[uri] = os.path.abspath(source_dir)
        return uri

    def remove_shared_asset(self, uri: str) -> None:
        """Take a shared asset away, with its directory in the package, if it is there."""
        contents = self._open
        contents.overrides.pop(uri, None)
        contents.staged.pop(uri, None)
        if contents.root is not None and uri in assets_on_disk(contents.root):
            shutil.rmtree(contents.root / asset_folder(uri))

    def commit(self, dest_root: str | None = None, mode: ModelPackageWriteMode = ModelPackageWriteMode.PRESERVE) -> None:
        """Write the package, the manifest last.

        Args:
            dest_root: a folder that is empty or not there, to which everything is copied; None: where the package is.
            mode: whether components stay in files of their own.

        Raises:
            RuntimeError: there is no folder to write to, `dest_root` is a file or not empty, or a component with information in files
                of their own cannot go into the manifest.
            OSError: a file cannot be written.
        """
        contents = self._open
        source = contents.root
        target = source if dest_root is None else Path(os.path.abspath(dest_root))
        if target is None:
            raise RuntimeError("Commit: package has no package_root. Use dest_root variant.")
        if dest_root is not None:
            _check_empty(target, dest_root)
        if mode == ModelPackageWriteMode.DENSE:
            _make_dense(contents)
        target.mkdir(parents=True, exist_ok=True)
        if source is not None and source != target:
            shutil.copytree(source, target, dirs_exist_ok=True)
        for uri, path in contents.staged.items():
            shutil.copytree(path, target / asset_folder(uri), dirs_exist_ok=True)
        for component in contents.components.values():
            if component.file is not None:
                _write_json(target / component.file, component.body)
        if contents.version == UNWRITTEN:
            contents.version = SCHEMA_VERSION
        _write_json(target / MANIFEST, contents.manifest_json())
        contents.root = target
        contents.staged.clear()

    def prune(self) -> None:
        """Delete the directories of variants that were removed and that no variant uses."""
        contents = self._open
        used = {contents.variant_folder(*names) for names in variants_of(contents)}
        for folder in self._orphans:
            if folder not in used and contents.root is not None and _is_within(folder, contents.root):
                shutil.rmtree(folder, ignore_errors=True)
        self._orphans.clear()

    @property
    def _open(self) -> Contents:
        if self._contents is None:
            raise ValueError("Model package is closed.")
        return self._contents

    def _scope(self, scope: str, component: str | None, variant: str | None) -> Json:
        contents = self._open
        if scope == "manifest":
            if component is not None or variant is not None:
                raise ValueError("SetAdditionalMetadataJson: 'manifest' scope takes no component/variant.")
            return contents.manifest
        if scope == "component":
            if variant is not None:
                raise ValueError("SetAdditionalMetadataJson: 'component' scope takes no variant.")
            return contents.component(component or "").body
        if scope == "variant":
            return contents.variant(component or "", variant or "")
        raise ValueError("SetAdditionalMetadataJson: scope must be 'manifest', 'component', or 'variant'.")


def _any_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"additional_metadata: JSON parse error. {error}") from None


def _check_empty(target: Path, given: str) -> None:
    if target.exists() and not target.is_dir():
        raise RuntimeError(f"Commit dest_root '{given}' exists and is not a directory.")
    if target.is_dir() and any(target.iterdir()):
        raise RuntimeError(f"Commit dest_root '{given}' is not empty.")


def _make_dense(contents: Contents) -> None:
    """Move all components into the manifest; their variants' directories are then named from the root."""
    for name, component in contents.components.items():
        for variant, body in component.body["variants"].items():
            for key, value in body.get("executor_info", {}).items():
                if component.file is not None and isinstance(value, str):
                    raise RuntimeError(
                        f"WRITE_DENSE: component '{name}' variant '{variant}' has external executor_info '{key}' (string path). "
                        "Convert to inline via SetVariantExecutorInfoInline before dense commit."
                    )
    for component in contents.components.values():
        for variant, body in component.body["variants"].items() if component.folder else ():
            if "variant_directory" in body or (contents.root is not None and (contents.root / component.folder / variant).is_dir()):
                body["variant_directory"] = f"{component.folder}/{body.get('variant_directory', variant)}"
        component.file = None


def _is_within(folder: str, root: Path) -> bool:
    real, inside = Path(os.path.realpath(folder)), Path(os.path.realpath(root))
    return real != inside and real.is_relative_to(inside)


def _write_json(path: Path, value: Json) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(f"{json.dumps(value, ensure_ascii=False, indent=2)}\n".encode())
