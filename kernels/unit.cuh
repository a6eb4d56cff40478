// Elements by their size: kernels that only move them do not ask what they mean.
//
// A unit is an element, or several neighbours that move together, of 1, 2, 4, 8 or 16 bytes.

#pragma once

#include "vector.cuh"

struct alignas(VECTOR_BYTES) SixteenBytes {
    unsigned long long low, high;
};

template <int bytes> struct Unit;
template <> struct Unit<1> { using type = unsigned char; };
template <> struct Unit<2> { using type = unsigned short; };
template <> struct Unit<4> { using type = unsigned int; };
template <> struct Unit<8> { using type = unsigned long long; };
template <> struct Unit<16> { using type = SixteenBytes; };
template <int bytes> using unit_t = typename Unit<bytes>::type;

template <typename U> __device__ inline U load_unit(const U* pointer) {
    if constexpr (sizeof(U) == VECTOR_BYTES) { REQUIRE_VECTOR_ALIGNMENT(pointer); }
    return *pointer;
}

template <typename U> __device__ inline void store_unit(U* pointer, const U& value) {
    if constexpr (sizeof(U) == VECTOR_BYTES) { REQUIRE_VECTOR_ALIGNMENT(pointer); }
    *pointer = value;
}

// function(i) for each i of [0, count), shared among all threads; i is of 32 bits where that is enough, since dividing 64 bits is slow.
template <typename Function> __device__ inline void for_each_unit(long long count, Function function) {
    if (count < 1ll << 31) {
        const unsigned last = static_cast<unsigned>(count), step = gridDim.x * blockDim.x;
        for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < last; i += step) function(i);
    } else {
        for_each_index(count, function);
    }
}
