// Normalization of groups of channels, instance normalization among them, with an activation behind it.
//
//   x, skip, y, summed   [samples, channels, positions], or with `channels_last` [samples, positions, channels]; a group is
//                        channels / groups neighbouring channels of a sample. skip and summed may be null, skip is [samples, channels]
//                        if `skip_repeats`; y = norm(x + skip + before), summed = x + skip + before
//   before               [channels] or null
//   scale, bias          [channels], or [groups] if `by_group`
//   partial              [samples · groups, parts, 2]: mean, and sum of squares around it, of each `span` elements of a group
//   launch               normalize_held_groups: as rows.cuh says, a group being a row, without `channels_last`
//                        moments_of_groups, then normalize_groups: (samples · groups, parts) blocks of whole warps
//
// A group that a team can hold is read once. Others are cut into parts, so that few of them keep the GPU busy as well; moments of
// parts are put together by Chan, Golub and LeVeque's formula. The mean is subtracted before squares are summed.

#include "functions.cuh"
#include "rows.cuh"

constexpr int PART_THREADS = 256, PART_STEP = 8;

template <typename A> struct Affine {
    A scale, bias;
};

// function(n, k, start(c)) for each element that the team holds, c being its place in the row divided by `span`.
template <typename Team, typename Start, typename Function>
__device__ inline void for_each_in_spans(const Team& team, int span, Start start, Function function) {
    team.for_each_piece([&](int n, int i) {
        int number = i / span, left = (number + 1) * span - i;
        auto started = start(number);
#pragma unroll
        for (int k = 0; k < Team::width; ++k) {
            if (left == 0) {
                started = start(++number);
                left = span;
            }
            --left;
            function(n, k, started);
        }
    });
}

template <typename T, typename P, bool is_wide>
__global__ void __launch_bounds__(ROW_THREADS<T>, 1) normalize_held_groups(
    const T* __restrict__ x, const T* __restrict__ skip, const T* __restrict__ before, const P* __restrict__ scale, const P* __restrict__ bias,
    T* __restrict__ y, T* __restrict__ summed, long long rows, int count, int positions, int groups, bool by_group, bool is_silu,
    bool skip_repeats, double epsilon
) {
    using Team = RowTeam<T, is_wide>;
    using A = accumulator_t<T>;
    __shared__ A sums[WARP], sums_of_squares[WARP];
    const Team team(rows, count);
    const int width = count / positions, group = team.row - quotient(team.row, groups) * groups;
    typename Team::Values values;
    team.with_row(x + team.begin, [&](int n, int k, A value) { values[n][k] = value; });
    if (skip && !skip_repeats) team.with_row(skip + team.begin, [&](int n, int k, A value) { values[n][k] += value; });
    if (before || (skip && skip_repeats)) {
        const auto of_channel = [&](int i) {
            return (before ? widen(before[group * width + i]) : A(0)) + (skip && skip_repeats ? widen(skip[team.row * width + i]) : A(0));
        };
        for_each_in_spans(team, positions, of_channel, [&](int n, int k, A added) { values[n][k] += added; });
    }

    A mean = 0, squares = 0;
    team.for_each_element([&](int n, int k, int) { mean += values[n][k]; });
    mean = reduce_team(mean, A(0), sums, Sum()) / A(count);
    team.for_each_element([&](int n, int k, int) {
        const A difference = values[n][k] - mean;
        squares += difference * difference;
    });
    const A factor = inverse_root(reduce_team(squares, A(0), sums_of_squares, Sum()) / A(count) + A(epsilon));

    if (summed) team.store(summed + team.begin, [&](int n, int k, int) { return values[n][k]; });
    const int parameter = by_group ? group : group * width;
    const auto affine = [&](int i) { return Affine<A>{A(widen(scale[parameter + i])), A(widen(bias[parameter + i]))}; };
    for_each_in_spans(team, by_group ? count : positions, affine, [&](int n, int k, const Affine<A>& of) {
        values[n][k] = (values[n][k] - mean) * factor * of.scale + of.bias;
    });
    team.store(y + team.begin, [&](int n, int k, int) { return is_silu ? silu(values[n][k]) : values[n][k]; });
}

// Where the elements of one group lie.
struct Group {
    long long positions, channels, width, sample, group;
    bool channels_last;

    struct Place {
        long long offset, channel;
    };

    __device__ Group(long long positions, long long channels, long long groups, bool channels_last)
        : positions(positions), channels(channels), width(quotient(channels, groups)), sample(quotient(blockIdx.x, groups)),
          group(blockIdx.x - sample * groups), channels_last(channels_last) {}

