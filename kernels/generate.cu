// Arrays made of nothing, or nearly.
//
//   fill         one element all over: `pattern` is 16 bytes of it
//   range        start + i * step; float16 and bfloat16 in float32, rounded twice and then once
//   diagonal     `one` where column = row + k of a matrix, 0 elsewhere
//   triangle     x where column >= row + k (upper) or column <= row + k (lower), 0 elsewhere
//   one_hot      values[1] where the place along `depth` is the index, counted from the back below 0; values[0] elsewhere
//   launch       any number of blocks and threads

#include "indices.cuh"
#include "scalar.cuh"
#include "unit.cuh"

__global__ void __launch_bounds__(256) fill(SixteenBytes* y, SixteenBytes pattern, long long bytes) {
    const long long vectors = bytes / VECTOR_BYTES;
    for_each_index(vectors, [&](long long i) { store_unit(y + i, pattern); });
    const unsigned char* element = reinterpret_cast<const unsigned char*>(&pattern);
    unsigned char* rest = reinterpret_cast<unsigned char*>(y + vectors);
    for_each_index(bytes % VECTOR_BYTES, [&](long long i) { rest[i] = element[i]; });
}

__device__ inline float step_from(float start, float step, long long i) { return __fadd_rn(__fmul_rn(static_cast<float>(i), step), start); }
__device__ inline double step_from(double start, double step, long long i) { return __dadd_rn(__dmul_rn(static_cast<double>(i), step), start); }

template <typename T> __global__ void __launch_bounds__(256) float_range(T* y, double start, double step, long long count) {
    using A = accumulator_t<T>;
    for_each_index(count, [=](long long i) { y[i] = narrow<T>(step_from(static_cast<A>(start), static_cast<A>(step), i)); });
}

template <typename T> __global__ void __launch_bounds__(256) integer_range(T* y, long long start, long long step, long long count) {
    for_each_index(count, [=](long long i) { y[i] = static_cast<T>(start + i * step); });
}

template <int bytes>
__global__ void __launch_bounds__(256) diagonal(void* y, long long columns, long long k, SixteenBytes one, long long count) {
    using U = unit_t<bytes>;
    U value;
    memcpy(&value, &one, sizeof value);
    for_each_unit(count, [&](auto i) {
        const long long row = i / static_cast<decltype(i)>(columns), column = i % static_cast<decltype(i)>(columns);
        store_unit(static_cast<U*>(y) + i, column == row + k ? value : U{});
    });
}

template <int bytes>
__global__ void __launch_bounds__(256) triangle(
    const void* x, void* y, bool is_upper, long long rows, long long columns, long long k, long long count
) {
    using U = unit_t<bytes>;
    for_each_unit(count, [&](auto i) {
        using Index = decltype(i);
        const long long column = i % static_cast<Index>(columns), limit = i / static_cast<Index>(columns) % static_cast<Index>(rows) + k;
        const bool is_kept = is_upper ? column >= limit : column <= limit;
        store_unit(static_cast<U*>(y) + i, is_kept ? load_unit(static_cast<const U*>(x) + i) : U{});
    });
}

template <int bytes>
__global__ void __launch_bounds__(256) one_hot(
    const void* indices, const void* values, void* y, bool is_float, bool is_wide, long long depth, long long inner, long long count
) {
    using U = unit_t<bytes>;
    const U off = load_unit(static_cast<const U*>(values)), on = load_unit(static_cast<const U*>(values) + 1);
    for_each_unit(count, [&](auto i) {
        using Index = decltype(i);
        const Index row = i / static_cast<Index>(inner), place = row % static_cast<Index>(depth);
        const long long from = static_cast<long long>(row / static_cast<Index>(depth)) * inner + i % static_cast<Index>(inner);
        const long long index = is_float ? static_cast<long long>(static_cast<const float*>(indices)[from]) : load_index(indices, is_wide, from);
        store_unit(static_cast<U*>(y) + i, position(index, depth) == static_cast<long long>(place) ? on : off);
    });
}
