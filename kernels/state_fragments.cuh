// Products of states with a recurrence's weights by fragments: warps multiply eight states with the gates of four features.
//
//   states, weights   as in state_products.cuh, of a type of two bytes; three or four gates
//   a                 the weights: row 4 f + g is gate g of feature f
//   b                 a state a column
//   lanes             lane l reads eight neighbours of the depth from 8 (l % 4) on, of two rows and a column, as the depths of two products:
//                     which depth is called which does not matter for a sum
//   parts             neighbouring warps that share the depth; the first gets the sums
//
// Where there is no such gate, feature or state, another one is read, and makes a sum that nobody asks for. Afterwards a lane has all gates
// of one place, a feature of a state. What a lane needs of the depth is read STAGES times before it is multiplied: nothing else hides how
// long that takes.

#pragma once

#include "fragments.cuh"
#include "reduce.cuh"
#include "vector.cuh"

constexpr int FRAGMENT_FEATURES = 4, FRAGMENT_STATES = 8, FRAGMENT_DEPTH = 32, LANE_DEPTH = 8, STAGES = 4, FRAGMENT_THREADS = 512;

template <typename T> __device__ inline bool reads_fragments(const T* pointer, long long stride) {
    return is_vector_aligned(pointer) && stride % LANE_DEPTH == 0;
}

// A lane's neighbours as pairs; 0 behind the end.
struct LaneDepth {
    unsigned pair[LANE_DEPTH / 2];

    template <bool at_once, typename T> __device__ void load(const T* row, int k, int end) {
        T element[LANE_DEPTH];
        if constexpr (at_once) {
            const Vector<T> read = k < end ? load_vector(row + k) : Vector<T>{};
#pragma unroll
            for (int n = 0; n < LANE_DEPTH; ++n) element[n] = read.element[n];
        } else {
#pragma unroll
            for (int n = 0; n < LANE_DEPTH; ++n) element[n] = k + n < end ? row[k + n] : narrow<T>(0.0f);
        }
#pragma unroll
        for (int n = 0; n < LANE_DEPTH / 2; ++n) pair[n] = pack(element[2 * n], element[2 * n + 1]);
    }
};

// The place of a lane.
struct FragmentPlace {
    __device__ static int number() { return threadIdx.x / 4 % 4; }  // among those that four lanes have together
    __device__ static int feature() { return threadIdx.x % WARP / 16 + (number() & 2); }
    __device__ static int state() { return threadIdx.x % 4 * 2 + (number() & 1); }
};

template <typename A> __device__ inline A picked(const A (&values)[4], int i) {
    const A lower = i & 1 ? values[1] : values[0], upper = i & 1 ? values[3] : values[2];
    return i & 2 ? upper : lower;
}

// The depths begin … end of a row of weights for features 0 and 1, of one for features 2 and 3, and of a state.
template <bool at_once, typename T>
__device__ inline void add_fragments(const T* upper, const T* lower, const T* column, int begin, int end, float (&products)[4]) {
    for (; begin < end; begin += STAGES * FRAGMENT_DEPTH) {
        LaneDepth above[STAGES], below[STAGES], across[STAGES];
#pragma unroll
        for (int stage = 0; stage < STAGES; ++stage) {
            const int k = begin + stage * FRAGMENT_DEPTH + threadIdx.x % 4 * LANE_DEPTH;
            above[stage].template load<at_once>(upper, k, end);
            below[stage].template load<at_once>(lower, k, end);
            across[stage].template load<at_once>(column, k, end);
        }
#pragma unroll
        for (int stage = 0; stage < STAGES; ++stage)
#pragma unroll
            for (int n = 0; n < LANE_DEPTH / 2; n += 2) {
                const unsigned a[4] = {above[stage].pair[n], below[stage].pair[n], above[stage].pair[n + 1], below[stage].pair[n + 1]};
                const unsigned b[2] = {across[stage].pair[n], across[stage].pair[n + 1]};
                multiply_fragments<T>(products, a, b);
            }
    }
}

// A lane has one gate of four places, and is to have four gates of one.
__device__ inline void gather_gates(const float (&products)[4], float (&sums)[4]) {
    const int own = FragmentPlace::number();
    float received[4];
#pragma unroll
    for (int distance = 0; distance < 4; ++distance)
        received[distance] = __shfl_xor_sync(ALL_LANES, picked(products, own ^ distance), 4 * distance);
#pragma unroll
    for (int n = 0; n < 4; ++n) sums[n] = picked(received, n ^ own);
}

// The sums of a warp's part of the depth. `state` is the first of `states`, `weight` the first gate's row of the first of `features`.
template <int gates, typename T>
__device__ inline void multiply_states(
    const T* state, long long state_step, int states, const T* weight, long long weight_step, int features, int depth, int part, int parts,
    bool at_once, float (&sums)[4]
) {
    const int row = threadIdx.x % WARP / 4, gate = row % 4 < gates ? row % 4 : 0, feature = row / 4;
    const auto of_feature = [&](int f) { return weight + gate * weight_step + (f < features ? f : 0) * static_cast<long long>(depth); };
    const T *upper = of_feature(feature), *lower = of_feature(feature + 2), *column = state + (row < states ? row : 0) * state_step;
    const int span = (depth + FRAGMENT_DEPTH * parts - 1) / (FRAGMENT_DEPTH * parts) * FRAGMENT_DEPTH, begin = part * span;
    const int end = begin + span < depth ? begin + span : depth;
    float products[4] = {};
    if (at_once) add_fragments<true>(upper, lower, column, begin, end, products);
    else add_fragments<false>(upper, lower, column, begin, end, products);
    gather_gates(products, sums);
}

// The sums of all parts, to the first; all threads of the block take part.
__device__ inline void add_parts(int part, int parts, float (&sums)[4]) {
    __shared__ float partial[4][FRAGMENT_THREADS];
    if (parts == 1) return;
#pragma unroll
    for (int n = 0; n < 4; ++n) partial[n][threadIdx.x] = sums[n];
    __syncthreads();
    if (part == 0)
        for (int other = 1; other < parts; ++other)
#pragma unroll
            for (int n = 0; n < 4; ++n) sums[n] += partial[n][threadIdx.x + other * WARP];
    __syncthreads();
}
