"""A CUDA device that runs on the host: the real CuPy, with CUDA's driver and libraries replaced by this folder's own.

`install()` has to be called before `cupy` is imported. Then `cupy` allocates, copies, launches and captures as on a GPU, and
kernels, CuPy's and ours alike, are compiled by g++ and run one fiber a CUDA thread. What is emulated is the semantics of
CUDA, not its speed: a result that is right here can still be slow on a GPU, and no GPU has been asked.

    include/      lets CUDA C++ be read by g++
    device/       memory, fibers, barriers, warps, and the checker of accesses
    driver/       streams, events, graphs, copies, modules: the CUDA runtime, driver and NVRTC as CuPy calls them
    libraries/    stand-ins for cuBLAS, cuBLASLt and Thrust, and the operations of cuDNN graphs
    settings.py, toolchain.py, expand.py, compiler.py, build.py, cupy_runtime.py, install.py,
    cudnn_graphs.py
"""

from onnxgpu.providers.cuda.emulator.install import EmulatedDevice, install, installed
from onnxgpu.providers.cuda.emulator.settings import Settings

__all__ = ["EmulatedDevice", "Settings", "install", "installed"]