    __device__ Place place(long long i) const {
        const long long row = quotient(i, channels_last ? width : positions);
        if (!channels_last) return {(sample * channels + group * width) * positions + i, group * width + row};
        const long long channel = group * width + i - row * width;
        return {(sample * positions + row) * channels + channel, channel};
    }

    template <typename T>
    __device__ accumulator_t<T> element(const T* x, const T* skip, const T* before, bool skip_repeats, const Place& place) const {
        accumulator_t<T> value = widen(x[place.offset]);
        if (skip) value += widen(skip[skip_repeats ? sample * channels + place.channel : place.offset]);
        if (before) value += widen(before[place.channel]);
        return value;
    }
};

template <typename T>
__global__ void __launch_bounds__(PART_THREADS, sizeof(T) == 8 ? 2 : 4) moments_of_groups(
    const T* __restrict__ x, const T* __restrict__ skip, const T* __restrict__ before, accumulator_t<T>* __restrict__ partial, long long span,
    long long positions, long long channels, long long groups, bool channels_last, bool skip_repeats
) {
    using A = accumulator_t<T>;
    __shared__ A means[WARP], sums_of_squares[WARP];
    const Group group(positions, channels, groups, channels_last);
    const long long count = group.width * positions, begin = blockIdx.y * span, end = begin + span < count ? begin + span : count;

    A seen = 0, mean = 0, squares = 0;
    for (long long first = begin + threadIdx.x; first < end; first += PART_STEP * blockDim.x) {
        A values[PART_STEP], number = 0, sum = 0, around = 0;
#pragma unroll
        for (int n = 0; n < PART_STEP; ++n) {
            const long long i = first + n * blockDim.x;
            values[n] = i < end ? group.element(x, skip, before, skip_repeats, group.place(i)) : A(0);
        }
#pragma unroll
        for (int n = 0; n < PART_STEP; ++n) {
            number += first + n * blockDim.x < end ? A(1) : A(0);
            sum += values[n];
        }
        const A middle = sum / number, difference = middle - mean, total = seen + number;
#pragma unroll
        for (int n = 0; n < PART_STEP; ++n)
            if (first + n * blockDim.x < end) around += (values[n] - middle) * (values[n] - middle);
        mean += difference * number / total;
        squares += around + difference * difference * seen * number / total;
        seen = total;
    }
    const A of_block = reduce_team(seen * mean, A(0), means, Sum()) / A(end - begin), difference = mean - of_block;
    squares = reduce_team(squares + seen * difference * difference, A(0), sums_of_squares, Sum());
    if (threadIdx.x == 0) {
        A* target = partial + (static_cast<long long>(blockIdx.x) * gridDim.y + blockIdx.y) * 2;
        target[0] = of_block;
        target[1] = squares;
    }
}

template <typename T, typename P>
__global__ void __launch_bounds__(PART_THREADS, 4) normalize_groups(
    const T* __restrict__ x, const T* __restrict__ skip, const T* __restrict__ before, const P* __restrict__ scale, const P* __restrict__ bias,
    T* __restrict__ y, T* __restrict__ summed, const accumulator_t<T>* __restrict__ partial, long long span, long long positions,
    long long channels, long long groups, bool channels_last, bool by_group, bool is_silu, bool skip_repeats, double epsilon
) {
    using A = accumulator_t<T>;
    __shared__ A means[WARP], sums_of_squares[WARP];
    const Group group(positions, channels, groups, channels_last);
    const long long count = group.width * positions, begin = blockIdx.y * span, end = begin + span < count ? begin + span : count;
    const A* moments = partial + static_cast<long long>(blockIdx.x) * gridDim.y * 2;
    const auto size_of = [&](int part) { return A((part + 1) * span < count ? span : count - part * span); };

    A mean = 0, squares = 0;
    for (int part = threadIdx.x; part < gridDim.y; part += blockDim.x) mean += size_of(part) * moments[2 * part];
    mean = reduce_team(mean, A(0), means, Sum()) / A(count);
    for (int part = threadIdx.x; part < gridDim.y; part += blockDim.x) {
        const A difference = moments[2 * part] - mean;
        squares += moments[2 * part + 1] + size_of(part) * difference * difference;
    }
    const A factor = inverse_root(reduce_team(squares, A(0), sums_of_squares, Sum()) / A(count) + A(epsilon));

#pragma unroll 4
    for (long long i = begin + threadIdx.x; i < end; i += blockDim.x) {
        const Group::Place place = group.place(i);
        const long long parameter = by_group ? group.group : place.channel;
        const A value = group.element(x, skip, before, skip_repeats, place);
        const A result = (value - mean) * factor * A(widen(scale[parameter])) + A(widen(bias[parameter]));
        y[place.offset] = narrow<T>(is_silu ? silu(result) : result);
        if (summed) summed[place.offset] = narrow<T>(value);
    }
}
