// Layer normalization and root-mean-square normalization of rows, with an addition in front.
//
//   x, skip, y, summed   [rows, count]; skip and summed may be null: y = norm(x + skip), summed = x + skip
//   bias_in              [count] or null, added to x + skip
//   scale, bias          [count] or null: y = norm · scale + bias
//   mean, deviation      [rows] or null: the row's mean and 1 / sqrt(variance + epsilon)
//   launch               one block of whole warps a row
//
// The mean is subtracted before squares are summed, so a row far from zero loses nothing.

#include "reduce.cuh"
#include "scalar.cuh"

template <typename T, bool is_centred>
__global__ void __launch_bounds__(1024) normalize_rows(
    const T* __restrict__ x, const T* __restrict__ skip, const T* __restrict__ bias_in, const T* __restrict__ scale, const T* __restrict__ bias,
    T* __restrict__ y, T* __restrict__ summed, accumulator_t<T>* __restrict__ mean, accumulator_t<T>* __restrict__ deviation, int count, double epsilon
) {
    using A = accumulator_t<T>;
    __shared__ A scratch[WARP];
    const long long row = static_cast<long long>(blockIdx.x) * count;
    const auto element = [&](int i) {
        A value = widen(x[row + i]);
        if (skip) value += widen(skip[row + i]);
        if (bias_in) value += widen(bias_in[i]);
        return value;
    };

    A average = 0;
    if (is_centred) {
        A sum = 0;
        for (int i = threadIdx.x; i < count; i += blockDim.x) sum += element(i);
        average = reduce_block(sum, A(0), scratch, Sum()) / A(count);
    }
    A squares = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const A difference = element(i) - average;
        squares += difference * difference;
    }
    const A factor = inverse_root(reduce_block(squares, A(0), scratch, Sum()) / A(count) + A(epsilon));

    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const A value = element(i);
        A result = (value - average) * factor;
        if (scale) result *= widen(scale[i]);
        if (bias) result += widen(bias[i]);
        y[row + i] = narrow<T>(result);
        if (summed) summed[row + i] = narrow<T>(value);
    }
    if (threadIdx.x == 0) {
        if (mean) mean[blockIdx.x] = average;
        if (deviation) deviation[blockIdx.x] = factor;
    }
}
