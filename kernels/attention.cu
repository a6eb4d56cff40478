// Attention with an online softmax: y = softmax(cap(scale · q kᵀ) + mask) v, without the matrix of scores in memory.
//
//   q, y      [batches, heads, queries, size] and [… , value_size] of any strides but the last, which is 1
//   k, v      [batches, key_heads, keys, size] and [… , value_size]; heads / key_heads neighbouring heads share a key head
//   partial   null, or [parts, batches · heads · queries, value_size + 2]: values, maximum and sum over a part of the keys
//   launch    attend: (tiles of ROWS queries of a key head · key_heads · batches, parts) blocks of 128 threads;
//             combine_attention: any number of blocks of 128 threads, a warp a query
//
// A warp has ROWS / 4 queries; its lanes are keys for the scores, and features for the values. The queries of all heads that share a
// key head are rows of one tile, so that keys and values are read once for them. What the softmax of a row has seen so far is kept as
// a maximum and a sum, and rescaled when the maximum grows. Source: https://arxiv.org/abs/2205.14135; parts of the keys:
// https://pytorch.org/blog/flash-decoding/

#include "attention.cuh"
#include "reduce.cuh"
#include "vector.cuh"

constexpr int WARPS = 4, KEYS = WARP;

template <typename T> struct Softmax {
    using A = accumulator_t<T>;
    A maximum, sum;

    // The factor for all that was summed before, once `next` may be the maximum.
    __device__ A rescale(A next) {
        next = Maximum()(maximum, next);
        const A factor = maximum == next ? A(1) : exponential(maximum - next);
        maximum = next;
        sum *= factor;
        return factor;
    }
    __device__ A weight(A score) const { return score == -infinity<A>() ? A(0) : exponential(score - maximum); }
    // What the values are multiplied with in the end.
    __device__ A finish(const Attention& p, long long head) {
        A factor = 1;
        if (p.has_sink) {
            const A sink = sink_of<T>(p, head);
            factor = rescale(sink);
            sum += weight(sink);
        }
        return sum == A(0) ? A(0) : factor / sum;
    }
};

template <typename A, typename T, int ROWS_, int SIZE, int LINE>
__device__ inline void load_tile(A (&tile)[ROWS_][LINE], const T* source, long long row_stride, long long rows, long long size) {
    for (int i = threadIdx.x; i < ROWS_ * SIZE; i += WARPS * WARP) {
        const int row = i / SIZE, feature = i % SIZE;
        tile[row][feature] = row < rows && feature < size ? widen(source[row * row_stride + feature]) : A(0);
    }
}

