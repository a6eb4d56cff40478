// Products of small matrices by the lanes of a warp together, on tensor cores where the GPU has them for the type.
//
// Lane l has of the rows g = l / 4 and g + 8, and of the columns from 2 (l % 4) on:
//   a   16 × 16: [0] row g, columns c and c + 1; [1] row g + 8; [2] and [3] the same 8 columns later; 2 elements a register
//   b   16 × 8 as columns of depth: [0] depths c and c + 1 of column g; [1] 8 depths later
//   c   16 × 8: [0], [1] row g, columns c and c + 1; [2], [3] row g + 8
// Source: https://docs.nvidia.com/cuda/parallel-thread-execution/#warp-level-matrix-fragment-mma-16816-float

#pragma once

#include "scalar.cuh"

template <typename T> struct Pair {
    T low, high;
};

template <typename T> __device__ inline unsigned pack(T low, T high) {
    const Pair<T> pair = {low, high};
    return *reinterpret_cast<const unsigned*>(&pair);
}

template <typename T> __device__ inline float product_of_pairs(unsigned a, unsigned b) {
    const Pair<T> left = *reinterpret_cast<const Pair<T>*>(&a), right = *reinterpret_cast<const Pair<T>*>(&b);
    return widen(left.low) * widen(right.low) + widen(left.high) * widen(right.high);
}

// For GPUs without tensor cores for T, and for the emulated device.
template <typename T> __device__ inline void multiply_by_lanes(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    const int lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;
#pragma unroll 1
    for (int k = 0; k < 4; ++k) {
        unsigned of_rows[4];
        for (int n = 0; n < 4; ++n) of_rows[n] = __shfl_sync(0xffffffffu, a[n], row * 4 + k);
        for (int n = 0; n < 4; ++n) {
            const unsigned of_column = __shfl_sync(0xffffffffu, b[n / 2], (column + n % 2) * 4 + k);
            c[n % 2] += product_of_pairs<T>(of_rows[n / 2 * 2], of_column);
            c[2 + n % 2] += product_of_pairs<T>(of_rows[n / 2 * 2 + 1], of_column);
        }
    }
}

// c += a b; all lanes of the warp take part.
template <typename T> __device__ inline void multiply_fragments(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

#if !defined(ONNXGPU_EMULATED_DEVICE) && __CUDA_ARCH__ >= 800

template <> __device__ inline void multiply_fragments<__half>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <> __device__ inline void multiply_fragments<__nv_bfloat16>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

template <> __device__ inline void multiply_fragments<__half>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if !defined(ONNXGPU_EMULATED_DEVICE) && __CUDA_ARCH__ >= 750
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#else
    multiply_by_lanes<__half>(c, a, b);
#endif
}
template <> __device__ inline void multiply_fragments<__nv_bfloat16>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply_by_lanes<__nv_bfloat16>(c, a, b);
}

#endif
