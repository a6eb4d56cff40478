"""onnxgpu: run ONNX models GPU-first from Python, through onnxruntime's API."""
