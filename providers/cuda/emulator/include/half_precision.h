// What cuda_fp16.h and cuda_bf16.h declare for devices alone. Results are those of float32, rounded once.
#pragma once

#define EMULATED_HALF_FUNCTION(NAME, RESULT)                                                                                   \
    inline __half h##NAME(__half value) { const float x = __half2float(value); return __float2half_rn(RESULT); }                \
    inline __half2 h2##NAME(__half2 pair) { return __halves2half2(h##NAME(__low2half(pair)), h##NAME(__high2half(pair))); }      \
    inline __nv_bfloat16 h##NAME(__nv_bfloat16 value) { const float x = __bfloat162float(value); return __float2bfloat16_rn(RESULT); } \
    inline __nv_bfloat162 h2##NAME(__nv_bfloat162 pair) {                                                                      \
        return __halves2bfloat162(h##NAME(__low2bfloat16(pair)), h##NAME(__high2bfloat16(pair)));                               \
    }

EMULATED_HALF_FUNCTION(exp, ::expf(x))
EMULATED_HALF_FUNCTION(exp2, ::exp2f(x))
EMULATED_HALF_FUNCTION(exp10, ::exp10f(x))
EMULATED_HALF_FUNCTION(log, ::logf(x))
EMULATED_HALF_FUNCTION(log2, ::log2f(x))
EMULATED_HALF_FUNCTION(log10, ::log10f(x))
EMULATED_HALF_FUNCTION(sqrt, ::sqrtf(x))
EMULATED_HALF_FUNCTION(rsqrt, 1.f / ::sqrtf(x))
EMULATED_HALF_FUNCTION(rcp, 1.f / x)
EMULATED_HALF_FUNCTION(sin, ::sinf(x))
EMULATED_HALF_FUNCTION(cos, ::cosf(x))
EMULATED_HALF_FUNCTION(tanh, ::tanhf(x))
EMULATED_HALF_FUNCTION(floor, ::floorf(x))
EMULATED_HALF_FUNCTION(ceil, ::ceilf(x))
EMULATED_HALF_FUNCTION(rint, ::rintf(x))
EMULATED_HALF_FUNCTION(trunc, ::truncf(x))

// A product of two 11-bit numbers is exact in double, so one rounding is left.
inline __half __hfma(__half a, __half b, __half c) {
    return __float2half_rn(static_cast<float>(static_cast<double>(__half2float(a)) * __half2float(b) + __half2float(c)));
}
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
    return __halves2half2(__hfma(__low2half(a), __low2half(b), __low2half(c)), __hfma(__high2half(a), __high2half(b), __high2half(c)));
}
inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c) {
    return __float2bfloat16_rn(static_cast<float>(static_cast<double>(__bfloat162float(a)) * __bfloat162float(b) + __bfloat162float(c)));
}
inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c) {
    return __halves2bfloat162(
        __hfma(__low2bfloat16(a), __low2bfloat16(b), __low2bfloat16(c)), __hfma(__high2bfloat16(a), __high2bfloat16(b), __high2bfloat16(c))
    );
}
