// Where the greatest or least elements of rows are: ArgMax, ArgMin and Hardmax.
//
//   x           [outer, length, inner]; a row is the `length` elements with one outer and one inner index
//   candidates  [outer · inner, count], the indices to look at, or null: then they are 0 … count - 1
//   indices     [outer · inner, gridDim.y]: block (·, p) looks at `span` candidates from p · span on. With gridDim.y above 1 a second launch
//               takes what the first gives as its candidates
//   launch      extreme_of_rows: gridDim.x any, blocks of whole warps; a block takes a row
//               extreme_of_columns: gridDim.x any, any blocks; a thread takes a row: for neighbouring rows, and for short ones
//               mark_indices: any launch; y [outer, length, inner] becomes 1 at the indices and 0 elsewhere
//
// NaN is both greatest and least, as in NumPy.

#include "order.cuh"
#include "reduce.cuh"
#include "vector.cuh"

template <typename K> struct Extreme {
    K key;
    long long index;
};

template <typename K> __device__ inline Extreme<K> nothing(bool is_last) { return {K(0), is_last ? -1 : 0x7fffffffffffffffLL}; }

struct Better {
    bool is_last;

    template <typename K> __device__ Extreme<K> operator()(const Extreme<K>& a, const Extreme<K>& b) const {
        const bool is_first_better = a.key != b.key ? a.key > b.key : is_last ? a.index > b.index : a.index < b.index;
        return is_first_better ? a : b;
    }
};

template <typename T> __device__ inline Extreme<order_key_t<T>> extreme_at(const T* x, long long index, long long inner, bool is_least) {
    using K = order_key_t<T>;
    const accumulator_t<T> value = widen(x[index * inner]);
    const K key = key_of(value);
    return {is_least && value == value ? static_cast<K>(~key) : key, index};
}

template <typename T>
__global__ void __launch_bounds__(512) extreme_of_rows(
    const T* __restrict__ x, const long long* __restrict__ candidates, long long* __restrict__ indices, long long rows, long long length,
    long long inner, long long count, long long span, bool is_least, bool is_last
) {
    using K = order_key_t<T>;
    __shared__ Extreme<K> scratch[WARP];
    const Better better{is_last};
    const long long first = blockIdx.y * span, last = first + span < count ? first + span : count;
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* source = x + row / inner * inner * length + row % inner;
        Extreme<K> best = nothing<K>(is_last);
        for (long long i = first + threadIdx.x; i < last; i += blockDim.x)
            best = better(extreme_at(source, candidates ? candidates[row * count + i] : i, inner, is_least), best);
        const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
        for (int round = 0; round < 2; ++round) {
#pragma unroll
            for (int offset = WARP / 2; offset > 0; offset /= 2) {
                const Extreme<K> other{__shfl_xor_sync(ALL_LANES, best.key, offset), __shfl_xor_sync(ALL_LANES, best.index, offset)};
                best = better(best, other);
            }
            if (round == 1) break;
            if (lane == 0) scratch[warp] = best;
            __syncthreads();
            best = lane < warps ? scratch[lane] : nothing<K>(is_last);
        }
        if (threadIdx.x == 0) indices[row * gridDim.y + blockIdx.y] = best.index;
        __syncthreads();
    }
}

template <typename T>
__global__ void __launch_bounds__(256) extreme_of_columns(
    const T* __restrict__ x, const long long* __restrict__ candidates, long long* __restrict__ indices, long long rows, long long length,
    long long inner, long long count, long long span, bool is_least, bool is_last
) {
    const Better better{is_last};
    const long long first = blockIdx.y * span, last = first + span < count ? first + span : count;
    for_each_index(rows, [=](long long row) {
        const T* source = x + row / inner * inner * length + row % inner;
        Extreme<order_key_t<T>> best = nothing<order_key_t<T>>(is_last);
        for (long long i = first; i < last; ++i)
            best = better(extreme_at(source, candidates ? candidates[row * count + i] : i, inner, is_least), best);
        indices[row * gridDim.y + blockIdx.y] = best.index;
    });
}

template <typename T>
__global__ void __launch_bounds__(256) mark_indices(
    const long long* __restrict__ indices, T* __restrict__ y, long long elements, long long length, long long inner
) {
    for_each_index(elements, [=](long long i) {
        const long long row = i / (length * inner) * inner + i % inner;
        y[i] = narrow<T>(accumulator_t<T>(indices[row] == i / inner % length ? 1 : 0));
    });
}
