// Cast of every element to another type.
//
//   x, y        [count]
//   target      ONNX's number of y's element type
//   saturate    holds conversions to 8-bit floats within the type's range; rounding is float8e8m0's
//   launch      any number of blocks and threads; 16-byte loads and stores where both types have one size of two bytes or more
//
// One instance a source type, with a loop for each target: the choice is made once, not for each element. Loops over bytes are not
// unrolled: sixteen conversions in each would take the compiler seconds.

#include "convert.cuh"
#include "vector.cuh"

template <typename S, typename D> __device__ inline void cast_all(const S* x, void* y, long long count, Conversion how) {
    D* target = static_cast<D*>(y);
    const auto function = [=](S value) { return convert<D>(wide(value), how); };
    if constexpr (sizeof(S) == sizeof(D) && sizeof(S) > 1) transform(x, target, count, function);
    else for_each_index(count, [=](long long i) { target[i] = function(x[i]); });
}

template <typename S>
__global__ void __launch_bounds__(256) cast_elements(const S* x, void* y, int target, bool saturate, int rounding, long long count) {
    const Conversion how{saturate, rounding};
    switch (target) {
        case 1: return cast_all<S, float>(x, y, count, how);
        case 2: return cast_all<S, unsigned char>(x, y, count, how);
        case 3: return cast_all<S, signed char>(x, y, count, how);
        case 4: return cast_all<S, unsigned short>(x, y, count, how);
        case 5: return cast_all<S, short>(x, y, count, how);
        case 6: return cast_all<S, int>(x, y, count, how);
        case 7: return cast_all<S, long long>(x, y, count, how);
        case 9: return cast_all<S, bool>(x, y, count, how);
        case 10: return cast_all<S, __half>(x, y, count, how);
        case 11: return cast_all<S, double>(x, y, count, how);
        case 12: return cast_all<S, unsigned int>(x, y, count, how);
        case 13: return cast_all<S, unsigned long long>(x, y, count, how);
        case 16: return cast_all<S, __nv_bfloat16>(x, y, count, how);
        case 17: return cast_all<S, Float8E4M3FN>(x, y, count, how);
        case 18: return cast_all<S, Float8E4M3FNUZ>(x, y, count, how);
        case 19: return cast_all<S, Float8E5M2>(x, y, count, how);
        case 20: return cast_all<S, Float8E5M2FNUZ>(x, y, count, how);
        case 21: return cast_all<S, UInt4>(x, y, count, how);
        case 22: return cast_all<S, Int4>(x, y, count, how);
        case 23: return cast_all<S, Float4E2M1>(x, y, count, how);
        case 24: return cast_all<S, PowerOfTwo>(x, y, count, how);
        case 25: return cast_all<S, UInt2>(x, y, count, how);
        case 26: return cast_all<S, Int2>(x, y, count, how);
    }
}
