// Conversion between any two element types, as the CPU provider's Cast does it.
//
//   wide(x)               the value, exactly, as float, double, long long or unsigned long long
//   convert<T>(w, how)    a wide value as T: rounded half to even; integers keep their low bits
//
// A float outside an integer type's range has no defined result; these are x86's: the least int32 or int64, cut to the type.
// What becomes a float of at most a byte, or bfloat16, is a float on the way, and integers that become float16 are, too, as in NumPy
// and `ml_dtypes`; integers that become an 8-bit float are double before.

#pragma once

#include "narrow.cuh"
#include "scalar.cuh"

struct Conversion {
    bool saturate;
    int rounding;
};

__device__ inline float wide(float x) { return x; }
__device__ inline double wide(double x) { return x; }
__device__ inline float wide(__half x) { return __half2float(x); }
__device__ inline float wide(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline long long wide(signed char x) { return x; }
__device__ inline long long wide(short x) { return x; }
__device__ inline long long wide(int x) { return x; }
__device__ inline long long wide(long long x) { return x; }
__device__ inline long long wide(bool x) { return x; }
__device__ inline long long wide(unsigned char x) { return x; }
__device__ inline long long wide(unsigned short x) { return x; }
__device__ inline long long wide(unsigned int x) { return x; }
__device__ inline unsigned long long wide(unsigned long long x) { return x; }
template <int e, int m, int b, Special s> __device__ inline float wide(SmallFloat<e, m, b, s> x) { return x.decode(); }
template <int w, bool s> __device__ inline long long wide(SmallInteger<w, s> x) { return x.decode(); }
__device__ inline float wide(PowerOfTwo x) { return x.decode(); }

template <typename T> struct IsFloating { static constexpr bool value = false; };
template <> struct IsFloating<float> { static constexpr bool value = true; };
template <> struct IsFloating<double> { static constexpr bool value = true; };

__device__ inline long long truncated_32(double x) { return x > -2147483649.0 && x < 2147483648.0 ? static_cast<int>(x) : -2147483647 - 1; }
__device__ inline long long truncated_64(double x) {
    return x >= -9223372036854775808.0 && x < 9223372036854775808.0 ? static_cast<long long>(x) : static_cast<long long>(1ull << 63);
}

template <typename T> struct Converter {  // integers of up to 32 bits
    template <typename W> static __device__ T of(W x, Conversion) {
        if constexpr (IsFloating<W>::value) return static_cast<T>(sizeof(T) == 4 && T(-1) > T(0) ? truncated_64(x) : truncated_32(x));
        else return static_cast<T>(x);
    }
};
template <> struct Converter<long long> {
    template <typename W> static __device__ long long of(W x, Conversion) {
        if constexpr (IsFloating<W>::value) return truncated_64(x);
        else return static_cast<long long>(x);
    }
};
template <> struct Converter<unsigned long long> {
    template <typename W> static __device__ unsigned long long of(W x, Conversion) {
        if constexpr (IsFloating<W>::value) {
            const double value = x;
            if (value >= 9223372036854775808.0)
                return value < 18446744073709551616.0 ? static_cast<unsigned long long>(value) : 0ull;
            return static_cast<unsigned long long>(truncated_64(value));
        } else {
            return static_cast<unsigned long long>(x);
        }
    }
};
template <> struct Converter<bool> {
    template <typename W> static __device__ bool of(W x, Conversion) { return x != W(0); }
};
template <> struct Converter<float> {
    template <typename W> static __device__ float of(W x, Conversion) { return static_cast<float>(x); }
};
template <> struct Converter<double> {
    template <typename W> static __device__ double of(W x, Conversion) { return static_cast<double>(x); }
};
template <> struct Converter<__half> {
    static __device__ __half of(double x, Conversion) { return __double2half(x); }
    template <typename W> static __device__ __half of(W x, Conversion) { return __float2half_rn(static_cast<float>(x)); }
};
template <> struct Converter<__nv_bfloat16> {
    template <typename W> static __device__ __nv_bfloat16 of(W x, Conversion) { return __float2bfloat16_rn(static_cast<float>(x)); }
};
template <int e, int m, int b, Special s> struct Converter<SmallFloat<e, m, b, s>> {
    using T = SmallFloat<e, m, b, s>;
    template <typename W> static __device__ T of(W x, Conversion how) {
        if constexpr (IsFloating<W>::value || s == Special::none) return T::encode(static_cast<float>(x), how.saturate);
        else return T::encode(static_cast<float>(static_cast<double>(x)), how.saturate);
    }
};
template <> struct Converter<PowerOfTwo> {
    template <typename W> static __device__ PowerOfTwo of(W x, Conversion how) {
        return PowerOfTwo::encode(static_cast<float>(x), how.saturate, how.rounding);
    }
};
template <int w, bool s> struct Converter<SmallInteger<w, s>> {
    using T = SmallInteger<w, s>;
    template <typename W> static __device__ T of(W x, Conversion) {
        if constexpr (IsFloating<W>::value) return T::encode(truncated_32(x));
        else return T::encode(static_cast<long long>(x));
    }
};

template <typename T, typename W> __device__ inline T convert(W value, Conversion how) { return Converter<T>::of(value, how); }
