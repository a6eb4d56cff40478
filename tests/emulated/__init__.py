"""Tests that run on the emulated CUDA device; they need the extra `emulator`, g++ and Python's headers."""

from onnxgpu.providers.cuda.emulator.settings import Settings

PLAIN = Settings(devices=2)
"""CuPy asks for the number of devices once."""
