// Unsigned keys in the order of elements: NaN is greatest, and the two zeros are one.

#pragma once

#include "scalar.cuh"

template <typename T> struct OrderKey { using type = unsigned; };
template <> struct OrderKey<double> { using type = unsigned long long; };
template <> struct OrderKey<long long> { using type = unsigned long long; };
template <> struct OrderKey<unsigned long long> { using type = unsigned long long; };
template <typename T> using order_key_t = typename OrderKey<T>::type;

__device__ inline unsigned key_of(unsigned x) { return x; }
__device__ inline unsigned key_of(int x) { return static_cast<unsigned>(x) ^ 0x80000000u; }
__device__ inline unsigned long long key_of(unsigned long long x) { return x; }
__device__ inline unsigned long long key_of(long long x) { return static_cast<unsigned long long>(x) ^ 1ull << 63; }
__device__ inline unsigned key_of(bool x) { return x; }
__device__ inline unsigned key_of(unsigned char x) { return x; }
__device__ inline unsigned key_of(unsigned short x) { return x; }
__device__ inline unsigned key_of(signed char x) { return key_of(static_cast<int>(x)); }
__device__ inline unsigned key_of(short x) { return key_of(static_cast<int>(x)); }
__device__ inline unsigned key_of(float x) {
    if (x != x) return ~0u;
    const unsigned bits = __float_as_uint(x == 0.0f ? 0.0f : x);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ inline unsigned long long key_of(double x) {
    if (x != x) return ~0ull;
    const unsigned long long bits = __double_as_longlong(x == 0.0 ? 0.0 : x);
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}
__device__ inline unsigned key_of(__half x) { return key_of(__half2float(x)); }
__device__ inline unsigned key_of(__nv_bfloat16 x) { return key_of(__bfloat162float(x)); }
