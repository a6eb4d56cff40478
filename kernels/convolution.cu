// Convolutions and transposed convolutions as products: the weights (maps, depth) with columns of input elements (depth, columns), of which
// nothing is written to memory. The depth is channels · taps; the columns are the output's positions, of all samples.
//
//   x         [batch, groups · channels, input…]
//   w         [groups · maps, channels, kernel…], of a transposed one [groups · channels, maps, kernel…]
//   y         [batch, groups · maps, output…]; bias [groups · maps], residual like y, or null
//   partial   null, or [parts, elements of y]: sums over `span` of the depth each, which combine_convolution adds up
//   launch    convolve: (tiles, parts, groups · phases) blocks of Shape::threads; combine_convolution: any
//
// A transposed convolution is several convolutions with stride 1, a phase each: output positions that leave the same rest when
// divided by the strides have the same taps. A thread reads one column for many depths; where an element of the depth lies, from
// the first element of a window on, stands in a table in shared memory, which is written one slice ahead.

#include "convolution.cuh"
#include "product.cuh"

using MiddleTile = Tile<64, 64, 16, 8, 4>;
using NarrowTile = Tile<32, 128, 16, 8, 4>;

// One axis in one phase: `count` windows, each `step` after the one before, of `taps` elements, each `apart` from the one before.
struct Walk {
    int count, first, step, taps, apart;            // in elements of the input
    int out_first, out_step, tap_first, tap_step;  // of the output, and of the kernel

    __device__ Walk(const Axis& axis, bool is_transposed, int phase) {
        if (!is_transposed) {
            count = axis.out_size, first = -axis.begin, step = axis.stride, taps = axis.kernel, apart = axis.dilation;
            out_first = 0, out_step = 1, tap_first = 0, tap_step = 1;
            return;
        }
        out_first = phase, out_step = axis.stride, step = 1;
        count = (axis.out_size - phase + axis.stride - 1) / axis.stride;
        tap_step = 1;
        while (tap_step * axis.dilation % axis.stride != 0) ++tap_step;
        tap_first = 0;
        while (tap_first < tap_step && (phase + axis.begin - tap_first * axis.dilation) % axis.stride != 0) ++tap_first;
        taps = tap_first < tap_step && tap_first < axis.kernel ? (axis.kernel - tap_first + tap_step - 1) / tap_step : 0;
        first = (phase + axis.begin - tap_first * axis.dilation) / axis.stride;
        apart = -(tap_step * axis.dilation / axis.stride);
    }
};

struct Walks {
    Walk axis[3];

    __device__ Walks(const Convolution& p, bool is_transposed, int phase)
        : axis{
              {p.axis[0], is_transposed, phase / (p.axis[1].stride * p.axis[2].stride)},
              {p.axis[1], is_transposed, phase / p.axis[2].stride % p.axis[1].stride},
              {p.axis[2], is_transposed, phase % p.axis[2].stride}} {}
    __device__ int count() const { return axis[0].count * axis[1].count * axis[2].count; }
    __device__ int taps() const { return axis[0].taps * axis[1].taps * axis[2].taps; }
};

constexpr int OUTSIDE = -(1 << 30);

// Where an element of the depth lies, seen from the first element of a window and from a map's first weight.
struct alignas(16) Tap {
    int input, place[3];
};

template <int depth> struct Taps {
    Tap tap[depth];
    int weight[depth];

    // Threads [0, depth) write an element each; those from `end` on are outside of every input.
    __device__ void write(const Convolution& p, const Walks& walks, int weights_of_channel, int first, int end) {
        const int k = first + static_cast<int>(threadIdx.x);
        if (threadIdx.x >= depth) return;
        tap[threadIdx.x] = {0, {OUTSIDE, OUTSIDE, OUTSIDE}};
        weight[threadIdx.x] = 0;
        if (k >= end) return;
        const Walk &outer = walks.axis[0], &middle = walks.axis[1], &inner = walks.axis[2];
        const unsigned line = inner.taps, face = line * middle.taps, whole = face * outer.taps, channel = k / whole, rest = k % whole;
        const int number[3] = {static_cast<int>(rest / face), static_cast<int>(rest % face / line), static_cast<int>(rest % line)};
        Tap found;
        int of_kernel[3];
#pragma unroll
        for (int n = 0; n < 3; ++n) {
            found.place[n] = number[n] * walks.axis[n].apart;
            of_kernel[n] = walks.axis[n].tap_first + number[n] * walks.axis[n].tap_step;
        }
        found.input = channel * p.input_size() + (found.place[0] * p.axis[1].size + found.place[1]) * p.axis[2].size + found.place[2];
        tap[threadIdx.x] = found;
        weight[threadIdx.x] =
            channel * weights_of_channel + (of_kernel[0] * p.axis[1].kernel + of_kernel[1]) * p.axis[2].kernel + of_kernel[2];
    }
};

