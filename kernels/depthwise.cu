// Convolutions whose groups have one input channel each.
//
//   x         [batch, groups, input…]
//   w         [groups · maps, kernel…], of a transposed one [groups, maps, kernel…]
//   y         [batch, groups · maps, output…]; bias [groups · maps], residual like y, or null
//   launch    any: depthwise_strips has a strip of DOWN rows a thread, and of as many columns as 4 bytes hold, neighbouring threads
//             neighbouring columns; depthwise has an output a thread
//
// depthwise_strips reads many rows of its strip before it uses the first, and adds each to all sums that it is part of; what its
// neighbours read as well is in the cache of the multiprocessor. Memory-bound.

#include "convolution.cuh"
#include "vector.cuh"

struct StripNumbers {
    Division strip_width, strips, maps, maps_of_group;  // in strips: a row of them, a map; maps of the result, and of a group
};

template <typename T, int kernel, int stride>
__global__ void __launch_bounds__(256) depthwise_strips(
    const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ y, Convolution p, StripNumbers numbers, Ending<T> ending, long long count,
    bool is_packed
) {
    using A = accumulator_t<T>;
    constexpr int down = stride == 1 ? 8 : 4, across = sizeof(T) == 2 ? 2 : 1;
    constexpr int rows_read = (down - 1) * stride + kernel, columns_read = (across - 1) * stride + kernel;
    constexpr int rows_at_once = kernel == 3 ? rows_read : 4;  // in flight
    const Axis vertical = p.axis[1], horizontal = p.axis[2];
    for_each_index(count, [=](long long index) {
        const unsigned item = static_cast<unsigned>(index), above = numbers.strip_width(item), plane = numbers.strips(above);
        const unsigned sample = numbers.maps(plane);
        const int first_row = (above - plane * numbers.strips.divisor) * down, first_column = (item - above * numbers.strip_width.divisor) * across;
        const int map = plane - sample * numbers.maps.divisor, top = first_row * stride - vertical.begin;
        const int left = first_column * stride - horizontal.begin;
        const T* from = x + static_cast<long long>(sample * p.groups + numbers.maps_of_group(map)) * p.input_size();
        from += top * horizontal.size + left;
        const A added = ending.bias_of(map);
        bool is_inside[columns_read];
#pragma unroll
        for (int c = 0; c < columns_read; ++c) is_inside[c] = is_within(left + c, horizontal.size);
        A weight[kernel][kernel], sum[down][across];
#pragma unroll
        for (int i = 0; i < kernel; ++i)
#pragma unroll
            for (int j = 0; j < kernel; ++j) weight[i][j] = widen(w[(map * kernel + i) * kernel + j]);
        for_each_value(sum, [=](A& value) { value = added; });
#pragma unroll
        for (int first = 0; first < rows_read; first += rows_at_once) {
            T value[rows_at_once][columns_read];
#pragma unroll
            for (int r = 0; r < rows_at_once; ++r) {
                const bool is_row = first + r < rows_read && is_within(top + first + r, vertical.size);
#pragma unroll
                for (int c = 0; c < columns_read; ++c)
                    value[r][c] = is_row && is_inside[c] ? from[(first + r) * horizontal.size + c] : narrow<T>(A(0));
            }
#pragma unroll
            for (int r = 0; r < rows_at_once; ++r)
#pragma unroll
                for (int t = 0; t < down; ++t) {
                    const int i = first + r - t * stride;
                    if (i < 0 || i >= kernel) continue;
#pragma unroll
                    for (int j = 0; j < kernel; ++j)
#pragma unroll
                        for (int a = 0; a < across; ++a) sum[t][a] += weight[i][j] * widen(value[r][a * stride + j]);
                }
        }
        const long long to = static_cast<long long>(plane * vertical.out_size + first_row) * horizontal.out_size + first_column;
        const int rows_left = vertical.out_size - first_row, columns_left = horizontal.out_size - first_column;
        if (ending.residual) {
#pragma unroll
            for (int t = 0; t < down; ++t)
#pragma unroll
                for (int a = 0; a < across; ++a)
                    if (t < rows_left && a < columns_left) sum[t][a] += widen(ending.residual[to + t * horizontal.out_size + a]);
        }
        ending.activation(sum);
#pragma unroll
        for (int t = 0; t < down; ++t) {
            if (t >= rows_left) continue;
            T* line = y + to + t * horizontal.out_size;
            if (is_packed) {
                Pack<T, across> result;
#pragma unroll
                for (int a = 0; a < across; ++a) result.element[a] = narrow<T>(sum[t][a]);
                *reinterpret_cast<Pack<T, across>*>(line) = result;
            } else {
#pragma unroll
                for (int a = 0; a < across; ++a)
                    if (a < columns_left) line[a] = narrow<T>(sum[t][a]);
            }
        }
    });
}

// The input element that element k of the kernel adds to output element `out`; negative where there is none.
template <bool transposed> __device__ inline int source_of(const Axis& axis, int out, int k) {
    if constexpr (transposed) {
        const int place = out + axis.begin - k * axis.dilation;
        return place >= 0 && place % axis.stride == 0 ? place / axis.stride : -1;
    } else {
        return out * axis.stride - axis.begin + k * axis.dilation;
    }
}

template <typename T, bool transposed>
__global__ void __launch_bounds__(256) depthwise(
    const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ y, Convolution p, Ending<T> ending, long long count
) {
    using A = accumulator_t<T>;
    const unsigned output_size = p.output_size(), line = p.axis[2].out_size, face = line * p.axis[1].out_size;
    const int maps = p.groups * p.maps;
    for_each_index(count, [=](long long index) {
        const unsigned item = static_cast<unsigned>(index), plane = item / output_size, place = item % output_size;
        const int out[3] = {static_cast<int>(place / face), static_cast<int>(place % face / line), static_cast<int>(place % line)};
        const int map = plane % maps;
        const T* from = x + static_cast<long long>(plane / maps * p.groups + map / p.maps) * p.input_size();
        const T* weight = w + static_cast<long long>(map) * p.taps();
        A sum = 0;
        for (int i = 0; i < p.axis[0].kernel; ++i) {
            const int depth = source_of<transposed>(p.axis[0], out[0], i);
            for (int j = 0; j < p.axis[1].kernel; ++j) {
                const int row = source_of<transposed>(p.axis[1], out[1], j);
                const bool is_row = is_within(depth, p.axis[0].size) && is_within(row, p.axis[1].size);
                for (int k = 0; k < p.axis[2].kernel; ++k, ++weight) {
                    const int column = source_of<transposed>(p.axis[2], out[2], k);
                    if (is_row && is_within(column, p.axis[2].size))
                        sum += widen(*weight) * widen(from[(depth * p.axis[1].size + row) * p.axis[2].size + column]);
                }
            }
        }
        sum += ending.bias_of(map) + (ending.residual ? widen(ending.residual[index]) : A(0));
        ending.activation(sum);
        y[index] = narrow<T>(sum);
    });
}
