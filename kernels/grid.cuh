// A barrier of all threads of a cooperative launch, whose blocks all run at once.
//
//   arrivals   a counter of the launch's own, 0 before it, for all of its barriers
//   launch     blocks of one dimension
//
// Its fences order the whole blocks' accesses, and empty the L1 caches: behind it plain loads see what other blocks wrote before it.

#pragma once

__device__ inline void grid_barrier(unsigned* arrivals) {
#ifdef ONNXGPU_EMULATED_DEVICE
    emulated_grid_barrier(__FILE__, __LINE__);
#else
    constexpr unsigned END = 1u << 31;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        // All blocks together add END, so that the highest bit tells of the last arrival, and the others are 0 again.
        const unsigned before = atomicAdd(arrivals, blockIdx.x ? 1 : END - (gridDim.x - 1));
        while (!((*static_cast<volatile unsigned*>(arrivals) ^ before) & END)) {}
        __threadfence();
    }
    __syncthreads();
#endif
}