// The window of one column.
template <typename T> struct Column {
    const T* from;
    int place[3];

    __device__ Column(const T* x, const Convolution& p, const Walks& walks, int group, int column, int columns) {
        const unsigned line = walks.axis[2].count, face = line * walks.axis[1].count, whole = face * walks.axis[0].count;
        const unsigned image = column / whole, rest = column % whole;
        const int number[3] = {static_cast<int>(rest / face), static_cast<int>(rest % face / line), static_cast<int>(rest % line)};
#pragma unroll
        for (int n = 0; n < 3; ++n) place[n] = walks.axis[n].first + number[n] * walks.axis[n].step;
        from = x + (static_cast<long long>(image) * p.groups + group) * p.channels * p.input_size();
        from += (place[0] * p.axis[1].size + place[1]) * p.axis[2].size + place[2];
        if (column >= columns) place[0] = OUTSIDE;
    }
    __device__ accumulator_t<T> operator()(const Convolution& p, const Tap& tap) const {
        const bool is_inside = is_within(place[0] + tap.place[0], p.axis[0].size) && is_within(place[1] + tap.place[1], p.axis[1].size) &&
                               is_within(place[2] + tap.place[2], p.axis[2].size);
        return is_inside ? widen(from[tap.input]) : accumulator_t<T>(0);
    }
};

// Where the result of a column lies within y, for map 0.
__device__ inline long long target_of(const Convolution& p, const Walks& walks, int column) {
    const unsigned line = walks.axis[2].count, face = line * walks.axis[1].count, whole = face * walks.axis[0].count;
    const unsigned image = column / whole, rest = column % whole;
    const int number[3] = {static_cast<int>(rest / face), static_cast<int>(rest % face / line), static_cast<int>(rest % line)};
    int place[3];
#pragma unroll
    for (int n = 0; n < 3; ++n) place[n] = walks.axis[n].out_first + number[n] * walks.axis[n].out_step;
    const int within = (place[0] * p.axis[1].out_size + place[1]) * p.axis[2].out_size + place[2];
    return static_cast<long long>(image) * p.groups * p.maps * p.output_size() + within;
}

template <typename T, typename Shape, bool is_transposed>
__global__ void __launch_bounds__(Shape::threads, (sizeof(T) == 8 ? 256 : 512) / Shape::threads) convolve(
    const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ y, void* __restrict__ partial, Convolution p, Ending<T> ending, int span,
    bool is_packed
) {
    using A = accumulator_t<T>;
    constexpr int depth = Shape::depth, group = group_of<A, Shape::thread_columns>;
    static_assert(Shape::threads % Shape::columns == 0, "a thread reads one column");
    __shared__ Taps<depth> taps[2];
    __shared__ Slice<A, Shape::rows, depth> rows[2];
    __shared__ Slice<A, Shape::columns, depth> columns[2];
    Mover<A, Shape::rows, depth, Shape::threads, true> from_weights;
    Mover<A, Shape::columns, depth, Shape::threads, false> from_input;
    const int down = threadIdx.x / Shape::threads_across, across = threadIdx.x % Shape::threads_across;
    const int tiles_down = (p.maps + Shape::rows - 1) / Shape::rows;
    const int first_row = blockIdx.x % tiles_down * Shape::rows, first_column = blockIdx.x / tiles_down * Shape::columns;
    const int phases = is_transposed ? p.axis[0].stride * p.axis[1].stride * p.axis[2].stride : 1;
    const int weights_of_map = is_transposed ? p.taps() : p.channels * p.taps(), weights_of_channel = is_transposed ? p.maps * p.taps() : p.taps();
    const long long results = static_cast<long long>(p.batch) * p.groups * p.maps * p.output_size();

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
        const auto right = [&](int, int k) { return column(p, taps[ready].tap[k % depth]); };
        A sum[Shape::thread_rows][Shape::thread_columns] = {};

        __syncthreads();  // the block may still read what it multiplied before
        taps[0].write(p, walks, weights_of_channel, begin, end);
        __syncthreads();
        from_weights.load(left, begin);
        from_input.load(right, begin);
        from_weights.store(rows[0]);
        from_input.store(columns[0]);
        taps[1].write(p, walks, weights_of_channel, begin + depth, end);
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
                taps[current].write(p, walks, weights_of_channel, first + 2 * depth, end);
            }
            __syncthreads();
        }

#pragma unroll
        for (int j = 0; j < Shape::thread_columns; j += group) {
            const int place = first_column + place_of<A, Shape::thread_columns, Shape::columns>(across, j);
            long long target[group];
#pragma unroll
            for (int k = 0; k < group; ++k)
                target[k] = k > 0 && is_packed ? target[0] + k : place + k < windows ? target_of(p, walks, place + k) : -1;
            if (target[0] < 0) continue;
#pragma unroll
            for (int i = 0; i < Shape::thread_rows; ++i) {
                const int row = first_row + place_of<A, Shape::thread_rows, Shape::rows>(down, i), map = of_group * p.maps + row;
                if (row >= p.maps) continue;
                const long long of_map = static_cast<long long>(map) * p.output_size();
                const A added = partial ? A(0) : ending.bias_of(map);
                Pack<T, group> result;
#pragma unroll
                for (int k = 0; k < group; ++k) {
                    if (target[k] < 0) continue;
                    const long long to = target[k] + of_map;
                    if (partial) static_cast<A*>(partial)[blockIdx.y * results + to] = sum[i][j + k];
                    else if (is_packed) result.element[k] = ending(sum[i][j + k], added, to);
                    else y[to] = ending(sum[i][j + k], added, to);
                }
                if (is_packed && !partial) *reinterpret_cast<Pack<T, group>*>(y + target[0] + of_map) = result;
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
        y[i] = ending(sum, ending.bias_of(static_cast<unsigned>(i) / output_size % maps), i);
    });
}
