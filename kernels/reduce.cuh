// Reductions over a warp and over a block of any number of whole warps.

#pragma once

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

struct Sum {
    template <typename T> __device__ T operator()(T a, T b) const { return a + b; }
};

struct Product {
    template <typename T> __device__ T operator()(T a, T b) const { return a * b; }
};

// As NumPy's maximum and minimum: NaN wins.
struct Maximum {
    template <typename T> __device__ T operator()(T a, T b) const { return a > b || a != a ? a : b; }
};

struct Minimum {
    template <typename T> __device__ T operator()(T a, T b) const { return a < b || a != a ? a : b; }
};

template <typename T, typename Combine> __device__ inline T reduce_warp(T value, Combine combine) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) value = combine(value, __shfl_xor_sync(ALL_LANES, value, offset));
    return value;
}

// Every thread gets the result. `scratch` holds one value a warp; it may be used again at once.
template <typename T, typename Combine> __device__ inline T reduce_block(T value, T neutral, T* scratch, Combine combine) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = reduce_warp(value, combine);
    if (warps == 1) return value;
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    value = reduce_warp(lane < warps ? scratch[lane] : neutral, combine);
    __syncthreads();
    return value;
}
