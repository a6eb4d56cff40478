// Products of states with a recurrence's weights, by the warps that need them: one feature's gates for `rows` states a warp.
//
//   states    [directions, batch, size], strides of directions and batch as given
//   weights   [directions, gates · size, size]
//   lanes     share the depth; afterwards a lane holds the sum of one state and gate
//
// Weights and states come from the cache that all multiprocessors share: this is for few states, where a matrix product has too few tiles.

#pragma once

#include "reduce.cuh"
#include "rows.cuh"

// Neighbours that are read at once: as many as leave registers for the sums.
template <typename T> constexpr int AT_ONCE = sizeof(T) == 8 ? 2 : 4;

template <typename T> __device__ inline bool reads_several(const T* pointer, long long stride) {
    return reinterpret_cast<Address>(pointer) % (AT_ONCE<T> * sizeof(T)) == 0 && stride % AT_ONCE<T> == 0;
}

// States that lie anywhere; null: zeros.
template <typename T> struct States {
    const T* data;
    long long direction, batch;

    __device__ const T* at(unsigned of_direction, unsigned of_batch) const { return data + of_direction * direction + of_batch * batch; }
    __device__ accumulator_t<T> value(unsigned of_direction, unsigned of_batch, unsigned feature) const {
        return data ? widen(at(of_direction, of_batch)[feature]) : accumulator_t<T>(0);
    }
    __device__ bool read_several() const { return reads_several(data, direction | batch); }
};

// The sums over all lanes of `count` values a lane, a power of two. Lane i is left with that of value i / (WARP / count).
template <int count, typename A> __device__ inline A sum_of_one(const A (&values)[count], int offset = WARP / 2) {
    if constexpr (count == 1) {
        A sum = values[0];
        for (; offset > 0; offset /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, offset);
        return sum;
    } else {
        const bool is_upper = threadIdx.x & offset;
        A kept[count / 2];
#pragma unroll
        for (int n = 0; n < count / 2; ++n) {
            const A lower = values[n], upper = values[n + count / 2];
            kept[n] = (is_upper ? upper : lower) + __shfl_xor_sync(ALL_LANES, is_upper ? lower : upper, offset);
        }
        return sum_of_one(kept, offset / 2);
    }
}

// A lane's part of the depth, `width` neighbours at a time.
template <int width, int rows, int of, int columns, typename T>
__device__ inline void add_products(
    const T* state, long long state_step, int rows_left, const T* weight, long long weight_step, int depth, accumulator_t<T> (&sums)[rows * columns]
) {
    for (int k = threadIdx.x % WARP * width; k < depth; k += WARP * width) {
        Piece<T, width> of_state[rows], of_weight[of];
#pragma unroll
        for (int gate = 0; gate < of; ++gate) of_weight[gate] = load_piece<T, width>(weight + gate * weight_step + k);
#pragma unroll
        for (int row = 0; row < rows; ++row)
            of_state[row] = row < rows_left ? load_piece<T, width>(state + row * state_step + k) : Piece<T, width>{};
#pragma unroll
        for (int n = 0; n < width; ++n)
#pragma unroll
            for (int row = 0; row < rows; ++row)
#pragma unroll
                for (int gate = 0; gate < of; ++gate)
                    sums[row * columns + gate] += widen(of_state[row].element[n]) * widen(of_weight[gate].element[n]);
    }
}

// Which sum a lane is left with, among `rows` states and `of` gates.
template <int rows, int of> struct Sums {
    static constexpr int columns = of == 3 ? 4 : of, lanes = WARP / (rows * columns);  // lanes that hold the same sum
    static_assert(rows * columns <= WARP, "more sums than lanes");

    __device__ static int row() { return threadIdx.x % WARP / (lanes * columns); }
    __device__ static int gate() { return threadIdx.x % WARP / lanes % columns; }
    // Among the lanes of a state's gates the first.
    __device__ static bool is_first() { return threadIdx.x % WARP % (lanes * columns) == 0; }

    // This lane's sum. `state` is the first of `rows_left`, `weight` the row of the feature's first gate.
    template <typename T>
    __device__ static accumulator_t<T> multiplied(
        const T* state, long long state_step, int rows_left, const T* weight, long long weight_step, int depth, bool reads_several
    ) {
        accumulator_t<T> sums[rows * columns] = {};
        if (reads_several) add_products<AT_ONCE<T>, rows, of, columns>(state, state_step, rows_left, weight, weight_step, depth, sums);
        else add_products<1, rows, of, columns>(state, state_step, rows_left, weight, weight_step, depth, sums);
        return sum_of_one(sums);
    }

    // What the lane of a gate has, to each lane of its state.
    template <typename A> __device__ static A from(A value, int gate) {
        return __shfl_sync(ALL_LANES, value, (row() * columns + gate) * lanes);
    }
};
