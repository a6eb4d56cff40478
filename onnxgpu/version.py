"""The version of onnxgpu."""

__version__ = "0.1.0"
