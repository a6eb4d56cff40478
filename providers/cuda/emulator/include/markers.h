// In front of a source while it is preprocessed: what it may ask for. `__global__` and `__shared__` stay as they are.
#pragma once
#define ONNXGPU_EMULATED_DEVICE 1
#define __CUDACC__ 1
#define __CUDACC_RTC__ 1
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define __CUDA_ARCH__ 900
#define __LITTLE_ENDIAN__ 1
