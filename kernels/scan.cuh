// Running combinations over the threads of a warp and of a block of whole warps.

#pragma once

#include "reduce.cuh"

// The combination of the values of this lane and all before it.
template <typename A, typename Combine> __device__ inline A scan_warp(A value, Combine combine) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int offset = 1; offset < WARP; offset *= 2) {
        const A other = __shfl_up_sync(ALL_LANES, value, offset);
        if (lane >= offset) value = combine(other, value);
    }
    return value;
}

// The combination of the values of all threads before this one; `total` is that of all. `scratch` holds one value a warp; it may be used
// again at once.
template <typename A, typename Combine> __device__ inline A scan_block(A value, A neutral, A* scratch, Combine combine, A& total) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    const A through = scan_warp(value, combine);
    if (lane == WARP - 1) scratch[warp] = through;
    __syncthreads();
    const A warps_through = scan_warp(lane < warps ? scratch[lane] : neutral, combine);
    __syncthreads();
    total = __shfl_sync(ALL_LANES, warps_through, warps - 1);
    const A warps_before = __shfl_sync(ALL_LANES, warps_through, warp > 0 ? warp - 1 : 0);
    const A lanes_before = __shfl_up_sync(ALL_LANES, through, 1);
    return combine(warp > 0 ? warps_before : neutral, lane > 0 ? lanes_before : neutral);
}
