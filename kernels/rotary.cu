// Rotary embedding: pairs of features turned by the angles of their position.
//
//   x, y            [batches, heads, length, size] of any strides but the last, which is 1; features from 2 · half on stay
//   cosines, sines  [rows, half]; the row of a place is positions[batch, place], or batch · length + place without positions, or with
//                   one position counted on from it
//   is_interleaved  pairs are neighbours, not half features apart
//   launch          any number of blocks and threads: a feature a thread at a time

#include "scalar.cuh"
#include "vector.cuh"

struct Rotary {
    long long batches, heads, length, size, half, rows;
    long long x_batch, x_head, x_place, y_batch, y_head, y_place;
    const long long* positions;
    long long position_batch, position_step, counted, is_interleaved;
};

__device__ inline long long angle_row(const Rotary& r, long long batch, long long place) {
    if (!r.positions) return batch * r.length + place;
    const long long position = r.positions[batch * r.position_batch + place * r.position_step] + (r.counted ? place : 0);
    const long long row = position % r.rows;
    return row < 0 ? row + r.rows : row;
}

template <typename T>
__global__ void __launch_bounds__(256) rotate(
    const T* __restrict__ x, const T* __restrict__ cosines, const T* __restrict__ sines, T* __restrict__ y, Rotary r
) {
    using A = accumulator_t<T>;
    for_each_index(r.batches * r.heads * r.length * r.size, [&](long long i) {
        const long long feature = i % r.size, head = i / r.size % r.heads;
        const long long place = i / r.size / r.heads % r.length, batch = i / r.size / r.heads / r.length;
        const T* source = x + batch * r.x_batch + head * r.x_head + place * r.x_place;
        A value = widen(source[feature]);
        if (feature < 2 * r.half) {
            const long long pair = r.is_interleaved ? feature / 2 : feature % r.half;
            const bool is_second = r.is_interleaved ? feature % 2 : feature >= r.half;
            const A other = widen(source[r.is_interleaved ? feature ^ 1 : is_second ? feature - r.half : feature + r.half]);
            const long long angle = angle_row(r, batch, place) * r.half + pair;
            const A cosine = widen(cosines[angle]), sine = widen(sines[angle]);
            value = is_second ? other * sine + value * cosine : value * cosine - other * sine;
        }
        y[batch * r.y_batch + head * r.y_head + place * r.y_place + feature] = narrow<T>(value);
    });
}

// q and k by the angles of their places, [batches, each]: x cos + turned sin, both rounded to their type; each = length · size
template <typename T>
__device__ inline void rotate_all(const float* emb, const T* x, const T* turned, T* y, long long each, long long heads, long long batches) {
    for_each_index(batches * heads * each, [=](long long i) {
        const float angle = emb[i / (heads * each) * each + i % each];
        const float cosine = widen(narrow<T>(cosf(angle))), sine = widen(narrow<T>(sinf(angle)));
        y[i] = narrow<T>(widen(x[i]) * cosine + widen(turned[i]) * sine);
    });
}

template <typename T>
__global__ void __launch_bounds__(256) rotate_both(
    const float* __restrict__ emb, const T* q, const T* q_turned, const T* k, const T* k_turned, T* q_out, T* k_out, long long each,
    long long q_heads, long long k_heads, long long batches
) {
    rotate_all(emb, q, q_turned, q_out, each, q_heads, batches);
    rotate_all(emb, k, k_turned, k_out, each, k_heads, batches);
}
