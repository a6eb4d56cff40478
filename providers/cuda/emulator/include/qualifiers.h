// CUDA's qualifiers, for g++. NVIDIA's headers have been read before: they define some of these for host compilers.
#pragma once

#ifndef __CUDACC_VER_MAJOR__  // sources ask for it; NVIDIA's headers, above, must not see it
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#endif
#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 900
#endif

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __managed__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __align__
#undef __restrict__
#undef __grid_constant__
#undef __cluster_dims__
#undef __maxnreg__

#define __device__
#define __host__
#define __constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __restrict__ __restrict

#define EMULATED_INLINE inline __attribute__((always_inline))
// Where in the kernel's source a function of this header was called.
#define EMULATED_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()
