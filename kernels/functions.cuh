// ONNX's elementwise operators on float and double, and its shifts on integers.

#pragma once

#include "scalar.cuh"

#define FLOAT_FUNCTION(NAME, SINGLE, DOUBLE)              \
    __device__ inline float NAME(float x) { return SINGLE; } \
    __device__ inline double NAME(double x) { return DOUBLE; }

FLOAT_FUNCTION(absolute, fabsf(x), fabs(x))
FLOAT_FUNCTION(arc_cosine, acosf(x), acos(x))
FLOAT_FUNCTION(arc_sine, asinf(x), asin(x))
FLOAT_FUNCTION(arc_tangent, atanf(x), atan(x))
FLOAT_FUNCTION(cosine, cosf(x), cos(x))
FLOAT_FUNCTION(sine, sinf(x), sin(x))
FLOAT_FUNCTION(tangent, tanf(x), tan(x))
FLOAT_FUNCTION(hyperbolic_cosine, coshf(x), cosh(x))
FLOAT_FUNCTION(hyperbolic_sine, sinhf(x), sinh(x))
FLOAT_FUNCTION(hyperbolic_tangent, tanhf(x), tanh(x))
FLOAT_FUNCTION(area_cosine, acoshf(x), acosh(x))
FLOAT_FUNCTION(area_sine, asinhf(x), asinh(x))
FLOAT_FUNCTION(area_tangent, atanhf(x), atanh(x))
FLOAT_FUNCTION(square_root, sqrtf(x), sqrt(x))
FLOAT_FUNCTION(error_function, erff(x), erf(x))
FLOAT_FUNCTION(round_up, ceilf(x), ceil(x))
FLOAT_FUNCTION(round_down, floorf(x), floor(x))
FLOAT_FUNCTION(round_to_even, rintf(x), rint(x))
FLOAT_FUNCTION(exponential_less_one, expm1f(x), expm1(x))
FLOAT_FUNCTION(logarithm_of_one_more, log1pf(x), log1p(x))

__device__ inline float power(float x, float y) { return powf(x, y); }
__device__ inline double power(double x, double y) { return pow(x, y); }

// For what is then cut to an integer: `power` may be two units in the last place too small on a GPU, and 9^0.5 is not 2.
template <typename A> __device__ inline A power_to_cut(A x, A y) {
    const A result = power(x, y), whole = round_to_even(result);
    return absolute(result - whole) <= A(sizeof(A) == 4 ? 2.4e-7 : 4.5e-16) * absolute(whole) ? whole : result;
}

__device__ inline float truncated_remainder(float x, float y) { return fmodf(x, y); }
__device__ inline double truncated_remainder(double x, double y) { return fmod(x, y); }

// The remainder with the divisor's sign, which infinities have too.
template <typename A> __device__ inline A floored_remainder(A x, A y) {
    const A rest = truncated_remainder(x, y);
    if (rest == A(0)) return y < A(0) ? -A(0) : A(0);
    return (rest < A(0)) != (y < A(0)) && rest == rest ? rest + y : rest;
}

// Integers wrap; of the negative powers, which are cut to integers, those of ±1 alone are not zero, and that of 0 is the least number.
template <typename A> __device__ inline A integer_power(A x, A y) {
    if (y < A(0)) return x == A(1) ? A(1) : x == A(-1) ? (y & 1 ? A(-1) : A(1)) : x == A(0) ? A(1ull << (8 * sizeof(A) - 1)) : A(0);
    unsigned long long result = 1, square = static_cast<unsigned long long>(x);
    for (unsigned long long rest = static_cast<unsigned long long>(y); rest; rest >>= 1, square *= square)
        if (rest & 1) result *= square;
    return static_cast<A>(result);
}

// NaN wins, as in NumPy.
template <typename A> __device__ inline A maximum(A a, A b) { return a > b || a != a ? a : b; }
template <typename A> __device__ inline A minimum(A a, A b) { return a < b || a != a ? a : b; }
template <typename A> __device__ inline A clip(A x, A low, A high) { return x != x ? x : minimum(maximum(x, low), high); }

template <typename A> __device__ inline A sigmoid(A x) { return A(1) / (A(1) + exponential(-x)); }
template <typename A> __device__ inline A silu(A x) { return x * sigmoid(x); }
template <typename A> __device__ inline A quick_gelu(A x, A alpha) { return x * sigmoid(alpha * x); }
template <typename A> __device__ inline A relu(A x) { return x < A(0) ? A(0) : x; }
template <typename A> __device__ inline A leaky_relu(A x, A alpha) { return x < A(0) ? alpha * x : x; }
template <typename A> __device__ inline A thresholded_relu(A x, A alpha) { return x > alpha ? x : A(0); }
template <typename A> __device__ inline A elu(A x, A alpha) { return x < A(0) ? alpha * exponential_less_one(x) : x; }
template <typename A> __device__ inline A celu(A x, A alpha) { return maximum(x, A(0)) + minimum(alpha * exponential_less_one(x / alpha), A(0)); }
template <typename A> __device__ inline A selu(A x, A alpha, A gamma) { return x > A(0) ? gamma * x : gamma * alpha * exponential_less_one(x); }
template <typename A> __device__ inline A hard_sigmoid(A x, A alpha, A beta) { return clip(alpha * x + beta, A(0), A(1)); }
template <typename A> __device__ inline A hard_swish(A x) { return x * clip(x / A(6) + A(0.5), A(0), A(1)); }
template <typename A> __device__ inline A softplus(A x) { return maximum(x, A(0)) + logarithm_of_one_more(exponential(-absolute(x))); }
template <typename A> __device__ inline A softsign(A x) { return x / (A(1) + absolute(x)); }
template <typename A> __device__ inline A mish(A x) { return x * hyperbolic_tangent(softplus(x)); }
template <typename A> __device__ inline A sign(A x) { return x != x ? x : A((x > A(0)) - (x < A(0))); }
template <typename A> __device__ inline A gelu(A x) { return A(0.5) * x * (A(1) + error_function(x * A(0.70710678118654752440))); }
template <typename A> __device__ inline A gelu_tanh(A x) {
    return A(0.5) * x * (A(1) + hyperbolic_tangent(A(0.79788456080286535588) * (x + A(0.044715) * x * x * x)));
}
template <typename A> __device__ inline A shrink(A x, A bias, A lambda) { return x < -lambda ? x + bias : x > lambda ? x - bias : A(0); }

// By a negative count, or by the whole width and more, all bits are shifted out; to the right, the sign stays. C++ leaves these undefined.
template <typename A> __device__ inline bool shifts_all_bits(A count) { return static_cast<unsigned long long>(count) >= 8 * sizeof(A); }
template <typename A> __device__ inline A shift_left(A x, A count) {
    return shifts_all_bits(count) ? A(0) : A(static_cast<unsigned long long>(x) << count);
}
template <typename A> __device__ inline A shift_right(A x, A count) {
    return shifts_all_bits(count) ? A(x >> (8 * sizeof(A) - 1) >> 1) : A(x >> count);
}
