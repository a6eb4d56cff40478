"""Tests that run on the emulated CUDA device; they need the extra `emulator`, g++ and Python's headers."""

from importlib.util import find_spec

from onnxgpu.providers.cuda.emulator.settings import Settings

PLAIN = Settings(devices=2)
"""CuPy asks for the number of devices once."""

LIBRARIES_MISSING = next(
    (f'{name} is not installed: pip install "onnxgpu[emulator]"' for name in ("nvmath", "cudnn") if find_spec(name) is None), None
)
"""Which package of those that call NVIDIA's libraries is missing here."""
