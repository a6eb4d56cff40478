"""Paths within a package: relative ones, which stay inside, and shared directories, which are named by their content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath

ASSETS = "shared_assets"
_SCHEME = "sha256:"
_BLOCK = 1 << 20


def directory_hash(source: str | os.PathLike[str]) -> str:
    """`sha256:…` of the names and contents of all files in a directory.

    Raises:
        FileNotFoundError: it is no directory.
        ValueError: it holds a link.
    """
    root = Path(source)
    if not root.is_dir():
        raise FileNotFoundError(f"ComputeDirectoryAssetUri: '{source}' is not a directory.")
    lines = []
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix().encode()):
        if path.is_symlink():
            raise ValueError(f"ComputeDirectoryAssetUri: symlink not allowed: '{path}'.")
        if path.is_file():
            lines.append(f"{_file_hash(path)}  {path.relative_to(root).as_posix()}\n")
    return _SCHEME + sha256("".join(lines).encode()).hexdigest()


def asset_folder(uri: str) -> str:
    """The directory of a shared asset, from the package's root."""
    return f"{ASSETS}/{uri.replace(':', '-')}"


def assets_on_disk(root: Path) -> list[str]:
    """The shared assets that lie in their usual place."""
    folder = root / ASSETS
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [name.replace("sha256-", _SCHEME, 1) for name in names if name.startswith("sha256-")]


class Resolver:
    """Finds what a path in a package means.

    Args:
        root: the package's folder, absolute; None: it was not written yet.
        confined: paths may not leave the package.
        follow_links: a link counts as what it leads to.
    """

    def __init__(self, root: Path | None, *, confined: bool, follow_links: bool = True) -> None:
        self._root, self._confined, self._follow_links = root, confined, follow_links

    def path(self, text: str, base: str | os.PathLike[str] | None = None, *, must_exist: bool = False) -> str:
        """The path `text` from `base`, or from the package's root.

        Raises:
            ValueError: it leaves the package.
            FileNotFoundError: it is not there, and has to be.
        """
        if self._confined:
            _refuse_escapes(text)
        folder = base if base is not None else self._root
        resolved = text if folder is None else os.path.normpath(os.path.join(folder, text))
        if self._confined and self._root is not None and not self._is_inside(resolved):
            raise ValueError(f"ResolvePath: '{resolved}' escapes package_root '{self._root}'.")
        if must_exist and not os.path.exists(resolved):
            raise FileNotFoundError(f"ResolvePath: '{resolved}' does not exist.")
        return resolved

    def reference(
        self, text: str, assets: Mapping[str, str], base: str | os.PathLike[str] | None = None, *, must_exist: bool = False
    ) -> str:
        """As `path`; `sha256:…/tail` is a file of a shared asset, whose directories are in `assets`.

        Raises:
            ValueError, FileNotFoundError: see `path`; or the asset is not known.
        """
        if not text.startswith(_SCHEME):
            return self.path(text, base, must_exist=must_exist)
        uri, _, tail = text.partition("/")
        if uri not in assets:
            raise FileNotFoundError(f"Asset URI not declared in this package: '{uri}'.")
        _refuse_escapes(tail)
        folder = assets[uri]
        if self._root is not None:
            resolved = os.path.abspath(os.path.join(folder, tail))
        else:
            resolved = os.path.join(os.path.abspath(folder), tail) if tail else folder
        if must_exist and not os.path.exists(resolved):
            raise FileNotFoundError(f"ResolvePath: '{resolved}' does not exist.")
        return resolved

    def _is_inside(self, path: str) -> bool:
        assert self._root is not None
        real = os.path.realpath if self._follow_links else os.path.abspath
        return Path(real(path)).is_relative_to(real(self._root))


def _refuse_escapes(text: str) -> None:
    if os.path.isabs(text) or text.startswith("/") or Path(text).drive:
        raise ValueError(f"ResolvePath: absolute or drive-rooted path '{text}' is not allowed in portable layout.")
    if ".." in PurePosixPath(text.replace("\\", "/")).parts:
        raise ValueError(f"ResolvePath: '..' segments are not allowed in portable layout: '{text}'.")


def _file_hash(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
