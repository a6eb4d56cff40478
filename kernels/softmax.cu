// Softmax and log-softmax.
//
//   x, y      softmax_rows, softmax_long_rows: [rows, count]
//             softmax_columns: [outer, count, inner]; a column is the `count` elements with one outer and one inner index
//   launch    softmax_rows, and softmax_long_rows with a block a row: as rows.cuh says
//             softmax_columns: enough blocks of (x, y) threads, x · y <= COLUMN_THREADS: x columns, each by y threads
//
// A row that a team can hold is read once. Otherwise a first pass finds the maximum and the sum of exp(x - maximum) together, the sum
// being rescaled when the maximum grows (https://arxiv.org/abs/1805.02867), and a second one reads the elements again.

#include "rows.cuh"

constexpr int COLUMN_THREADS = 256, COLUMN_STEP = 4;

// NaN is left to the sum, which brings it to the whole row.
struct Greater {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
    __device__ double operator()(double a, double b) const { return fmax(a, b); }
};

// exp(x). What is rounded to 2 bytes needs no more than the GPU's own power of two gives.
template <typename T> __device__ inline accumulator_t<T> power_of(accumulator_t<T> x) {
    if constexpr (sizeof(T) == 2) return __expf(x);
    else return exponential(x);
}

// The maximum of some elements, and the sum of exp(x - maximum) over them.
template <typename A> struct Powers {
    A maximum = -infinity<A>(), sum = 0;

    // What is subtracted: anything but -infinity from itself.
    __device__ A shift() const { return maximum == -infinity<A>() ? A(0) : maximum; }
    __device__ void raise(A greatest) {
        const A before = maximum;
        maximum = Greater()(maximum, greatest);
        sum *= exponential(before - shift());
    }
    __device__ void add(A x) { sum += exponential(x - shift()); }
};

template <bool is_logarithm, typename A> struct Normalized {
    A maximum, factor;

    __device__ Normalized(A maximum, A sum) : maximum(maximum), factor(is_logarithm ? logarithm(sum) : A(1) / sum) {}
    __device__ A operator()(A x) const { return is_logarithm ? x - maximum - factor : exponential(x - maximum) * factor; }
};

template <typename T, bool is_logarithm, bool is_wide>
__global__ void __launch_bounds__(ROW_THREADS<T>, 1) softmax_rows(const T* __restrict__ x, T* __restrict__ y, long long rows, int count) {
    using Team = RowTeam<T, is_wide>;
    using A = accumulator_t<T>;
    __shared__ A maxima[WARP], sums[WARP];
    const Team team(rows, count);
    typename Team::Raw raw;
    typename Team::Values values;
    team.load(x + team.begin, raw);

    A maximum = -infinity<A>();
    team.for_each_element([&](int n, int k, int) { maximum = Greater()(maximum, values[n][k] = widen(raw[n].element[k])); });
    maximum = reduce_team(maximum, -infinity<A>(), maxima, Greater());

    A sum = 0;
    team.for_each_element([&](int n, int k, int) {
        const A shifted = values[n][k] - maximum, power = power_of<T>(shifted);
        sum += power;
        values[n][k] = is_logarithm ? shifted : power;
    });
    sum = reduce_team(sum, A(0), sums, Sum());

    const A factor = is_logarithm ? logarithm(sum) : A(1) / sum;
    team.store(y + team.begin, [&](int n, int k, int) { return is_logarithm ? values[n][k] - factor : values[n][k] * factor; });
}

template <typename T, bool is_logarithm, bool is_wide>
__global__ void __launch_bounds__(ROW_THREADS<T>, 1) softmax_long_rows(const T* __restrict__ x, T* __restrict__ y, long long rows, int count) {
    using Team = RowTeam<T, is_wide>;
    using A = accumulator_t<T>;
    __shared__ A maxima[WARP], sums[WARP];
    const Team team(rows, count);
    typename Team::Raw raw;

    Powers<A> powers;
    for (int first = 0; first < team.pieces; first += team.part()) {
        team.load(x + team.begin, raw, first);
        A greatest = -infinity<A>();
        team.for_each_element([&](int n, int k, int) { greatest = Greater()(greatest, widen(raw[n].element[k])); }, first);
        powers.raise(greatest);
        team.for_each_element([&](int n, int k, int) { powers.add(widen(raw[n].element[k])); }, first);
    }
    powers.raise(reduce_team(powers.maximum, -infinity<A>(), maxima, Greater()));
    const Normalized<is_logarithm, A> normalized(powers.maximum, reduce_team(powers.sum, A(0), sums, Sum()));

    for (int first = 0; first < team.pieces; first += team.part()) {
        team.load(x + team.begin, raw, first);
        team.store(y + team.begin, [&](int n, int k, int) { return normalized(widen(raw[n].element[k])); }, first);
    }
}

template <typename T, bool is_logarithm>
__global__ void __launch_bounds__(COLUMN_THREADS) softmax_columns(
    const T* __restrict__ x, T* __restrict__ y, long long columns, int count, long long inner
) {
    using A = accumulator_t<T>;
    __shared__ A maxima[COLUMN_THREADS], sums[COLUMN_THREADS];
    const long long column = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    const long long outer = quotient(column, inner), begin = outer * inner * count + column - outer * inner;
    const int last = column < columns ? count : 0;

    Powers<A> powers;
    for (int first = threadIdx.y; first < last; first += COLUMN_STEP * blockDim.y) {
        A values[COLUMN_STEP], greatest = -infinity<A>();
#pragma unroll
        for (int n = 0; n < COLUMN_STEP; ++n) {
            const int i = first + n * blockDim.y;
            values[n] = i < last ? widen(x[begin + i * inner]) : -infinity<A>();
        }
#pragma unroll
        for (int n = 0; n < COLUMN_STEP; ++n) greatest = Greater()(greatest, values[n]);
        powers.raise(greatest);
#pragma unroll
        for (int n = 0; n < COLUMN_STEP; ++n) powers.add(values[n]);
    }
    maxima[threadIdx.y * blockDim.x + threadIdx.x] = powers.maximum;
    sums[threadIdx.y * blockDim.x + threadIdx.x] = powers.sum;
    __syncthreads();
    A maximum = maxima[threadIdx.x], sum = 0;
    for (int other = 1; other < blockDim.y; ++other) maximum = Greater()(maximum, maxima[other * blockDim.x + threadIdx.x]);
    for (int other = 0; other < blockDim.y; ++other) {
        Powers<A> of_other{maxima[other * blockDim.x + threadIdx.x], sums[other * blockDim.x + threadIdx.x]};
        of_other.raise(maximum);
        sum += of_other.sum;
    }

    const Normalized<is_logarithm, A> normalized(maximum, sum);
#pragma unroll 4
    for (int i = threadIdx.y; i < last; i += blockDim.y) y[begin + i * inner] = narrow<T>(normalized(widen(x[begin + i * inner])));
}
