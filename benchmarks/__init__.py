"""Benchmarks of onnxgpu: each script is run by itself, as `python benchmarks/<name>.py --help` says."""
