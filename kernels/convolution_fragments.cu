// Convolutions of float16 and bfloat16 as products on tensor cores: what convolution.cu computes, summed in float32.
//
//   launch    convolve_fragments: (tiles, parts, groups · phases) blocks of Shape::threads; all else as in convolution.cu
//   kernels   of at most MOST_MASKED taps along all axes together
//   is_paired whether neighbouring results are stored two at once
//
// Each thread reads neighbouring depths of one column, and of one map, into registers while the slice before is multiplied.

#include "convolution_columns.cuh"
#include "fragments.cuh"
#include "vector.cuh"

// rows × columns are computed by a block of down × across warps.
template <int rows_, int columns_, int down_, int across_> struct FragmentTile {
    static constexpr int rows = rows_, columns = columns_, down = down_, across = across_, threads = 32 * down * across;
    static constexpr int row_fragments = rows / down / 16, column_fragments = columns / across / 8;
    static constexpr int depth = 32, held = rows * depth / threads;
    static_assert(rows == columns && threads * held == rows * depth, "every thread moves as many of both");
};

using SmallFragments = FragmentTile<64, 64, 2, 2>;
using LargeFragments = FragmentTile<128, 128, 4, 4>;

// How the weights of a map lie: neighbouring depths are neighbours, and a multiple of 16 bytes; or neighbours; or apart, as those of a
// transposed convolution are.
enum Weights { IN_VECTORS, IN_ELEMENTS, TRANSPOSED };

template <typename T, Weights weights> struct Unit { using type = T; };
template <typename T> struct Unit<T, IN_VECTORS> { using type = unsigned; };

// Depths of one row or column, on their way to shared memory. They stay as they were loaded, so that nothing waits for them.
template <typename E, int bytes> struct Held {
    Vector<E> vector[bytes / VECTOR_BYTES];

    template <typename T> __device__ void store(T* target) const {
#pragma unroll
        for (int n = 0; n < bytes / VECTOR_BYTES; ++n) store_vector(reinterpret_cast<E*>(target) + n * Vector<E>::count, vector[n]);
    }
};

// Lines of a slice, padded so that the lanes that read a fragment read from different banks.
template <typename T, int size, int depth> struct Lines {
    alignas(VECTOR_BYTES) T value[size][depth + 8];

    __device__ unsigned pair(int line, int k) const { return *reinterpret_cast<const unsigned*>(&value[line][k]); }
};

