// Running sums and products along an axis.
//
//   x, y      [outer, count, inner]; a row is the `count` elements with one outer and one inner index. y may be x
//   totals    [outer · inner, gridDim.y] or null: with it nothing else is written but what each part of a row comes to
//   carry     [outer · inner, gridDim.y] or null: what each part begins with
//   launch    scan_rows: gridDim.x any, blocks of whole warps; a block takes `span` elements of a row, from blockIdx.y · span on
//             scan_columns: gridDim.x any, any blocks; a thread does the same: for neighbouring rows
//
// Long rows take three launches: the totals of their parts, the running combinations of these (exclusive, by the same kernel), and the parts
// with what they begin with. Integers wrap; float16 and bfloat16 are float32 until they are stored.

#include "scalar.cuh"
#include "scan.cuh"
#include "vector.cuh"

template <typename Combine, typename A> struct Neutral { static __device__ A value() { return A(0); } };
template <typename A> struct Neutral<Product, A> { static __device__ A value() { return A(1); } };

struct Part {
    long long first, last, step, begin;  // positions in the row, and where its position 0 is and what leads to the next

    __device__ Part(long long row, long long count, long long inner, long long span, bool is_reverse) {
        first = blockIdx.y * span;
        last = first + span < count ? first + span : count;
        step = is_reverse ? -inner : inner;
        begin = row / inner * inner * count + row % inner + (is_reverse ? (count - 1) * inner : 0);
    }
};

template <typename T, typename Combine>
__global__ void __launch_bounds__(512) scan_rows(
    const T* x, const accumulator_t<T>* __restrict__ carry, T* y, accumulator_t<T>* __restrict__ totals, long long rows, long long count,
    long long inner, long long span, bool is_exclusive, bool is_reverse
) {
    using A = accumulator_t<T>;
    __shared__ A scratch[WARP];
    const Combine combine;
    const A neutral = Neutral<Combine, A>::value();
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const Part part(row, count, inner, span, is_reverse);
        A before = carry ? carry[row * gridDim.y + blockIdx.y] : neutral;
        for (long long tile = part.first; tile < part.last; tile += blockDim.x) {
            const long long position = tile + threadIdx.x, place = part.begin + position * part.step;
            const bool is_inside = position < part.last;
            const A value = is_inside ? A(widen(x[place])) : neutral;
            A total;
            const A preceding = combine(before, scan_block(value, neutral, scratch, combine, total));
            if (is_inside && !totals) y[place] = narrow<T>(is_exclusive ? preceding : A(combine(preceding, value)));
            before = combine(before, total);
        }
        if (totals && threadIdx.x == 0) totals[row * gridDim.y + blockIdx.y] = before;
    }
}

template <typename T, typename Combine>
__global__ void __launch_bounds__(256) scan_columns(
    const T* x, const accumulator_t<T>* __restrict__ carry, T* y, accumulator_t<T>* __restrict__ totals, long long rows, long long count,
    long long inner, long long span, bool is_exclusive, bool is_reverse
) {
    using A = accumulator_t<T>;
    const Combine combine;
    for_each_index(rows, [=](long long row) {
        const Part part(row, count, inner, span, is_reverse);
        A before = carry ? carry[row * gridDim.y + blockIdx.y] : Neutral<Combine, A>::value();
        for (long long position = part.first; position < part.last; ++position) {
            const long long place = part.begin + position * part.step;
            const A through = combine(before, A(widen(x[place])));
            if (!totals) y[place] = narrow<T>(is_exclusive ? before : through);
            before = through;
        }
        if (totals) totals[row * gridDim.y + blockIdx.y] = before;
    });
}
