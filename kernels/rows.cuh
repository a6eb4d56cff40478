// Rows that teams of threads hold in registers, so that memory is read once whatever is made of a row.
//
//   launch    blocks of (x, y) threads: y teams of x threads, a row a team; x is a power of two up to a warp, or y is 1 and
//             x whole warps, at most ROW_THREADS<T>
//   pieces    a row is cut into pieces of 16 bytes (`is_wide`: its length is whole pieces, and all addresses are aligned) or of one
//             element; thread t has pieces t, t + x, t + 2x… and holds HELD_VECTORS or HELD_ONES at a time, half as many of double
//
// onnxgpu/providers/cuda/rows.py chooses among them. All threads of a block stay to its end, those without a row as well.

#pragma once

#include "reduce.cuh"
#include "scalar.cuh"
#include "vector.cuh"

constexpr int HELD_VECTORS = 4, HELD_ONES = 8;

// What 16 bytes of a 2-byte type become takes twice as many registers.
template <typename T> constexpr int ROW_THREADS = sizeof(T) == 2 ? 512 : 1024;

template <typename T, int width> struct alignas(width * sizeof(T)) Piece {
    T element[width];
};

template <typename T, int width> __device__ inline Piece<T, width> load_piece(const T* pointer) {
    if constexpr (width * sizeof(T) == VECTOR_BYTES) { REQUIRE_VECTOR_ALIGNMENT(pointer); }
    return *reinterpret_cast<const Piece<T, width>*>(pointer);
}

template <typename T, int width> __device__ inline void store_piece(T* pointer, const Piece<T, width>& piece) {
    if constexpr (width * sizeof(T) == VECTOR_BYTES) { REQUIRE_VECTOR_ALIGNMENT(pointer); }
    *reinterpret_cast<Piece<T, width>*>(pointer) = piece;
}

// What a thread holds of its team's row: `held` pieces of `width` elements.
template <typename T, bool is_wide> struct RowTeam {
    static constexpr int width = is_wide ? Vector<T>::count : 1, held = (is_wide ? HELD_VECTORS : HELD_ONES) / (sizeof(T) == 8 ? 2 : 1);
    using Raw = Piece<T, width>[held];
    using Values = accumulator_t<T>[held][width];

    long long row, begin;
    int pieces;

    // Behind the last row there are no pieces.
    __device__ RowTeam(long long rows, int count) {
        row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
        begin = row * count;
        pieces = row < rows ? count / width : 0;
    }

    // function(n, i) for each piece that is held: its number here, and the place in the row of its first element. Rows that are too
    // long are held a part at a time, which begins with piece `first`.
    template <typename Function> __device__ void for_each_piece(Function function, int first = 0) const {
#pragma unroll
        for (int n = 0; n < held; ++n) {
            const int piece = first + threadIdx.x + n * blockDim.x;
            if (piece < pieces) function(n, piece * width);
        }
    }

    // function(n, k, i) for each element that is held: piece, place in it, and place in the row.
    template <typename Function> __device__ void for_each_element(Function function, int first = 0) const {
        for_each_piece([&](int n, int i) {
#pragma unroll
            for (int k = 0; k < width; ++k) function(n, k, i + k);
        }, first);
    }

    __device__ int part() const { return held * blockDim.x; }

    __device__ void load(const T* source, Raw& raw, int first = 0) const {
        for_each_piece([&](int n, int i) { raw[n] = load_piece<T, width>(source + i); }, first);
    }

    // function(n, k, source[i]), or of 0 where there is no element, for all that a thread can hold. No condition stands between the
    // loads and what is made of them, so that all are in flight together.
    template <typename Function> __device__ void with_row(const T* source, Function function) const {
        Raw raw = {};
        load(source, raw);
#pragma unroll
        for (int n = 0; n < held; ++n)
#pragma unroll
            for (int k = 0; k < width; ++k) function(n, k, widen(raw[n].element[k]));
    }

    // target[i] = function(n, k, i), rounded once.
    template <typename Function> __device__ void store(T* target, Function function, int first = 0) const {
        for_each_piece([&](int n, int i) {
            Piece<T, width> result;
#pragma unroll
            for (int k = 0; k < width; ++k) result.element[k] = narrow<T>(function(n, k, i + k));
            store_piece(target + i, result);
        }, first);
    }
};

// The team's threads combine their values; every one gets the result. `scratch` holds a value a warp, and is used once.
template <typename A, typename Combine> __device__ inline A reduce_team(A value, A neutral, A* scratch, Combine combine) {
    for (int offset = (blockDim.x < WARP ? blockDim.x : WARP) / 2; offset > 0; offset /= 2)
        value = combine(value, __shfl_xor_sync(ALL_LANES, value, offset));
    if (blockDim.x <= WARP) return value;
    const int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    if (lane == 0) scratch[threadIdx.x / WARP] = value;
    __syncthreads();
    return reduce_warp(lane < warps ? scratch[lane] : neutral, combine);
}
