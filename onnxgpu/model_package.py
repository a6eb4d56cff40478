"""Model packages: the names that onnxruntime has for folders with several variants of a model. onnxgpu does not read them."""

from __future__ import annotations

from typing import Any, NoReturn

from onnxgpu.errors import NotImplemented
from onnxgpu.options.enums import NamedInteger


class ModelPackageWriteMode(NamedInteger):
    """How onnxruntime writes a package: as it was opened, or without unused files."""

    PRESERVE = 0
    DENSE = 1


class _Package:
    """A class of onnxruntime that cannot be made here."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        _refuse(type(self).__name__)


class ModelPackage(_Package):
    """A package to edit; not in this version."""

    @staticmethod
    def open(
        package_root: str, allow_external_paths: bool = False, follow_symlinks: bool = True, strict_unknown_fields: bool = True
    ) -> NoReturn:
        """Refuse the package.

        Raises:
            NotImplemented: always.
        """
        _refuse("ModelPackage")


class ModelPackageContext(_Package):
    """A package to choose from; not in this version."""


class ModelPackageOptions(_Package):
    """What a variant is chosen by; not in this version."""


class ModelPackageComponentContext(_Package):
    """A variant that was chosen; not in this version."""


def _refuse(name: str) -> NoReturn:
    raise NotImplemented(
        f"{name}: onnxgpu does not read onnxruntime's model packages, whose variants are compiled for its providers. "
        "Give the ONNX file of the variant to InferenceSession, and the providers in the order you prefer"
    )
