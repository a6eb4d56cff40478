"""LoRA adapters: parameters in a file of their own, fed to a model's adapter inputs run by run."""

from onnxgpu.adapters.adapter import AdapterFormat, LoraAdapter, with_adapters

__all__ = ["AdapterFormat", "LoraAdapter", "with_adapters"]
