// Convolutions and transposed convolutions as products: the weights (maps, depth) with columns of input elements (depth, columns), of which
// nothing is written to memory. The depth is channels · taps; the columns are the output's positions, of all samples.
//
//   x         [batch, groups · channels, input…]
//   w         [groups · maps, channels, kernel…], of a transposed one [groups · channels, maps, kernel…]
//   y         [batch, groups · maps, output…]; bias [groups · maps], residual like y, or null
//   partial   null, or [parts, elements of y]: sums over `span` of the depth each, which combine_convolution adds up
//   launch    convolve: (tiles, parts, groups · phases) blocks of Shape::threads; combine_convolution: any
//
// A thread reads one column for many depths.

#include "convolution_columns.cuh"
#include "product.cuh"

using MiddleTile = Tile<64, 64, 16, 8, 4>;
using NarrowTile = Tile<32, 128, 16, 8, 4>;

template <typename T, typename Shape, bool is_transposed>
__global__ void __launch_bounds__(Shape::threads, (sizeof(T) == 8 ? 256 : 512) / Shape::threads) convolve(
    const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ y, void* __restrict__ partial, Convolution p, Ending<T> ending, int span,
    bool is_packed
) {
    using A = accumulator_t<T>;
    constexpr int depth = Shape::depth, group = group_of<A, Shape::thread_columns>;
    static_assert(Shape::threads % Shape::columns == 0, "a thread reads one column");
    __shared__ Taps<Tap, depth> taps[2];
    __shared__ Slice<A, Shape::rows, depth> rows[2];
    __shared__ Slice<A, Shape::columns, depth> columns[2];
    Mover<A, Shape::rows, depth, Shape::threads, true> from_weights;
    Mover<A, Shape::columns, depth, Shape::threads, false> from_input;
    const int down = threadIdx.x / Shape::threads_across, across = threadIdx.x % Shape::threads_across;
    const int tiles_down = (p.maps + Shape::rows - 1) / Shape::rows;
    const int first_row = blockIdx.x % tiles_down * Shape::rows, first_column = blockIdx.x / tiles_down * Shape::columns;
    const int phases = is_transposed ? p.axis[0].stride * p.axis[1].stride * p.axis[2].stride : 1;
    const int weights_of_map = is_transposed ? p.taps() : p.channels * p.taps(), weights_of_channel = is_transposed ? p.maps * p.taps() : p.taps();
    const long long output_size = p.output_size();

    for (int task = blockIdx.z; task < p.groups * phases; task += gridDim.z) {
        const int of_group = task / phases;
        const Walks walks(p, is_transposed, task % phases);
        const int windows = p.batch * walks.count();
        if (first_column >= windows) continue;  // of the whole block
        const int whole = p.channels * walks.taps(), begin = blockIdx.y * span, end = whole - begin < span ? whole : begin + span;
        const T* weights = w + (static_cast<long long>(of_group) * p.maps * p.channels) * p.taps();
        const Column<T> column(x, p, walks, of_group, first_column + from_input.place(0), windows);
        int ready = 0;  // which table the next slice's elements stand in
        const auto left = [&](int row, int k) {
            return first_row + row < p.maps && k < end ? widen(weights[(first_row + row) * weights_of_map + taps[ready].weight[k % depth]]) : A(0);
        };
        const auto right = [&](int, int k) { return widen(column.element(p, taps[ready].tap[k % depth])); };
        A sum[Shape::thread_rows][Shape::thread_columns] = {};

        __syncthreads();  // the block may still read what it multiplied before
        taps[0].template write<is_transposed>(p, walks, weights_of_channel, begin, end);
        __syncthreads();
        from_weights.load(left, begin);
        from_input.load(right, begin);
        from_weights.store(rows[0]);
        from_input.store(columns[0]);
        taps[1].template write<is_transposed>(p, walks, weights_of_channel, begin + depth, end);
        __syncthreads();
        for (int first = begin; first < end; first += depth) {
            const int current = ready;
            const bool is_last = first + depth >= end;
            ready = 1 - current;
            if (!is_last) {
                from_weights.load(left, first + depth);
                from_input.load(right, first + depth);
            }
#pragma unroll Shape::unrolled
            for (int k = 0; k < depth; ++k) {
                A of_rows[Shape::thread_rows], of_columns[Shape::thread_columns];
                read_slice(rows[current], k, down, of_rows);
                read_slice(columns[current], k, across, of_columns);
#pragma unroll
                for (int i = 0; i < Shape::thread_rows; ++i)
#pragma unroll
                    for (int j = 0; j < Shape::thread_columns; ++j) sum[i][j] += of_rows[i] * of_columns[j];
            }
            if (!is_last) {
                from_weights.store(rows[ready]);
                from_input.store(columns[ready]);
                taps[current].template write<is_transposed>(p, walks, weights_of_channel, first + 2 * depth, end);
            }
            __syncthreads();
        }

long long target[Shape::thread_columns];  // within map 0; -1 for none
        int map[Shape::thread_rows];
#pragma unroll
        for (int j = 0; j < Shape::thread_columns; ++j) {
            const int place = first_column + place_of<A, Shape::thread_columns, Shape::columns>(across, j);
            target[j] = place >= windows ? -1 : j % group > 0 && is_packed ? target[j - j % group] + j % group : target_of(p, walks, place);
        }
#pragma unroll
        for (int i = 0; i < Shape::thread_rows; ++i) {
            const int row = first_row + place_of<A, Shape::thread_rows, Shape::rows>(down, i);
            map[i] = row < p.maps ? of_group * p.maps + row : -1;
        }
        if (partial) {
            const long long results = static_cast<long long>(p.batch) * p.groups * p.maps * output_size;
#pragma unroll
            for (int i = 0; i < Shape::thread_rows; ++i)
#pragma unroll
                for (int j = 0; j < Shape::thread_columns; ++j)
                    if (map[i] >= 0 && target[j] >= 0) static_cast<A*>(partial)[blockIdx.y * results + target[j] + map[i] * output_size] = sum[i][j];
            continue;
        }
        if (ending.bias) {
#pragma unroll
            for (int i = 0; i < Shape::thread_rows; ++i) {
                const A added = map[i] >= 0 ? widen(ending.bias[map[i]]) : A(0);
#pragma unroll
                for (int j = 0; j < Shape::thread_columns; ++j) sum[i][j] += added;
            }
        }
        if (ending.residual) {
#pragma unroll
            for (int i = 0; i < Shape::thread_rows; ++i)
#pragma unroll
                for (int j = 0; j < Shape::thread_columns; ++j)
                    if (map[i] >= 0 && target[j] >= 0) sum[i][j] += widen(ending.residual[target[j] + map[i] * output_size]);
        }
        ending.activation(sum);
#pragma unroll
        for (int i = 0; i < Shape::thread_rows; ++i) {
            if (map[i] < 0) continue;
#pragma unroll
            for (int j = 0; j < Shape::thread_columns; j += group) {
                T* to = y + target[j] + map[i] * output_size;
                Pack<T, group> result;
#pragma unroll
                for (int k = 0; k < group; ++k) {
                    result.element[k] = narrow<T>(sum[i][j + k]);
                    if (!is_packed && target[j + k] >= 0) y[target[j + k] + map[i] * output_size] = result.element[k];
                }
                if (is_packed && target[j] >= 0) *reinterpret_cast<Pack<T, group>*>(to) = result;
            }
        }
    }
}

template <typename T> __global__ void __launch_bounds__(256) combine_convolution(
    T* __restrict__ y, const void* __restrict__ partial, Ending<T> ending, long long count, int maps, int output_size, int parts
) {
    using A = accumulator_t<T>;
    for_each_index(count, [=](long long i) {
        A sum = 0;
        for (int part = 0; part < parts; ++part) sum += static_cast<const A*>(partial)[part * count + i];
        sum += ending.bias_of(static_cast<unsigned>(i) / output_size % maps) + (ending.residual ? widen(ending.residual[i]) : A(0));
        ending.activation(sum);
        y[i] = narrow<T>(sum);
    });
}
