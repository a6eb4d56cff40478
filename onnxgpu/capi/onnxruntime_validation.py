"""What programs import from `onnxruntime.capi.onnxruntime_validation`: checks of the installation."""

from onnxgpu.build_info import cuda_version, package_name, version

__all__ = ["check_distro_info", "check_training_module", "get_package_name_and_version_info"]


def check_distro_info() -> None:
    """Nothing to check: onnxgpu runs where Python and NumPy run."""


def check_training_module() -> tuple[bool, str, str, str]:
    """Whether there is a training module (no), package, version and CUDA version."""
    return False, package_name, version, cuda_version


def get_package_name_and_version_info() -> tuple[str, str, str]:
    """Package, version and CUDA version."""
    return package_name, version, cuda_version
