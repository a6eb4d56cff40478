// Products with weights packed in a few bits: y = a wᵀ + bias, where w stays as it is stored.
//
//   a, y      [rows, depth] and [rows, columns]; bias [columns] or null
//   Blocks    w [columns, depth] in 2, 4 or 8 bits, lowest bits first, each row in whole blocks of 2^block_bits codes:
//             (code - zero) · scale, scales [columns, blocks]; zeros null (the middle), codes packed like w, or numbers
//   Levels    w flattened, two codes a byte, the first in the high bits: levels[code] · scale of its block of 2^block_bits codes
//   launch    multiply_packed: tiles, Shape::threads; multiply_packed_rows: (columns / 8, rows / ROWS) blocks of 256 threads, a warp a column
//
// multiply_packed_rows reads eight weights a lane at once; a block has whole eights. The sums are float32.

#include "product.cuh"
#include "reduce.cuh"
#include "scalar.cuh"

constexpr int TOGETHER = 8;

template <int bits> __device__ inline int code_at(const unsigned char* row, int place) {
    return row[place * bits / 8] >> (place * bits % 8) & ((1 << bits) - 1);
}

// Fields of both kinds, so that they are passed alike; each kind reads its own.
template <typename Scale> struct Stored {
    const unsigned char* data;
    const Scale* scales;
    const void* zeros;
    const float* levels;
    long long row_bytes, zero_row, blocks, depth_stride, column_stride, block_bits, zeros_are_packed;
};

template <typename Scale, int bits> struct Blocks : Stored<Scale> {
    using Stored<Scale>::data, Stored<Scale>::scales, Stored<Scale>::block_bits, Stored<Scale>::blocks, Stored<Scale>::row_bytes;

    __device__ float zero_of(long long column, int number) const {
        if (!this->zeros) return 1 << (bits - 1);
        if (this->zeros_are_packed) return code_at<bits>(static_cast<const unsigned char*>(this->zeros) + column * this->zero_row, number);
        return widen(static_cast<const Scale*>(this->zeros)[column * blocks + number]);
    }
    __device__ float operator()(long long column, int k) const {
        const int number = k >> static_cast<int>(block_bits);
        return (code_at<bits>(data + column * row_bytes, k) - zero_of(column, number)) * widen(scales[column * blocks + number]);
    }
    __device__ void together(long long column, int k, float (&weights)[TOGETHER]) const {
        const unsigned char* from = data + column * row_bytes + k * bits / 8;
        unsigned long long codes;
        if constexpr (bits == 2) codes = *reinterpret_cast<const unsigned short*>(from);
        else if constexpr (bits == 4) codes = *reinterpret_cast<const unsigned int*>(from);
        else codes = *reinterpret_cast<const unsigned long long*>(from);
        const int number = k >> static_cast<int>(block_bits);
        const float zero = zero_of(column, number), scale = widen(scales[column * blocks + number]);
#pragma unroll
        for (int n = 0; n < TOGETHER; ++n) weights[n] = (static_cast<int>(codes >> n * bits & ((1 << bits) - 1)) - zero) * scale;
    }
};

template <typename Scale> struct Levels : Stored<Scale> {
    using Stored<Scale>::data, Stored<Scale>::scales, Stored<Scale>::levels, Stored<Scale>::block_bits;

    __device__ float operator()(long long column, int k) const {
        const long long place = column * this->column_stride + k * this->depth_stride;
        return levels[data[place / 2] >> (place % 2 ? 0 : 4) & 15] * widen(scales[place >> block_bits]);
    }
    __device__ void together(long long column, int k, float (&weights)[TOGETHER]) const {
        const long long place = column * this->column_stride + k;
        const unsigned int codes = *reinterpret_cast<const unsigned int*>(data + place / 2);
        const float scale = widen(scales[place >> block_bits]);
#pragma unroll
        for (int n = 0; n < TOGETHER; ++n) weights[n] = levels[codes >> (n / 2 * 8 + (n % 2 ? 0 : 4)) & 15] * scale;
    }
};

template <typename T, typename Weights, typename Shape>
__global__ void __launch_bounds__(Shape::threads, 512 / Shape::threads) multiply_packed(
    const T* __restrict__ a, Weights weights, const T* __restrict__ bias, T* __restrict__ y, long long rows, long long columns, int depth
) {
    const long long tiles_down = (rows + Shape::rows - 1) / Shape::rows;
    const long long first_row = blockIdx.x % tiles_down * Shape::rows, first_column = blockIdx.x / tiles_down * Shape::columns;
    const auto left = [&](int place, int k) {
        const long long row = first_row + place;
        return row < rows && k < depth ? widen(a[row * depth + k]) : 0.0f;
    };
    const auto right = [&](int place, int k) {
        const long long column = first_column + place;
        return column < columns && k < depth ? weights(column, k) : 0.0f;
    };
    multiply_tile<float, Shape, true>(left, right, 0, depth, [&](int down, int across, float sum) {
        const long long row = first_row + down, column = first_column + across;
        if (row < rows && column < columns) y[row * columns + column] = narrow<T>(bias ? sum + widen(bias[column]) : sum);
    });
}

template <typename T> __device__ inline void load_together(const T* from, int left, bool is_aligned, float (&values)[TOGETHER]) {
    if (is_aligned && left >= TOGETHER) {
#pragma unroll
        for (int n = 0; n < TOGETHER; n += Vector<T>::count) {
            const Vector<T> read = load_vector(from + n);
#pragma unroll
            for (int k = 0; k < Vector<T>::count; ++k) values[n + k] = widen(read.element[k]);
        }
    } else {
#pragma unroll
        for (int n = 0; n < TOGETHER; ++n) values[n] = n < left ? widen(from[n]) : 0.0f;
    }
}

constexpr int ROWS = 4;

template <typename T, typename Weights>
__global__ void __launch_bounds__(256) multiply_packed_rows(
    const T* __restrict__ a, Weights weights, const T* __restrict__ bias, T* __restrict__ y, long long rows, long long columns, int depth
) {
    const int lane = threadIdx.x % WARP;
    const long long column = static_cast<long long>(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
    const long long first_row = static_cast<long long>(blockIdx.y) * ROWS;
    const int rows_left = rows - first_row < ROWS ? static_cast<int>(rows - first_row) : ROWS;
    if (column >= columns) return;  // a whole warp; no barrier follows
    const bool is_aligned = is_vector_aligned(a) && depth % TOGETHER == 0;
    float sums[ROWS] = {};
    for (int k = lane * TOGETHER; k < depth; k += WARP * TOGETHER) {
        float of_weights[TOGETHER], of_row[TOGETHER];
        weights.together(column, k, of_weights);
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            if (row >= rows_left) break;
            load_together(a + (first_row + row) * depth + k, depth - k, is_aligned, of_row);
#pragma unroll
            for (int n = 0; n < TOGETHER; ++n) sums[row] += of_weights[n] * of_row[n];
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; ++row) {
        const float sum = reduce_warp(sums[row], Sum());
        if (lane == 0 && row < rows_left) y[(first_row + row) * columns + column] = narrow<T>(bias ? sum + widen(bias[column]) : sum);
    }
}
