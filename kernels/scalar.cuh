// Element types: what they are summed in, and how they are read and written.
//
// float16 and bfloat16 are computed in float32 and rounded once, when they are stored.

#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename T> struct Accumulator { using type = T; };
template <> struct Accumulator<__half> { using type = float; };
template <> struct Accumulator<__nv_bfloat16> { using type = float; };
template <typename T> using accumulator_t = typename Accumulator<T>::type;

template <typename T> __device__ inline accumulator_t<T> widen(T value) { return value; }
template <> __device__ inline float widen<__half>(__half value) { return __half2float(value); }
template <> __device__ inline float widen<__nv_bfloat16>(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T> __device__ inline T narrow(accumulator_t<T> value) { return value; }
template <> __device__ inline __half narrow<__half>(float value) { return __float2half_rn(value); }
template <> __device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float value) { return __float2bfloat16_rn(value); }

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float logarithm(float x) { return logf(x); }
__device__ inline double logarithm(double x) { return log(x); }
__device__ inline float inverse_root(float x) { return rsqrtf(x); }
__device__ inline double inverse_root(double x) { return rsqrt(x); }

template <typename A> __device__ inline A infinity();
template <> __device__ inline float infinity<float>() { return __int_as_float(0x7f800000); }
template <> __device__ inline double infinity<double>() { return __longlong_as_double(0x7ff0000000000000LL); }
