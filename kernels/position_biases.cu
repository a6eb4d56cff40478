// Biases of attention scores by the distance between places.
//
//   relative_bias   y [heads, queries, keys] = table [heads, buckets] at the bucket of each distance: one bucket for each of the first
//                   `exact` distances, then ones that grow as a logarithm up to `max_distance`; a pair of query and key a thread at a time
//   gated_bias      y [batch, heads, length, length] = rel_pos [heads, length, length] times a gate of each query: u (r · eco_a - 1) + 2,
//                   u and r the sigmoids of the sums of two halves of (query + query_bias) · weight + bias
//                   query [batch, length, heads, size], weight [size, width]; a block of whole warps a row of y
//   launch          any number of blocks and threads

#include "functions.cuh"
#include "reduce.cuh"
#include "vector.cuh"

struct Buckets {
    long long heads, queries, keys, buckets, each, exact, is_bidirectional;
    double growth;  // buckets a unit of the natural logarithm
};

__device__ inline long long bucket_of(const Buckets& b, long long query, long long key) {
    const long long apart = key - query, first = b.is_bidirectional && apart > 0 ? b.each : 0;
    const long long distance = apart <= 0 ? -apart : b.is_bidirectional ? apart : 0;
    if (distance < b.exact) return first + distance;
    const long long large = b.exact + static_cast<long long>(logarithm(double(distance) / double(b.exact)) * b.growth);
    return first + (large < b.each - 1 ? large : b.each - 1);
}

template <typename T> __global__ void __launch_bounds__(256) relative_bias(const T* __restrict__ table, T* __restrict__ y, Buckets b) {
    const long long pairs = b.queries * b.keys;
    for_each_index(pairs, [=](long long i) {
        const long long bucket = bucket_of(b, i / b.keys, i % b.keys);
        for (long long head = 0; head < b.heads; ++head) y[head * pairs + i] = table[head * b.buckets + bucket];
    });
}

struct Gated {
    long long rows, heads, length, size, width;
};

template <typename T>
__global__ void __launch_bounds__(256) gated_bias(
    const T* __restrict__ query, const T* __restrict__ query_bias, const T* __restrict__ rel_pos, const T* __restrict__ weight,
    const T* __restrict__ bias, const T* __restrict__ eco_a, T* __restrict__ y, Gated g
) {
    using A = accumulator_t<T>;
    __shared__ A scratch[WARP];
    const int half = static_cast<int>(g.width / 2);
    for (long long row = blockIdx.x; row < g.rows; row += gridDim.x) {
        const long long place = row % g.length, head = row / g.length % g.heads, batch = row / g.length / g.heads;
        const T* source = query + ((batch * g.length + place) * g.heads + head) * g.size;
        A sums[2] = {0, 0};
        for (long long i = threadIdx.x; i < g.size * g.width; i += blockDim.x) {
            const long long feature = i / g.width;
            const A product = (widen(source[feature]) + widen(query_bias[head * g.size + feature])) * widen(weight[i]);
            sums[0] += i % g.width < half ? product : A(0);
            sums[1] += i % g.width < half ? A(0) : product;
        }
        for (int i = threadIdx.x; i < g.width; i += blockDim.x) {
            sums[0] += i < half ? widen(bias[i]) : A(0);
            sums[1] += i < half ? A(0) : widen(bias[i]);
        }
        const A update = sigmoid(reduce_block(sums[0], A(0), scratch, Sum())), reset = sigmoid(reduce_block(sums[1], A(0), scratch, Sum()));
        const A gate = update * (reset * widen(eco_a[head]) - A(1)) + A(2);
        const T* from = rel_pos + (head * g.length + place) * g.length;
        for (long long i = threadIdx.x; i < g.length; i += blockDim.x) y[row * g.length + i] = narrow<T>(gate * widen(from[i]));
    }
}
