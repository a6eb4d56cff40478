// What QuantizeLinear and its relatives share: where the scale of an element lies, integer types, and packs of elements.

#pragma once

#include "convert.cuh"
#include "functions.cuh"
#include "unit.cuh"

// x [outer, channels, inner]; blocks of `block` channels have one scale. Strides of scale and zero point are 0 where one is for all.
struct Granularity {
    long long channels, inner, block;
    long long outer_step, channel_step, inner_step;
    long long run;  // as many neighbours always have one scale

    __device__ long long parameter(long long i) const {
        if ((outer_step | channel_step | inner_step) == 0) return 0;
        const long long row = i / inner, channel = row % channels;
        return row / channels * outer_step + channel / block * channel_step + i % inner * inner_step;
    }
};

// An integer type of up to 32 bits, known at run time: its elements are the low bits of bytes, shorts or ints.
struct IntegerType {
    int bits;
    bool is_signed;

    __device__ int decode(unsigned stored) const {
        const unsigned shifted = stored << (32 - bits);
        return is_signed ? static_cast<int>(shifted) >> (32 - bits) : static_cast<int>(shifted >> (32 - bits));
    }
    __device__ unsigned encode(int value) const { return static_cast<unsigned>(value) & (0xffffffffu >> (32 - bits)); }
    __device__ float least() const { return is_signed ? -static_cast<float>(1u << (bits - 1)) : 0.0f; }
    __device__ float greatest() const { return static_cast<float>((1u << (is_signed ? bits - 1 : bits)) - 1); }

    // Rounded half to even, shifted, and held in the type's range; NaN becomes the least integer.
    __device__ unsigned quantized(float quotient, float zero) const {
        const float shifted = round_to_even(quotient) + zero, raised = shifted >= least() ? shifted : least();
        return encode(static_cast<int>(raised <= greatest() ? raised : greatest()));
    }
};

// A scale of the type with ONNX's number `kind`.
__device__ inline float load_scale(const void* scale, int kind, long long i) {
    switch (kind) {
        case 10: return wide(static_cast<const __half*>(scale)[i]);
        case 16: return wide(static_cast<const __nv_bfloat16*>(scale)[i]);
        case 24: return wide(static_cast<const PowerOfTwo*>(scale)[i]);
        default: return static_cast<const float*>(scale)[i];
    }
}

// As the type with ONNX's number `kind` holds it.
__device__ inline float rounded_to(float value, int kind) {
    if (kind == 10) return wide(narrow<__half>(value));
    return kind == 16 ? wide(narrow<__nv_bfloat16>(value)) : value;
}

// As many elements as 16 bytes of the wider type hold: one access for each of the two arrays.
template <typename T, int width> struct alignas(width * sizeof(T)) Pack {
    T element[width];
};

template <typename T, int width> __device__ inline bool is_pack_aligned(const T* pointer) {
    return reinterpret_cast<Address>(pointer) % (width * sizeof(T)) == 0;
}

template <typename T, int width> __device__ inline Pack<T, width> load_pack(const T* pointer) {
    if constexpr (sizeof(Pack<T, width>) == VECTOR_BYTES) { REQUIRE_VECTOR_ALIGNMENT(pointer); }
    return *reinterpret_cast<const Pack<T, width>*>(pointer);
}

template <typename T, int width> __device__ inline void store_pack(T* pointer, const Pack<T, width>& pack) {
    if constexpr (sizeof(Pack<T, width>) == VECTOR_BYTES) { REQUIRE_VECTOR_ALIGNMENT(pointer); }
    *reinterpret_cast<Pack<T, width>*>(pointer) = pack;
}

// y[i] = function(parameters(k))(x[i]), k being the number of the scale of element i, which neighbours share where they can.
template <typename S, typename D, typename Parameters>
__device__ inline void transform_with_scales(const S* x, D* y, const Granularity& by, long long count, Parameters parameters) {
    constexpr int width = VECTOR_BYTES / (sizeof(S) > sizeof(D) ? sizeof(S) : sizeof(D));
    const bool is_packed = by.run % width == 0 && is_pack_aligned<S, width>(x) && is_pack_aligned<D, width>(y);
    const long long packs = is_packed ? count / width : 0;
    for_each_index(packs, [&](long long pack) {
        const auto function = parameters(by.parameter(pack * width));
        const Pack<S, width> in = load_pack<S, width>(x + pack * width);
        Pack<D, width> out;
#pragma unroll
        for (int k = 0; k < width; ++k) out.element[k] = function(in.element[k]);
        store_pack<D, width>(y + pack * width, out);
    });
    const long long done = packs * width;
    for_each_index(count - done, [&](long long i) { y[done + i] = parameters(by.parameter(done + i))(x[done + i]); });
}
