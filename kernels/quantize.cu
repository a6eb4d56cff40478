// QuantizeLinear and DequantizeLinear: one scale a tensor, a channel or a block.
//
//   x, y                    [outer, channels, inner], dense
//   scale, zero             laid out as `by` says; zero may be null
//   scale_kind, precision   ONNX's numbers of the scale's type and of the one in which is divided
//   launch                  any number of blocks and threads; 16 bytes a thread where neighbours share a scale
//
// Integers of all widths share a kernel for each size of an element in memory. Everything is computed in float32; a quotient in float16
// or bfloat16 is rounded to it.

#include "quantize.cuh"

struct Divisor {
    float scale;
    int precision;

    template <typename S> __device__ float quotient(S value) const {
        return rounded_to(rounded_to(static_cast<float>(wide(value)), precision) / scale, precision);
    }
};

__device__ inline Divisor load_divisor(const void* scale, int scale_kind, int precision, long long i) {
    return {rounded_to(load_scale(scale, scale_kind, i), precision), precision};
}

template <typename S, int bytes>
__global__ void __launch_bounds__(256) quantize_to_integers(
    const S* x, const void* scale, const void* zero, void* y, Granularity by, int scale_kind, int precision, int bits, bool is_signed,
    long long count
) {
    using U = unit_t<bytes>;
    const IntegerType type{bits, is_signed};
    transform_with_scales(x, static_cast<U*>(y), by, count, [=](long long k) {
        const Divisor divisor = load_divisor(scale, scale_kind, precision, k);
        const float offset = zero ? static_cast<float>(type.decode(static_cast<const U*>(zero)[k])) : 0.0f;
        return [=](S value) { return static_cast<U>(type.quantized(divisor.quotient(value), offset)); };
    });
}

template <typename S, typename T>
__global__ void __launch_bounds__(256) quantize_to_floats(
    const S* x, const void* scale, const T* zero, T* y, Granularity by, int scale_kind, int precision, bool saturate, long long count
) {
    transform_with_scales(x, y, by, count, [=](long long k) {
        const Divisor divisor = load_divisor(scale, scale_kind, precision, k);
        const float offset = zero ? wide(zero[k]) : 0.0f;
        return [=](S value) { return convert<T>(divisor.quotient(value) + offset, Conversion{saturate, ROUND_UP}); };
    });
}

template <int bytes, typename T>
__global__ void __launch_bounds__(256) dequantize_integers(
    const void* x, const void* scale, const void* zero, T* y, Granularity by, int scale_kind, int bits, bool is_signed, long long count
) {
    using U = unit_t<bytes>;
    const IntegerType type{bits, is_signed};
    transform_with_scales(static_cast<const U*>(x), y, by, count, [=](long long k) {
        const float factor = load_scale(scale, scale_kind, k);
        const float offset = zero ? static_cast<float>(type.decode(static_cast<const U*>(zero)[k])) : 0.0f;
        return [=](U value) { return narrow<T>((static_cast<float>(type.decode(value)) - offset) * factor); };
    });
}

template <typename S, typename T>
__global__ void __launch_bounds__(256) dequantize_floats(
    const S* x, const void* scale, const S* zero, T* y, Granularity by, int scale_kind, long long count
) {
    transform_with_scales(x, y, by, count, [=](long long k) {
        const float factor = load_scale(scale, scale_kind, k), offset = zero ? wide(zero[k]) : 0.0f;
        return [=](S value) { return narrow<T>((wide(value) - offset) * factor); };
    });
}
