// Four products of 8-bit integers at once, where the words `a` and `b` hold four each: c + a0 b0 + a1 b1 + a2 b2 + a3 b3, which wraps around.

#pragma once

__device__ inline int add_four_products(int a, int b, int c) {
#ifdef ONNXGPU_EMULATED_DEVICE
    unsigned sum = c;
    for (int shift = 0; shift < 32; shift += 8) sum += static_cast<signed char>(a >> shift) * static_cast<signed char>(b >> shift);
    return static_cast<int>(sum);
#else
    return __dp4a(a, b, c);
#endif
}
