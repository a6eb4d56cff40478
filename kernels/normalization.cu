// Layer normalization and root-mean-square normalization of rows, with an addition in front.
//
//   x, skip, y, summed   [rows, count]; skip and summed may be null: y = norm(x + skip), summed = x + skip
//   bias_in              [count] or null, added to x + skip
//   scale, bias          [count] or null: y = norm · scale + bias
//   mean, deviation      [rows] or null: the row's mean and 1 / sqrt(variance + epsilon)
//   launch               as rows.cuh says: normalize_rows for rows that a team holds, normalize_long_rows with a block a row
//
// The mean is subtracted before squares are summed, so a row far from zero loses nothing.

#include "rows.cuh"

template <typename T, bool is_centred, bool is_wide>
__global__ void __launch_bounds__(ROW_THREADS<T>, 1) normalize_rows(
    const T* __restrict__ x, const T* __restrict__ skip, const T* __restrict__ bias_in, const T* __restrict__ scale, const T* __restrict__ bias,
    T* __restrict__ y, T* __restrict__ summed, accumulator_t<T>* __restrict__ mean, accumulator_t<T>* __restrict__ deviation, long long rows,
    int count, double epsilon
) {
    using Team = RowTeam<T, is_wide>;
    using A = accumulator_t<T>;
    __shared__ A sums[WARP], sums_of_squares[WARP];
    const Team team(rows, count);
    typename Team::Values values;
    team.with_row(x + team.begin, [&](int n, int k, A value) { values[n][k] = value; });
    if (skip) team.with_row(skip + team.begin, [&](int n, int k, A value) { values[n][k] += value; });
    if (bias_in) team.with_row(bias_in, [&](int n, int k, A value) { values[n][k] += value; });

    A average = 0, squares = 0;
    if (is_centred) {
        team.for_each_element([&](int n, int k, int) { average += values[n][k]; });
        average = reduce_team(average, A(0), sums, Sum()) / A(count);
    }
    team.for_each_element([&](int n, int k, int) {
        const A difference = values[n][k] - average;
        squares += difference * difference;
    });
    const A factor = inverse_root(reduce_team(squares, A(0), sums_of_squares, Sum()) / A(count) + A(epsilon));

    if (summed) team.store(summed + team.begin, [&](int n, int k, int) { return values[n][k]; });
    team.for_each_element([&](int n, int k, int) { values[n][k] = (values[n][k] - average) * factor; });
    if (scale) team.with_row(scale, [&](int n, int k, A value) { values[n][k] *= value; });
    if (bias) team.with_row(bias, [&](int n, int k, A value) { values[n][k] += value; });
    team.store(y + team.begin, [&](int n, int k, int) { return values[n][k]; });
    if (threadIdx.x == 0 && team.row < rows) {
        if (mean) mean[team.row] = average;
        if (deviation) deviation[team.row] = factor;
    }
}

template <typename T, bool is_centred>
__global__ void __launch_bounds__(ROW_THREADS<T>, 1) normalize_long_rows(
    const T* __restrict__ x, const T* __restrict__ skip, const T* __restrict__ bias_in, const T* __restrict__ scale, const T* __restrict__ bias,
    T* __restrict__ y, T* __restrict__ summed, accumulator_t<T>* __restrict__ mean, accumulator_t<T>* __restrict__ deviation, long long rows,
    int count, double epsilon
) {
    using A = accumulator_t<T>;
    __shared__ A sums[WARP], sums_of_squares[WARP];
    const long long begin = static_cast<long long>(blockIdx.x) * count;
    const auto element = [&](int i) {
        A value = widen(x[begin + i]);
        if (skip) value += widen(skip[begin + i]);
        if (bias_in) value += widen(bias_in[i]);
        return value;
    };

    A average = 0, squares = 0;
    if (is_centred) {
        for (int i = threadIdx.x; i < count; i += blockDim.x) average += element(i);
        average = reduce_team(average, A(0), sums, Sum()) / A(count);
    }
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const A difference = element(i) - average;
        squares += difference * difference;
    }
    const A factor = inverse_root(reduce_team(squares, A(0), sums_of_squares, Sum()) / A(count) + A(epsilon));

    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const A value = element(i);
        A result = (value - average) * factor;
        if (scale) result *= widen(scale[i]);
        if (bias) result += widen(bias[i]);
        y[begin + i] = narrow<T>(result);
        if (summed) summed[begin + i] = narrow<T>(value);
    }
    if (threadIdx.x == 0) {
        if (mean) mean[blockIdx.x] = average;
        if (deviation) deviation[blockIdx.x] = factor;
    }
}
