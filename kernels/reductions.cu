// Reductions of a tensor over some of its axes: sums, means, extrema, products and norms.
//
//   x         [outer, first, middle, second, inner], reduced over `first` and `second`: count = first · second elements a result
//   y         [outer, middle, inner]
//   shift     [outer, middle, inner], the greatest elements, for ReduceLogSumExp; null for the others
//   parts     [outer · middle · inner, gridDim.y] or null: with it each block reduces `span` elements and a second launch,
//             combine_parts, finishes; without it gridDim.y is 1 and the result is finished at once
//   launch    reduce_rows, for inner = 1: enough blocks of teams of threads, a row a team, as rows.cuh says
//             reduce_columns: gridDim.x any, blocks of (x, y) threads, x · y <= COLUMN_THREADS: x results, each by y threads
//             combine_parts: gridDim.x any, blocks of one warp
//
// Integers are reduced in 64 bits, float16 and bfloat16 in float32. The order of additions depends on sizes alone.

#include "functions.cuh"
#include "reduce.cuh"
#include "reductions.cuh"
#include "rows.cuh"

constexpr int TEAM_THREADS = 512, COLUMN_THREADS = 256;

struct Shape {
    long long count, middle, second, inner;

    __device__ long long begin(long long result) const {
        const long long outside = result / inner;
        return ((outside / middle * (count / second) * middle + outside % middle) * second) * inner + result % inner;
    }
    __device__ long long offset(long long element) const {
        if (second == count) return element * inner;
        return (element + quotient(element, second) * (middle - 1) * second) * inner;
    }
};

template <typename T, typename Reduction, typename A>
__device__ inline void store_result(A value, A shift, T* y, A* parts, long long result, long long count) {
    if (parts) parts[result * gridDim.y + blockIdx.y] = value;
    else y[result] = to_element<T>(Reduction::finish(value, A(count), shift));
}

// A row is whole vectors and, where it begins or ends between two of them, some loose elements.
template <typename T, typename Reduction>
__global__ void __launch_bounds__(TEAM_THREADS) reduce_rows(
    const T* __restrict__ x, const T* __restrict__ shift, T* __restrict__ y, void* __restrict__ partial, long long results, long long span,
    long long count, long long middle, long long second, long long inner
) {
    using A = typename Reduction::template accumulator<T>;
    __shared__ A scratch[WARP];
    constexpr int width = Vector<T>::count, loads = Reduction::loads;
    const auto combine = Reduction::combine();
    const A neutral = Reduction::template neutral<T>();
    const Shape shape{count, middle, second, 1};
    const long long result = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    const bool is_inside = result < results, is_dense = second == count;
    const A offset = finite_shift<A>(is_inside ? shift : nullptr, result);
    const auto term = [&](T element) { return Reduction::term(from_element<A>(element), offset); };

    const long long first = blockIdx.y * span, end = first + span < count ? first + span : count;
    const int size = is_inside && end > first ? end - first : 0;
    const T* source = x + (is_dense ? result * count + first : shape.begin(is_inside ? result : 0));
    const auto place = [&](int i) { return is_dense ? i : shape.offset(first + i); };
    const int before = is_dense ? elements_before_vector(source) : 0, head = before < size ? before : size;
    const int vectors = is_dense || (second % width == 0 && is_vector_aligned(source)) ? (size - head) / width : 0;

    A value = neutral;
    for (int v = threadIdx.x; v < vectors; v += loads * blockDim.x) {
        Vector<T> in[loads];
#pragma unroll
        for (int n = 0; n < loads; ++n) {
            const int here = v + n * blockDim.x, last = vectors - 1;
            in[n] = load_vector(source + place(head + (here < last ? here : last) * width));
        }
#pragma unroll
        for (int n = 0; n < loads; ++n) {
            A of_vector = term(in[n].element[0]);
#pragma unroll
            for (int k = 1; k < width; ++k) of_vector = combine(of_vector, term(in[n].element[k]));
            if (v + n * blockDim.x < vectors) value = combine(value, of_vector);
        }
    }
    for (int i = threadIdx.x; i < size - vectors * width; i += blockDim.x)
        value = combine(value, term(source[place(i < head ? i : i + vectors * width)]));
    value = reduce_team(value, neutral, scratch, combine);
    if (threadIdx.x == 0 && is_inside) store_result<T, Reduction>(value, offset, y, static_cast<A*>(partial), result, count);
}

template <typename T, typename Reduction>
__global__ void __launch_bounds__(COLUMN_THREADS) reduce_columns(
    const T* __restrict__ x, const T* __restrict__ shift, T* __restrict__ y, void* __restrict__ partial, long long results, long long span,
    long long count, long long middle, long long second, long long inner
) {
    using A = typename Reduction::template accumulator<T>;
    __shared__ A scratch[COLUMN_THREADS];
    const auto combine = Reduction::combine();
    const Shape shape{count, middle, second, inner};
    const long long first = blockIdx.y * span, last = first + span < count ? first + span : count;
    for (long long block = blockIdx.x; block * blockDim.x < results; block += gridDim.x) {
        const long long result = block * blockDim.x + threadIdx.x;
        const bool is_inside = result < results;
        A value = Reduction::template neutral<T>(), offset = 0;
        if (is_inside) {
            const T* source = x + shape.begin(result);
            offset = finite_shift<A>(shift, result);
#pragma unroll Reduction::loads
            for (long long i = first + threadIdx.y; i < last; i += blockDim.y)
                value = combine(value, Reduction::term(from_element<A>(source[shape.offset(i)]), offset));
        }
        scratch[threadIdx.y * blockDim.x + threadIdx.x] = value;
        __syncthreads();
        if (threadIdx.y == 0 && is_inside) {
            for (int other = 1; other < blockDim.y; ++other) value = combine(value, scratch[other * blockDim.x + threadIdx.x]);
            store_result<T, Reduction>(value, offset, y, static_cast<A*>(partial), result, count);
        }
        __syncthreads();
    }
}

template <typename T, typename Reduction>
__global__ void __launch_bounds__(WARP) combine_parts(
    const void* __restrict__ partial, const T* __restrict__ shift, T* __restrict__ y, long long results, int parts, long long count
) {
    using A = typename Reduction::template accumulator<T>;
    const auto combine = Reduction::combine();
    for (long long result = blockIdx.x; result < results; result += gridDim.x) {
        const A* source = static_cast<const A*>(partial) + result * parts;
        A value = Reduction::template neutral<T>();
        for (int i = threadIdx.x; i < parts; i += WARP) value = combine(value, source[i]);
        value = reduce_warp(value, combine);
        if (threadIdx.x == 0) y[result] = to_element<T>(Reduction::finish(value, A(count), finite_shift<A>(shift, result)));
    }
}
