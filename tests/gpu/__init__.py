"""Tests for a machine with an NVIDIA GPU: `pytest -m gpu`. With `ONNXGPU_CUDA=emulated` they run on the emulated device."""
