"""Module names that programs written for onnxruntime import from: the same objects as `onnxgpu`'s own."""
