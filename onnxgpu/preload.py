"""Loading the libraries of CUDA and cuDNN from NVIDIA's Python packages, from a folder, or from where the loader looks."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from onnxgpu.log import logger

CUDA_LIBRARIES = ("cudart", "nvrtc", "cublasLt", "cublas", "curand", "cufft")
CUDNN_LIBRARIES = ("cudnn",)
"""In the order in which they need one another."""


def load(*, cuda: bool, cudnn: bool, directory: str | None) -> list[str]:
    """Load what there is; the paths or names of what was loaded.

    Raises:
        RuntimeError: there is no folder `directory`.
    """
    wanted = (CUDA_LIBRARIES if cuda else ()) + (CUDNN_LIBRARIES if cudnn else ())
    folders = list(_package_folders()) if not directory else [_folder(directory)]
    loaded = [path for name in wanted if (path := _loaded(name, folders)) is not None]
    logger.info("preload_dlls loaded %s", ", ".join(loaded) or "nothing: no CUDA libraries were found")
    return loaded


def _folder(directory: str) -> Path:
    folder = Path(__file__).parent / directory
    if not folder.is_dir():
        raise RuntimeError(f"Invalid parameter of directory={directory}. The directory does not exist!")
    return folder


def _package_folders() -> Iterator[Path]:
    """The folders with libraries in NVIDIA's packages (`nvidia/cublas/lib`, `nvidia/cu13/lib`, `nvidia/cudnn/bin`)."""
    spec = find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec is not None else ():
        yield from sorted(path for kind in ("lib", "bin", "bin/*") for path in Path(root).glob(f"*/{kind}") if path.is_dir())


def _loaded(name: str, folders: list[Path]) -> str | None:
    """Load the newest library of that name in the folders, else what the loader finds."""
    candidates = [path for folder in folders for path in folder.iterdir() if _is_library(path.name, name)]
    for path in sorted(candidates, key=lambda path: _version(path.name), reverse=True):
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            logger.warning("preload_dlls could not load %s: %s", path, error)
        else:
            return str(path)
    for known in _loader_names(name):
        try:
            ctypes.CDLL(known, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return known
    return None


def _is_library(file: str, name: str) -> bool:
    return re.fullmatch(rf"lib{name}\.so(\.\d+)+|{name}64_\d+(_\d+)*\.dll", file) is not None


def _version(file: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", file)]


def _loader_names(name: str) -> list[str]:
    versions = {"cudnn": (9,), "curand": (10,), "cufft": (12, 11)}.get(name, (13, 12))
    return [f"{name}64_{version}.dll" if os.name == "nt" else f"lib{name}.so.{version}" for version in versions]
