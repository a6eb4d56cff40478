"""What `importlib.metadata` answers for `onnxruntime` while onnxgpu is in its place."""

from __future__ import annotations

import os
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path

from onnxgpu.release import COMPATIBLE_VERSION, __version__

_METADATA = f"""\
Metadata-Version: 2.1
Name: onnxruntime
Version: {COMPATIBLE_VERSION}
Summary: onnxgpu {__version__} in the place of onnxruntime
"""


class CompatibleDistribution(Distribution):
    """An installation of onnxruntime that has a version and a module, and no files of its own."""

    def read_text(self, filename: str) -> str | None:
        """The file of that name in its metadata."""
        return {"METADATA": _METADATA, "top_level.txt": "onnxruntime\n", "INSTALLER": "onnxgpu\n"}.get(filename)

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        """Where a file lies, relative to the folder that holds onnxgpu."""
        spec = find_spec("onnxgpu")
        assert spec is not None and spec.origin is not None
        return Path(spec.origin).parent.parent / path
