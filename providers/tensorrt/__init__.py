"""NVIDIA GPUs through TensorRT engines."""
