"""What a program can ask about the installation: versions, the build, loaded libraries."""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module
from pathlib import Path

from onnxgpu.release import COMPATIBLE_VERSION, __version__

package_name = "onnxgpu"
version = __version__
cuda_version = ""
"""onnxgpu is not built against a CUDA version: it takes the one whose packages are installed (see `onnxgpu doctor`)."""


def get_version_string() -> str:
    """The version of onnxgpu."""
    return __version__


def get_build_info() -> str:
    """What this is, in one line that begins as onnxruntime's."""
    python = platform.python_version()
    return f"ORT Build Info: onnxgpu={__version__}, api=onnxruntime {COMPATIBLE_VERSION}, build type=Python, python={python}"


def has_collective_ops() -> bool:
    """False: there are no operators that work on several devices at once."""
    return False


def print_debug_info() -> None:
    """Print versions, providers and what they lack, the libraries that are loaded, and where the loader looks."""
    from onnxgpu.doctor import diagnosis

    found = diagnosis()
    lines = [f"{package_name} version: {__version__}", f"platform: {platform.platform()}", "", "Python packages and versions:"]
    lines += [f"{name}=={number}" for name, number in found["versions"].items() if name != "platform"]
    lines += ["", "Providers:"]
    lines += [f"{entry['name']}: {'available' if entry['available'] else entry['cause']}" for entry in found["providers"]]
    lines += ["", f"Environment variable:\n{_search_path()}={os.environ.get(_search_path(), '(unset)')}", "", "Loaded CUDA libraries:"]
    print("\n".join(lines + (_loaded_libraries() or ["none"])))  # noqa: T201 - this is what it is for


def _search_path() -> str:
    return "PATH" if os.name == "nt" else "LD_LIBRARY_PATH"


def _loaded_libraries() -> list[str]:
    """Paths of the CUDA libraries mapped into this process (Linux)."""
    if not sys.platform.startswith("linux"):
        return []
    keywords = ("cublas", "cudart", "cudnn", "cufft", "curand", "libcuda.", "nvrtc", "nvinfer")
    fields = [line.split(None, 5) for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
    paths = {parts[5] for parts in fields if len(parts) == 6}
    return sorted(path for path in paths if any(word in path.rsplit("/", 1)[-1] for word in keywords))


def preload_dlls(cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: str | None = None) -> None:
    """Load the CUDA and cuDNN libraries from where they are, so that whatever needs them later finds them.

    They are looked for in `directory`, else in NVIDIA's packages beside NumPy's, then where the loader looks. Where there are none,
    nothing happens.

    Args:
        cuda: load those of CUDA.
        cudnn: load cuDNN.
        msvc: accepted; Python's own installation brings that runtime.
        directory: the folder to look in; a relative one counts from onnxgpu's.

    Raises:
        RuntimeError: there is no such directory.
    """
    import_module("onnxgpu.preload").load(cuda=cuda, cudnn=cudnn, directory=directory)
