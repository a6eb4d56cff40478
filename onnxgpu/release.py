"""Which release this is, and which release of onnxruntime its API follows."""

__version__ = "0.1.0"

COMPATIBLE_VERSION = "1.32.0"
"""The onnxruntime whose names, signatures and messages are served; what `as_onnxruntime` gives as its version."""
