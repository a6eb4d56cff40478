"""Kernels for the tests of the emulated device, each with a fault that a macro puts in."""

ROW_SUM = r"""
extern "C" __global__ void row_sum(const float* x, float* y, int count) {
    extern __shared__ float part[];
    const int thread = threadIdx.x;
    float sum = 0;
#ifdef FAULT_PAST_THE_END
    for (int i = thread; i <= count; i += blockDim.x)
#else
    for (int i = thread; i < count; i += blockDim.x)
#endif
        sum += x[blockIdx.x * count + i];
    part[thread] = sum;
#ifndef FAULT_NO_FIRST_BARRIER
    __syncthreads();
#endif
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (thread < half) part[thread] += part[thread + half];
#ifndef FAULT_NO_BARRIER
        __syncthreads();
#endif
    }
    if (thread == 0) y[blockIdx.x] = part[0];
}
"""

WARP_SUM = r"""
__device__ float warp_sum(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}
__device__ float block_sum(float value) {
    __shared__ float part[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    value = warp_sum(value);
    if (lane == 0) part[warp] = value;
    __syncthreads();
    value = warp_sum(lane < blockDim.x / 32 ? part[lane] : 0.f);
#ifndef FAULT_NO_BARRIER_BEFORE_REUSE
    __syncthreads();
#endif
    return value;
}
extern "C" __global__ void mean_and_deviation(const float* x, float* y, int count) {
    float sum = 0, squares = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += x[blockIdx.x * count + i];
    const float mean = block_sum(sum) / count;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const float difference = x[blockIdx.x * count + i] - mean;
        squares += difference * difference;
    }
    const float deviation = sqrtf(block_sum(squares) / count);
    if (threadIdx.x == 0) {
        y[2 * blockIdx.x] = mean;
        y[2 * blockIdx.x + 1] = deviation;
    }
}
"""

TEMPLATES = r"""
template <typename T, int N> __global__ void shifted(const T* x, T* y, int count) {
    __shared__ T tile[64];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = i < count ? x[i] : T(0);
    __syncthreads();
    if (i < count) y[i] = tile[(threadIdx.x + N) % blockDim.x];
}
"""

HISTOGRAM = r"""
extern "C" __global__ void histogram(const int* x, int count, int* bins, int bin_count) {
    extern __shared__ int own[];
    for (int i = threadIdx.x; i < bin_count; i += blockDim.x) own[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
#ifdef FAULT_NOT_ATOMIC
        own[x[i]] += 1;
#else
        atomicAdd(&own[x[i]], 1);
#endif
    __syncthreads();
    for (int i = threadIdx.x; i < bin_count; i += blockDim.x) atomicAdd(&bins[i], own[i]);
}
"""

COMPACTION = r"""
extern "C" __global__ void compact(const float* x, float* y, int* count) {
    const int lane = threadIdx.x;
    const float value = x[blockIdx.x * 32 + lane];
    const unsigned kept = __ballot_sync(0xffffffffu, value > 0);
    int begin = 0;
    if (lane == 0) begin = atomicAdd(count, __popc(kept));
    begin = __shfl_sync(0xffffffffu, begin, 0);
    if (value > 0) y[begin + __popc(kept & ((1u << lane) - 1))] = value;
}
"""

PIPELINE = r"""
#include <cuda_pipeline.h>
extern "C" __global__ void staged(const float4* x, float4* y) {
    __shared__ float4 tile[32];
    __pipeline_memcpy_async(&tile[threadIdx.x], &x[threadIdx.x], sizeof(float4));
    __pipeline_commit();
#ifndef FAULT_NO_WAIT
    __pipeline_wait_prior(0);
#endif
    __syncthreads();
    y[threadIdx.x] = tile[31 - threadIdx.x];
}
"""

TENSOR_CORES = r"""
#include <cuda_fp16.h>
#include <mma.h>
using namespace nvcuda;
extern "C" __global__ void product(const __half* a, const __half* b, float* c, int n, int k) {
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> left;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> right;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    wmma::fill_fragment(sum, 0.f);
    for (int i = 0; i < k; i += 16) {
        wmma::load_matrix_sync(left, a + blockIdx.y * 16 * k + i, k);
        wmma::load_matrix_sync(right, b + i * n + blockIdx.x * 16, n);
        wmma::mma_sync(sum, left, right, sum);
    }
    wmma::store_matrix_sync(c + blockIdx.y * 16 * n + blockIdx.x * 16, sum, n, wmma::mem_row_major);
}
"""

ROTATION = r"""
#include "grid.cuh"
extern "C" __global__ void rotate(float* x, float* y, unsigned* arrivals, int steps) {
    __shared__ float sum;
    const unsigned count = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
    if (threadIdx.x == 0) sum = 0;
    for (int step = 0; step < steps; ++step) {
#ifdef FAULT_BLOCK_LEAVES
        if (step == 2 && blockIdx.x == 1) return;
#endif
#ifdef FAULT_HALF_OF_A_BLOCK
        if (threadIdx.x % 2) grid_barrier(arrivals);
#elif !defined(FAULT_NO_GRID_BARRIER)
        if (step) grid_barrier(arrivals);
#endif
        float *from = step % 2 ? y : x, *to = step % 2 ? x : y;
        to[(i + 1) % count] = from[i] + 1;
        if (threadIdx.x == 0) sum += blockIdx.x;
    }
    grid_barrier(arrivals);
    if (threadIdx.x == 0) x[count + blockIdx.x] = sum;
}
"""

DIVERGENT_BARRIER = r"""
extern "C" __global__ void divergent(int* y) {
    if (threadIdx.x < 16) __syncthreads();
    y[threadIdx.x] = threadIdx.x;
}
"""

BY_VALUE = r"""
struct Options { int count; float scale; long long offset; };
__constant__ float table[4] = {1.f, 2.f, 3.f, 4.f};
extern "C" __global__ void by_value(float* y, Options options, double shift) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < options.count) y[i] = options.scale * i + float(options.offset) + float(shift) + table[i & 3];
}
"""

HALF_PAIRS = r"""
#include <cuda_fp16.h>
extern "C" __global__ void scaled_sum(const __half2* x, __half2* y, float scale, int pairs) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < pairs) y[i] = __hfma2(x[i], __float2half2_rn(scale), y[i]);
}
"""

WRITES_AFTER = r"""
extern "C" __global__ void reversed_in_place(float* x, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) x[i] = x[count - 1 - i];
}
"""
