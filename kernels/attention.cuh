// What the kernels of attention know of a problem, and which keys a query sees.
//
//   mask      bool (true is seen), T or float (added), any strides; keys from mask_keys on are not seen. Null for none
//   starts    added to `start`, the position of a batch's first query; null for none. lengths: keys of a batch that are there, or null for all
//   left      how many keys before its own position a query sees, right: how many behind; -1 for all
//   sink      a number a head that takes part in the softmax without a value (null and has_sink: 0)
//   cap       scores are cap · tanh(score / cap); 0 for none

#pragma once

#include "functions.cuh"
#include "scalar.cuh"

enum Mask : long long { none, seen, added, added_float };

struct Attention {
    long long batches, heads, key_heads, queries, keys, size, value_size;
    long long q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, y_batch, y_head, y_row;
    const void* mask;
    long long mask_kind, mask_keys, mask_batch, mask_head, mask_row, mask_key;
    const long long *starts, *lengths;
    long long start, left, right;
    const void* sink;
    long long has_sink;
    double scale, cap;
};

struct Row {
    long long head, query;
};

__device__ inline Row row_of(const Attention& p, long long key_head, long long row) {
    return {key_head * (p.heads / p.key_heads) + row / p.queries, row % p.queries};
}

__device__ inline long long start_of(const Attention& p, long long batch) { return p.start + (p.starts ? p.starts[batch] : 0); }

__device__ inline long long length_of(const Attention& p, long long batch) {
    return p.lengths && p.lengths[batch] < p.keys ? p.lengths[batch] : p.keys;
}

template <typename A> __device__ inline A capped(const Attention& p, A score) {
    return p.cap != 0 ? A(p.cap) * hyperbolic_tangent(score / A(p.cap)) : score;
}

template <typename T>
__device__ inline accumulator_t<T> masked(const Attention& p, accumulator_t<T> score, long long batch, const Row& row, long long key, long long position) {
    using A = accumulator_t<T>;
    const bool is_out = (p.right >= 0 && key > position + p.right) || (p.left >= 0 && key < position - p.left);
    if (is_out) return -infinity<A>();
    if (p.mask_kind == none) return score;
    if (key >= p.mask_keys) return -infinity<A>();
    const long long place = batch * p.mask_batch + row.head * p.mask_head + row.query * p.mask_row + key * p.mask_key;
    if (p.mask_kind == seen) return static_cast<const bool*>(p.mask)[place] ? score : -infinity<A>();
    if (p.mask_kind == added) return score + widen(static_cast<const T*>(p.mask)[place]);
    return score + A(static_cast<const float*>(p.mask)[place]);
}

template <typename T> __device__ inline accumulator_t<T> sink_of(const Attention& p, long long head) {
    using A = accumulator_t<T>;
    return p.has_sink ? p.sink ? widen(static_cast<const T*>(p.sink)[head]) : A(0) : -infinity<A>();
}
