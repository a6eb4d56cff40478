// Loads with cache hints, bit casts, integer and floating-point intrinsics. Fast approximations are exact here.
#pragma once

template <typename T> EMULATED_INLINE T __ldg(const T* pointer) { return *pointer; }
template <typename T> EMULATED_INLINE T __ldcg(const T* pointer) { return *pointer; }
template <typename T> EMULATED_INLINE T __ldcs(const T* pointer) { return *pointer; }
template <typename T> EMULATED_INLINE T __ldca(const T* pointer) { return *pointer; }
template <typename T> EMULATED_INLINE void __stcs(T* pointer, T value) { *pointer = value; }
template <typename T> EMULATED_INLINE void __stcg(T* pointer, T value) { *pointer = value; }
template <typename T> EMULATED_INLINE void __stwt(T* pointer, T value) { *pointer = value; }

template <typename To, typename From> EMULATED_INLINE To emulated_bits(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}
inline int __float_as_int(float x) { return emulated_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
inline float __int_as_float(int x) { return emulated_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulated_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulated_bits<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1u) << (31 - bit);
    return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>((static_cast<long long>(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline long long __mul64hi(long long a, long long b) { return static_cast<long long>((static_cast<__int128>(a) * b) >> 64); }
inline int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) c += static_cast<signed char>(a >> 8 * i) * static_cast<signed char>(b >> 8 * i);
    return c;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 4; ++i) c += (a >> 8 * i & 0xff) * (b >> 8 * i & 0xff);
    return c;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const unsigned long long bytes = static_cast<unsigned long long>(high) << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
    return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (shift & 31));
}

#define EMULATED_FLOAT_FUNCTION(NAME, RESULT) inline float NAME(float x) { return RESULT; }
EMULATED_FLOAT_FUNCTION(__expf, ::expf(x))
EMULATED_FLOAT_FUNCTION(__exp10f, ::exp10f(x))
EMULATED_FLOAT_FUNCTION(__logf, ::logf(x))
EMULATED_FLOAT_FUNCTION(__log2f, ::log2f(x))
EMULATED_FLOAT_FUNCTION(__log10f, ::log10f(x))
EMULATED_FLOAT_FUNCTION(__sinf, ::sinf(x))
EMULATED_FLOAT_FUNCTION(__cosf, ::cosf(x))
EMULATED_FLOAT_FUNCTION(__tanf, ::tanf(x))
EMULATED_FLOAT_FUNCTION(__tanhf, ::tanhf(x))
EMULATED_FLOAT_FUNCTION(rsqrtf, 1.f / ::sqrtf(x))
EMULATED_FLOAT_FUNCTION(__frsqrt_rn, 1.f / ::sqrtf(x))
EMULATED_FLOAT_FUNCTION(__frcp_rn, 1.f / x)
EMULATED_FLOAT_FUNCTION(__fsqrt_rn, ::sqrtf(x))
EMULATED_FLOAT_FUNCTION(__saturatef, x > 0.f ? (x < 1.f ? x : 1.f) : 0.f)
EMULATED_FLOAT_FUNCTION(rcbrtf, 1.f / ::cbrtf(x))
EMULATED_FLOAT_FUNCTION(sinpif, static_cast<float>(::sin(x * 3.14159265358979323846)))
EMULATED_FLOAT_FUNCTION(cospif, static_cast<float>(::cos(x * 3.14159265358979323846)))
EMULATED_FLOAT_FUNCTION(normcdff, 0.5f * ::erfcf(-x * 0.70710678f))
inline double rsqrt(double x) { return 1.0 / ::sqrt(x); }
inline double normcdf(double x) { return 0.5 * ::erfc(-x * 0.70710678118654752440); }
inline double sinpi(double x) { return ::sin(x * 3.14159265358979323846); }
inline double cospi(double x) { return ::cos(x * 3.14159265358979323846); }
inline float __powf(float a, float b) { return ::powf(a, b); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
// The _rn forms forbid contraction into a fused multiply-add: the value has to pass through memory.
inline float __fadd_rn(float a, float b) { volatile float sum = a + b; return sum; }
inline float __fsub_rn(float a, float b) { volatile float difference = a - b; return difference; }
inline float __fmul_rn(float a, float b) { volatile float product = a * b; return product; }
inline float __fmaf_rn(float a, float b, float c) { return ::fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { volatile double sum = a + b; return sum; }
inline double __dmul_rn(double a, double b) { volatile double product = a * b; return product; }
inline void __sincosf(float x, float* sine, float* cosine) { *sine = ::sinf(x); *cosine = ::cosf(x); }
inline int __float2int_rn(float x) { return static_cast<int>(::rintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(::floorf(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(::ceilf(x)); }
inline long long __float2ll_rn(float x) { return static_cast<long long>(::rintf(x)); }
inline int __double2int_rn(double x) { return static_cast<int>(::rint(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

#define EMULATED_MINMAX(T)                              \
    inline T min(T a, T b) { return b < a ? b : a; }     \
    inline T max(T a, T b) { return a < b ? b : a; }
EMULATED_MINMAX(int)
EMULATED_MINMAX(unsigned)
EMULATED_MINMAX(long)
EMULATED_MINMAX(unsigned long)
EMULATED_MINMAX(long long)
EMULATED_MINMAX(unsigned long long)
inline float min(float a, float b) { return ::fminf(a, b); }
inline float max(float a, float b) { return ::fmaxf(a, b); }
inline double min(double a, double b) { return ::fmin(a, b); }
inline double max(double a, double b) { return ::fmax(a, b); }
using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;
