"""One folder a provider; installed as `onnxgpu.providers`."""

if __name__ == "providers":
    raise ImportError("import this package as `onnxgpu.providers`: the folder `providers/` is only where it is kept")
