"""NVIDIA GPUs through CuPy and our own CUDA kernels."""
