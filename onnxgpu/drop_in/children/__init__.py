"""The folder that Python processes find on PYTHONPATH whose parent is `python -m onnxgpu.as_onnxruntime`."""

from pathlib import Path

FOLDER = Path(__file__).parent
