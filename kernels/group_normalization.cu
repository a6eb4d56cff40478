// Normalization of groups of channels, instance normalization among them, with an activation behind it.
//
//   x, skip, y, summed   [samples, channels, positions], or with `channels_last` [samples, positions, channels]; a group is
//                        channels / groups neighbouring channels of a sample. skip and summed may be null, skip is [samples, channels]
//                        if `skip_repeats`; y = norm(x + skip + before), summed = x + skip + before
//   before               [channels] or null
//   scale, bias          [channels], or [groups] if `by_group`
//   launch               one block of whole warps a group of a sample
//
// The mean is subtracted before squares are summed.

#include "functions.cuh"
#include "reduce.cuh"
#include "scalar.cuh"

template <typename T, typename P>
__global__ void __launch_bounds__(1024) normalize_groups(
    const T* __restrict__ x, const T* __restrict__ skip, const T* __restrict__ before, const P* __restrict__ scale, const P* __restrict__ bias,
    T* __restrict__ y, T* __restrict__ summed, long long positions, long long channels, long long groups, bool channels_last, bool by_group,
    bool is_silu, bool skip_repeats, double epsilon
) {
    using A = accumulator_t<T>;
    __shared__ A scratch[WARP];
    const long long width = channels / groups, count = width * positions;
    const long long sample = blockIdx.x / groups, group = blockIdx.x % groups;
    const auto channel_of = [&](long long i) { return group * width + (channels_last ? i % width : i / positions); };
    const auto place_of = [&](long long i) {
        if (!channels_last) return (sample * channels + group * width) * positions + i;
        return (sample * positions + i / width) * channels + group * width + i % width;
    };
    const auto element = [&](long long i) {
        A value = widen(x[place_of(i)]);
        if (skip) value += widen(skip[skip_repeats ? sample * channels + channel_of(i) : place_of(i)]);
        if (before) value += widen(before[channel_of(i)]);
        return value;
    };

    A sum = 0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) sum += element(i);
    const A mean = reduce_block(sum, A(0), scratch, Sum()) / A(count);
    A squares = 0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) {
        const A difference = element(i) - mean;
        squares += difference * difference;
    }
    const A factor = inverse_root(reduce_block(squares, A(0), scratch, Sum()) / A(count) + A(epsilon));
    for (long long i = threadIdx.x; i < count; i += blockDim.x) {
        const long long parameter = by_group ? group : channel_of(i);
        const A value = element(i), result = (value - mean) * factor * A(widen(scale[parameter])) + A(widen(bias[parameter]));
        y[place_of(i)] = narrow<T>(is_silu ? silu(result) : result);
        if (summed) summed[place_of(i)] = narrow<T>(value);
    }
}
