// A tile of a matrix product: registers hold a small block of it a thread, shared memory two slices of the operands.
//
// While one slice is multiplied, the next is on its way from global memory to registers; then the slices change places. The operands
// are functions of a place along the tile and of the depth, so that a dense matrix, a transposed one and one of packed weights are
// the same to it; outside the matrix they give 0. Every thread of the block calls multiply_tile.

#pragma once

#include "vector.cuh"

// rows × columns are computed by one block, in slices of `depth`, thread_rows × thread_columns by each thread.
template <int rows_, int columns_, int depth_, int thread_rows_, int thread_columns_> struct Tile {
    static constexpr int rows = rows_, columns = columns_, depth = depth_, thread_rows = thread_rows_, thread_columns = thread_columns_;
    static constexpr int threads_across = columns / thread_columns;
    static constexpr int threads = rows / thread_rows * threads_across;
    static constexpr int unrolled = thread_rows * thread_columns < 64 ? depth : 1;  // many sums keep the thread busy, and take its registers
};

using LargeTile = Tile<128, 128, 8, 8, 8>;
using MediumTile = Tile<64, 64, 16, 4, 4>;
using FlatTile = Tile<8, 128, 16, 4, 2>;

// `size` values of each of `depth` slices, lines padded so that writes along either axis fall into different banks.
template <typename A, int size, int depth> struct Slice {
    static constexpr int pad = Vector<A>::count;
    alignas(VECTOR_BYTES) A value[depth][size + pad];
};

// Moves this thread's share of a slice from global to shared memory. Neighbouring threads read along the depth, or along the other axis.
template <typename A, int size, int depth, int threads, bool by_depth> struct Mover {
    static constexpr int count = size * depth / threads;
    static_assert(size * depth % threads == 0 && threads % (by_depth ? depth : size) == 0, "every thread moves equally many");
    A held[count];

    static __device__ int place(int n) { return by_depth ? threadIdx.x / depth + n * (threads / depth) : threadIdx.x % size; }
    static __device__ int slice(int n) { return by_depth ? threadIdx.x % depth : threadIdx.x / size + n * (threads / size); }
    template <typename Source> __device__ void load(const Source& source, int first) {
#pragma unroll
        for (int n = 0; n < count; ++n) held[n] = source(place(n), first + slice(n));
    }
    __device__ void store(Slice<A, size, depth>& target) const {
#pragma unroll
        for (int n = 0; n < count; ++n) target.value[slice(n)][place(n)] = held[n];
    }
};

template <typename A, int per_thread> constexpr int group_of = per_thread < Vector<A>::count ? per_thread : Vector<A>::count;

// Where in the tile a thread's value n lies: groups of a vector, spread so that neighbouring threads read neighbouring groups.
template <typename A, int per_thread, int size> __device__ inline int place_of(int thread, int n) {
    constexpr int group = group_of<A, per_thread>;
    return n / group * (size / (per_thread / group)) + thread * group + n % group;
}

template <typename A, int per_thread, int size, int depth>
__device__ inline void read_slice(const Slice<A, size, depth>& source, int slice, int thread, A (&values)[per_thread]) {
    constexpr int group = group_of<A, per_thread>;
#pragma unroll
    for (int n = 0; n < per_thread; n += group) {
        const A* from = &source.value[slice][place_of<A, per_thread, size>(thread, n)];
        if constexpr (group == Vector<A>::count) {
            const Vector<A> read = load_vector(from);
#pragma unroll
            for (int k = 0; k < group; ++k) values[n + k] = read.element[k];
        } else {
#pragma unroll
            for (int k = 0; k < group; ++k) values[n + k] = from[k];
        }
    }
}

// store(row, column, sum over depth in [begin, end) of left(row, depth) * right(column, depth)) for every place of the tile.
template <typename A, typename Shape, bool right_by_depth, typename Left, typename Right, typename Store>
__device__ inline void multiply_tile(const Left& left, const Right& right, int begin, int end, const Store& store) {
    __shared__ Slice<A, Shape::rows, Shape::depth> rows[2];
    __shared__ Slice<A, Shape::columns, Shape::depth> columns[2];
    Mover<A, Shape::rows, Shape::depth, Shape::threads, true> from_left;
    Mover<A, Shape::columns, Shape::depth, Shape::threads, right_by_depth> from_right;
    const int down = threadIdx.x / Shape::threads_across, across = threadIdx.x % Shape::threads_across;
    A sum[Shape::thread_rows][Shape::thread_columns] = {};

    __syncthreads();  // the block may still read what it multiplied before
    from_left.load(left, begin);
    from_right.load(right, begin);
    from_left.store(rows[0]);
    from_right.store(columns[0]);
    __syncthreads();
    int current = 0;
    for (int first = begin; first < end; first += Shape::depth) {
        const bool is_last = first + Shape::depth >= end;
        if (!is_last) {
            from_left.load(left, first + Shape::depth);
            from_right.load(right, first + Shape::depth);
        }
#pragma unroll Shape::unrolled
        for (int k = 0; k < Shape::depth; ++k) {
            A of_rows[Shape::thread_rows], of_columns[Shape::thread_columns];
            read_slice(rows[current], k, down, of_rows);
            read_slice(columns[current], k, across, of_columns);
#pragma unroll
            for (int i = 0; i < Shape::thread_rows; ++i)
#pragma unroll
                for (int j = 0; j < Shape::thread_columns; ++j) sum[i][j] += of_rows[i] * of_columns[j];
        }
        if (!is_last) {
            from_left.store(rows[1 - current]);
            from_right.store(columns[1 - current]);
        }
        __syncthreads();
        current = 1 - current;
    }
#pragma unroll
    for (int i = 0; i < Shape::thread_rows; ++i)
#pragma unroll
        for (int j = 0; j < Shape::thread_columns; ++j)
            store(place_of<A, Shape::thread_rows, Shape::rows>(down, i), place_of<A, Shape::thread_columns, Shape::columns>(across, j), sum[i][j]);
}
