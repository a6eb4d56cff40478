// Linear attention: a state of each head, updated token by token and read by queries.
//
//   query     [batch, steps, query_heads, size]; consecutive ones share a head's state, or serve consecutive heads where they are fewer
//   key       [batch, steps, key_heads, size], each for consecutive heads
//   value     [batch, steps, heads, value_size]
//   decay     [batch, steps, decay_heads, decay_size], the logarithm of what is left of the state: a head or all, a row or all; null: all is
//   rate      [batch, steps, rate_heads]: what the state holds of the key is taken off the value first; null: it is not
//   past      [batch, heads, size, value_size]; null: zero
//   y         [batch, steps, query_heads or heads, the more of them, value_size]
//   present   as past, and may be it
//   updates   as value: what is added for the keys; null: not wanted
//   launch    any number of blocks of whole warps; rows >= size / 32
//
// A warp owns a few columns of a head's state, in registers: a lane has every 32nd row of them. What the next step needs is read
// while this one is computed, but for doubles, which would want more registers than there are.

#include "reduce.cuh"
#include "scalar.cuh"
#include "vector.cuh"

constexpr int COLUMNS = 4;
constexpr int LANES_EACH = WARP / COLUMNS;

struct Sizes {
    long long batch, steps, size, value_size, query_heads, key_heads, heads, decay_heads, decay_size, rate_heads;
    double scale;
};

// Sums over the warp, of which lane l gets that of column l / LANES_EACH: halves of the lanes take halves of the columns.
template <typename A> __device__ inline A sum_columns(A (&values)[COLUMNS]) {
#pragma unroll
    for (int half = COLUMNS / 2, offset = WARP / 2; half > 0; half /= 2, offset /= 2) {
        const bool is_upper = threadIdx.x & offset;
#pragma unroll
        for (int n = 0; n < half; ++n) {
            const A sent = is_upper ? values[n] : values[n + half], kept = is_upper ? values[n + half] : values[n];
            values[n] = kept + __shfl_xor_sync(ALL_LANES, sent, offset);
        }
    }
    A sum = values[0];
#pragma unroll
    for (int offset = LANES_EACH / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, offset);
    return sum;
}

// What a lane reads of a step.
template <typename A, int rows> struct Token {
    A query[rows], key[rows], kept[rows], value[COLUMNS], rate;
};

// Where the columns of a head are read.
template <typename T, int rows> struct Head {
    using A = accumulator_t<T>;
    const T *query, *key, *value, *decay, *rate;
    Sizes s;
    long long batch, head, first_query, first_column;
    int lane;

    __device__ bool has_row(int n) const { return lane + n * WARP < s.size; }
    __device__ bool has_column(int c) const { return first_column + c < s.value_size; }

    __device__ long long place(long long step, long long heads, long long of) const { return (batch * s.steps + step) * heads + of; }

    __device__ void read_rows(const T* source, A (&target)[rows]) const {
#pragma unroll
        for (int n = 0; n < rows; ++n) target[n] = has_row(n) ? widen(source[lane + n * WARP]) : A(0);
    }

    __device__ void read_query(long long step, long long which, A (&target)[rows]) const {
        read_rows(query + place(step, s.query_heads, first_query + which) * s.size, target);
    }

    __device__ void read_decay(long long step, A (&target)[rows]) const {
        const T* source = decay + place(step, s.decay_heads, s.decay_heads == 1 ? 0 : head) * s.decay_size;
        if (s.decay_size == 1) {
            const A all = exponential(widen(*source));
#pragma unroll
            for (int n = 0; n < rows; ++n) target[n] = all;
        } else {
            read_rows(source, target);
#pragma unroll
            for (int n = 0; n < rows; ++n) target[n] = exponential(target[n]);
        }
    }

    __device__ Token<A, rows> token(long long step) const {
        Token<A, rows> t;
        read_query(step, 0, t.query);
        read_rows(key + place(step, s.key_heads, head / (s.heads / s.key_heads)) * s.size, t.key);
        if (decay) read_decay(step, t.kept);
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c)
            t.value[c] = has_column(c) ? widen(value[place(step, s.heads, head) * s.value_size + first_column + c]) : A(0);
        t.rate = rate ? widen(rate[place(step, s.rate_heads, s.rate_heads == 1 ? 0 : head)]) : A(1);
        return t;
    }
};

