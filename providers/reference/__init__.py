"""The last resort: `onnx.reference`, slow and complete."""