template <typename T, int SIZE, int ROWS>
__global__ void __launch_bounds__(WARPS * WARP) attend(
    const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v, T* __restrict__ y, void* __restrict__ partial, Attention p
) {
    using A = accumulator_t<T>;
    constexpr int own = ROWS / WARPS, features = SIZE / WARP, width = Vector<A>::count;
    alignas(VECTOR_BYTES) __shared__ A queries[ROWS][SIZE];
    alignas(VECTOR_BYTES) __shared__ A tile[KEYS][SIZE + width];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const long long rows = p.heads / p.key_heads * p.queries, tiles = (rows + ROWS - 1) / ROWS;
    const long long first = blockIdx.x % tiles * ROWS, key_head = blockIdx.x / tiles % p.key_heads, batch = blockIdx.x / tiles / p.key_heads;
    const long long last = first + ROWS < rows ? first + ROWS - 1 : rows - 1;
    const long long start = start_of(p, batch);

    const bool one_head = first / p.queries == last / p.queries;
    const long long least = start + (one_head ? first % p.queries : 0), most = start + (one_head ? last % p.queries : p.queries - 1);
    const long long length = length_of(p, batch);
    const long long span = (p.keys + gridDim.y * KEYS - 1) / (gridDim.y * KEYS) * KEYS;
    long long begin = blockIdx.y * span, end = begin + span < length ? begin + span : length;
    if (p.right >= 0 && most + p.right + 1 < end) end = most + p.right + 1;
    if (p.left >= 0 && least - p.left > begin) begin = (least - p.left) / KEYS * KEYS;

    for (int i = threadIdx.x; i < ROWS * SIZE; i += WARPS * WARP) {
        const int feature = i % SIZE;
        const bool is_inside = first + i / SIZE < rows && feature < p.size;
        const Row row = row_of(p, key_head, is_inside ? first + i / SIZE : 0);
        queries[i / SIZE][feature] =
            is_inside ? widen(q[batch * p.q_batch + row.head * p.q_head + row.query * p.q_row + feature]) * A(p.scale) : A(0);
    }
    Softmax<T> softmax[own];
    A sums[own][features] = {};
#pragma unroll
    for (int n = 0; n < own; ++n) softmax[n] = {-infinity<A>(), A(0)};

    for (long long key = begin; key < end; key += KEYS) {
        __syncthreads();
        load_tile<A, T, KEYS, SIZE>(tile, k + batch * p.k_batch + key_head * p.k_head + key * p.k_row, p.k_row, end - key, p.size);
        __syncthreads();
        A weights[own] = {};
        for (int feature = 0; feature < p.size; feature += width) {
            const Vector<A> of_key = load_vector(&tile[lane][feature]);
#pragma unroll
            for (int n = 0; n < own; ++n) {
                const Vector<A> of_query = load_vector(&queries[warp * own + n][feature]);
#pragma unroll
                for (int i = 0; i < width; ++i) weights[n] += of_query.element[i] * of_key.element[i];
            }
        }
#pragma unroll
        for (int n = 0; n < own; ++n) {
            const long long number = first + warp * own + n;
            A score = -infinity<A>();
            if (number < rows && key + lane < end) {
                const Row row = row_of(p, key_head, number);
                score = masked<T>(p, capped(p, weights[n]), batch, row, key + lane, start + row.query);
            }
            const A factor = softmax[n].rescale(reduce_warp(score, Maximum()));
            weights[n] = softmax[n].weight(score);
            softmax[n].sum += reduce_warp(weights[n], Sum());
#pragma unroll
            for (int i = 0; i < features; ++i) sums[n][i] *= factor;
        }
        __syncthreads();
        load_tile<A, T, KEYS, SIZE>(tile, v + batch * p.v_batch + key_head * p.v_head + key * p.v_row, p.v_row, end - key, p.value_size);
        __syncthreads();
        for (int other = 0; other < KEYS; ++other) {
            A of_value[features];
#pragma unroll
            for (int i = 0; i < features; ++i) of_value[i] = tile[other][i * WARP + lane];
#pragma unroll
            for (int n = 0; n < own; ++n) {
                const A weight = __shfl_sync(ALL_LANES, weights[n], other);
#pragma unroll
                for (int i = 0; i < features; ++i) sums[n][i] += weight * of_value[i];
            }
        }
    }
#pragma unroll
    for (int n = 0; n < own; ++n) {
        const long long number = first + warp * own + n;
        if (number >= rows) continue;
        const Row row = row_of(p, key_head, number);
        if (partial) {
            const long long line = ((blockIdx.y * p.batches + batch) * p.heads + row.head) * p.queries + row.query;
            A* target = static_cast<A*>(partial) + line * (p.value_size + 2);
#pragma unroll
            for (int i = 0; i < features; ++i)
                if (i * WARP + lane < p.value_size) target[i * WARP + lane] = sums[n][i];
            if (lane == 0) {
                target[p.value_size] = softmax[n].maximum;
                target[p.value_size + 1] = softmax[n].sum;
            }
        } else {
            const A factor = softmax[n].finish(p, row.head);
            T* target = y + batch * p.y_batch + row.head * p.y_head + row.query * p.y_row;
#pragma unroll
            for (int i = 0; i < features; ++i)
                if (i * WARP + lane < p.value_size) target[i * WARP + lane] = narrow<T>(sums[n][i] * factor);
        }
    }
}

template <typename T>
__global__ void __launch_bounds__(WARPS * WARP) combine_attention(T* __restrict__ y, const void* __restrict__ partial, int parts, Attention p) {
    using A = accumulator_t<T>;
    const int lane = threadIdx.x % WARP;
    const long long lines = p.batches * p.heads * p.queries, line_size = p.value_size + 2;
    for (long long line = thread_index() / WARP; line < lines; line += thread_count() / WARP) {
        const A* source = static_cast<const A*>(partial) + line * line_size;
        Softmax<T> softmax = {-infinity<A>(), A(0)};
        for (int part = 0; part < parts; ++part) {
            const A* of_part = source + part * lines * line_size + p.value_size;
            softmax.rescale(of_part[0]);
            softmax.sum += of_part[1] * softmax.weight(of_part[0]);
        }
        const A greatest = softmax.maximum;
        const long long head = line / p.queries % p.heads;
        const A factor = softmax.finish(p, head);
        T* target = y + line / p.queries / p.heads * p.y_batch + head * p.y_head + line % p.queries * p.y_row;
        for (long long i = lane; i < p.value_size; i += WARP) {
            A sum = 0;
            for (int part = 0; part < parts; ++part) {
                const A* of_part = source + part * lines * line_size;
                if (of_part[p.value_size] != -infinity<A>()) sum += of_part[i] * exponential(of_part[p.value_size] - greatest);
            }
            target[i] = narrow<T>(sum * factor);
        }
    }
}
