"""Model packages: a folder with a model in several variants, one for each provider, and the choice among them.

The format is that of onnxruntime's model package library: `manifest.json`, `component.json`, and directories of shared files that are
named by their content. Source: model_package/README.md and onnxruntime/core/session/model_package/README.md of onnxruntime.
"""

from onnxgpu.model_package.package import ModelPackage, ModelPackageWriteMode
from onnxgpu.model_package.selection import ModelPackageComponentContext, ModelPackageContext, ModelPackageOptions

__all__ = ["ModelPackage", "ModelPackageComponentContext", "ModelPackageContext", "ModelPackageOptions", "ModelPackageWriteMode"]