template <typename T, typename Shape, Weights how>
__global__ void __launch_bounds__(Shape::threads, 512 / Shape::threads) convolve_fragments(
    const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ y, void* __restrict__ partial, Convolution p, Ending<T> ending, int span,
    bool is_paired
) {
    constexpr int depth = Shape::depth, held = Shape::held, width = Vector<T>::count;
    constexpr bool is_transposed = how == TRANSPOSED;
    __shared__ Taps<MaskedTap, depth> taps[2];
    __shared__ Lines<T, Shape::rows, depth> rows[2];
    __shared__ Lines<T, Shape::columns, depth> columns[2];
    Held<typename Unit<T, how>::type, held * sizeof(T)> of_weights;
    Held<T, held * sizeof(T)> of_window;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, quad = lane / 4, inner = lane % 4 * 2;
    const int warp_row = warp / Shape::across * (Shape::rows / Shape::down), warp_column = warp % Shape::across * (Shape::columns / Shape::across);
    const int my_row = threadIdx.x / (depth / held), row_depth = threadIdx.x % (depth / held) * held;
    const int my_column = threadIdx.x % Shape::columns, column_depth = threadIdx.x / Shape::columns * held;
    const int tiles_down = (p.maps + Shape::rows - 1) / Shape::rows;
    const int first_row = blockIdx.x % tiles_down * Shape::rows, first_column = blockIdx.x / tiles_down * Shape::columns;
    const int phases = is_transposed ? p.axis[0].stride * p.axis[1].stride * p.axis[2].stride : 1;
    const int weights_of_map = is_transposed ? p.taps() : p.channels * p.taps(), weights_of_channel = is_transposed ? p.maps * p.taps() : p.taps();
    const long long output_size = p.output_size();

    for (int task = blockIdx.z; task < p.groups * phases; task += gridDim.z) {
        const int group = task / phases;
        const Walks walks(p, is_transposed, task % phases);
        const int windows = p.batch * walks.count();
        if (first_column >= windows) continue;  // of the whole block
        const int whole = p.channels * walks.taps(), begin = blockIdx.y * span, end = whole - begin < span ? whole : begin + span;
        const T* weights = w + static_cast<long long>(group) * p.maps * p.channels * p.taps();
        weights += first_row + my_row < p.maps ? (first_row + my_row) * weights_of_map : 0;
        const int row_end = first_row + my_row < p.maps ? end : 0;
        const MaskedColumn<T> column(x, p, walks, group, first_column + my_column, windows);
        const auto load = [&](const Taps<MaskedTap, depth>& table, int first) {
#pragma unroll
            for (int n = 0; n < held; n += width) {
                const int k = first + row_depth + n;
                if constexpr (how == IN_VECTORS) {
                    of_weights.vector[n / width] = k < row_end ? load_vector(reinterpret_cast<const unsigned*>(weights + k)) : Vector<unsigned>{};
                } else {
#pragma unroll
                    for (int e = 0; e < width; ++e)
                        of_weights.vector[n / width].element[e] =
                            k + e < row_end ? weights[is_transposed ? table.weight[row_depth + n + e] : k + e] : narrow<T>(0.0f);
                }
#pragma unroll
                for (int e = 0; e < width; ++e) of_window.vector[n / width].element[e] = column.element(table.tap[column_depth + n + e]);
            }
        };
        const auto store = [&](int to) {
            of_weights.store(&rows[to].value[my_row][row_depth]);
            of_window.store(&columns[to].value[my_column][column_depth]);
        };
        float sum[Shape::row_fragments][Shape::column_fragments][4] = {};

        __syncthreads();  // the block may still read what it multiplied before
        taps[0].template write<is_transposed>(p, walks, weights_of_channel, begin, end);
        __syncthreads();
        load(taps[0], begin);
        store(0);
        taps[1].template write<is_transposed>(p, walks, weights_of_channel, begin + depth, end);
        __syncthreads();
        int current = 0;
        for (int first = begin; first < end; first += depth, current = 1 - current) {
            const bool is_last = first + depth >= end;
            if (!is_last) load(taps[1 - current], first + depth);
#pragma unroll
            for (int k = inner; k < depth; k += 16) {
                unsigned a[Shape::row_fragments][4], b[Shape::column_fragments][2];
#pragma unroll
                for (int i = 0; i < Shape::row_fragments; ++i)
#pragma unroll
                    for (int n = 0; n < 4; ++n) a[i][n] = rows[current].pair(warp_row + i * 16 + quad + n % 2 * 8, k + n / 2 * 8);
#pragma unroll
                for (int j = 0; j < Shape::column_fragments; ++j)
#pragma unroll
                    for (int n = 0; n < 2; ++n) b[j][n] = columns[current].pair(warp_column + j * 8 + quad, k + n * 8);
#pragma unroll
                for (int i = 0; i < Shape::row_fragments; ++i)
#pragma unroll
                    for (int j = 0; j < Shape::column_fragments; ++j) multiply_fragments<T>(sum[i][j], a[i], b[j]);
            }
            if (!is_last) {
                store(1 - current);
                taps[current].template write<is_transposed>(p, walks, weights_of_channel, first + 2 * depth, end);
            }
            __syncthreads();
        }

// Of fragment j this thread has columns `inner` and `inner + 1`, of fragment i the rows `quad` and `quad + 8`.
        long long target[Shape::column_fragments][2];  // within map 0; -1 for none
        int map[Shape::row_fragments][2];
#pragma unroll
        for (int j = 0; j < Shape::column_fragments; ++j) {
            const int place = first_column + warp_column + j * 8 + inner;
            target[j][0] = place < windows ? target_of(p, walks, place) : -1;
            target[j][1] = is_paired && place < windows ? target[j][0] + 1 : place + 1 < windows ? target_of(p, walks, place + 1) : -1;
        }
#pragma unroll
        for (int i = 0; i < 2 * Shape::row_fragments; ++i) {
            const int row = first_row + warp_row + i / 2 * 16 + i % 2 * 8 + quad;
            map[i / 2][i % 2] = row < p.maps ? group * p.maps + row : -1;
        }
        // visit(sum, map, place in y) for all that this thread has.
        const auto for_each_sum = [&](const auto& visit) {
#pragma unroll
            for (int i = 0; i < Shape::row_fragments; ++i)
#pragma unroll
                for (int j = 0; j < Shape::column_fragments; ++j)
#pragma unroll
                    for (int n = 0; n < 4; ++n)
                        if (map[i][n / 2] >= 0 && target[j][n % 2] >= 0)
                            visit(sum[i][j][n], map[i][n / 2], target[j][n % 2] + map[i][n / 2] * output_size);
        };
        if (partial) {
            float* of_part = static_cast<float*>(partial) + blockIdx.y * (p.batch * (p.groups * p.maps * output_size));
            for_each_sum([&](float value, int, long long to) { of_part[to] = value; });
            continue;
        }
        if (ending.bias) for_each_sum([&](float& value, int of_map, long long) { value += widen(ending.bias[of_map]); });
        if (ending.residual) for_each_sum([&](float& value, int, long long to) { value += widen(ending.residual[to]); });
        ending.activation(sum);
        if (!is_paired) {
            for_each_sum([&](float value, int, long long to) { y[to] = narrow<T>(value); });
            continue;
        }
#pragma unroll
        for (int i = 0; i < Shape::row_fragments; ++i)
#pragma unroll
            for (int j = 0; j < Shape::column_fragments; ++j)
#pragma unroll
                for (int n = 0; n < 2; ++n) {
                    if (map[i][n] < 0 || target[j][0] < 0) continue;
                    const Pack<T, 2> result = {{narrow<T>(sum[i][j][2 * n]), narrow<T>(sum[i][j][2 * n + 1])}};
                    *reinterpret_cast<Pack<T, 2>*>(y + target[j][0] + map[i][n] * output_size) = result;
                }
    }
}