template <typename T, typename S, int rows>
__global__ void __launch_bounds__(128) linear_attention(
    const T* __restrict__ query, const T* __restrict__ key, const T* __restrict__ value, const T* __restrict__ decay,
    const T* __restrict__ rate, const S* past, T* __restrict__ y, S* present,
    accumulator_t<T>* __restrict__ updates, Sizes s
) {
    using A = accumulator_t<T>;
    constexpr bool reads_ahead = sizeof(A) == sizeof(float);
    const int lane = threadIdx.x % WARP;
    const long long slices = (s.value_size + COLUMNS - 1) / COLUMNS;
    const long long queries = s.query_heads > s.heads ? s.query_heads / s.heads : 1;
    for (long long slice = thread_index() / WARP; slice < s.batch * s.heads * slices; slice += thread_count() / WARP) {
        const long long batch = slice / slices / s.heads, head = slice / slices % s.heads;
        const long long first_query = s.query_heads > s.heads ? head * queries : head / (s.heads / s.query_heads);
        const Head<T, rows> of = {query, key, value, decay, rate, s, batch, head, first_query, slice % slices * COLUMNS, lane};
        const long long states = (batch * s.heads + head) * s.size * s.value_size + of.first_column;
        A state[rows][COLUMNS];
#pragma unroll
        for (int n = 0; n < rows; ++n)
#pragma unroll
            for (int c = 0; c < COLUMNS; ++c)
                state[n][c] = past && of.has_row(n) && of.has_column(c) ? A(widen(past[states + (lane + n * WARP) * s.value_size + c])) : A(0);

        Token<A, rows> next;
        if (reads_ahead && s.steps > 0) next = of.token(0);
        for (long long step = 0; step < s.steps; ++step) {
            Token<A, rows> now = reads_ahead ? next : of.token(step);
            if (reads_ahead && step + 1 < s.steps) next = of.token(step + 1);
            if (decay) {
#pragma unroll
                for (int n = 0; n < rows; ++n)
#pragma unroll
                    for (int c = 0; c < COLUMNS; ++c)
                        if (of.has_row(n)) state[n][c] *= now.kept[n];
            }
            if (rate) {
                A held[COLUMNS] = {};
#pragma unroll
                for (int n = 0; n < rows; ++n)
#pragma unroll
                    for (int c = 0; c < COLUMNS; ++c) held[c] += now.key[n] * state[n][c];
                const A sum = sum_columns(held);
#pragma unroll
                for (int c = 0; c < COLUMNS; ++c) now.value[c] = (now.value[c] - __shfl_sync(ALL_LANES, sum, c * LANES_EACH)) * now.rate;
            }
#pragma unroll
            for (int n = 0; n < rows; ++n)
#pragma unroll
                for (int c = 0; c < COLUMNS; ++c)
                    if (of.has_row(n)) state[n][c] += now.key[n] * now.value[c];
            if (updates && lane == 0) {
#pragma unroll
                for (int c = 0; c < COLUMNS; ++c)
                    if (of.has_column(c)) updates[of.place(step, s.heads, head) * s.value_size + of.first_column + c] = now.value[c];
            }
            for (long long q = 0; q < queries; ++q) {
                if (q > 0) of.read_query(step, q, now.query);
                A found[COLUMNS] = {};
#pragma unroll
                for (int n = 0; n < rows; ++n)
#pragma unroll
                    for (int c = 0; c < COLUMNS; ++c) found[c] += now.query[n] * state[n][c];
                const A sum = sum_columns(found);
                const int column = lane / LANES_EACH;
                if (lane % LANES_EACH == 0 && of.has_column(column))
                    y[of.place(step, s.heads * queries, head * queries + q) * s.value_size + of.first_column + column] = narrow<T>(sum * A(s.scale));
            }
        }
#pragma unroll
        for (int n = 0; n < rows; ++n)
#pragma unroll
            for (int c = 0; c < COLUMNS; ++c)
                if (of.has_row(n) && of.has_column(c)) present[states + (lane + n * WARP) * s.value_size + c] = narrow<S>(accumulator_t<S>(state[n][c]));
    }
}
