// How often known n-grams occur in rows of tokens.
//
//   x          [rows, columns], the tokens
//   grams      [count, length], known n-grams of one length in lexicographic order; places [count]: where each is counted
//   y          [rows, width], the counts, zero before the first launch
//   weights    [width], factors of the counts; null for ones
//   launch     any number of blocks and threads: count_grams: a place in a row and a distance between its tokens, 1 to `strides`, a
//              thread at a time; weigh_counts: a count
//
// Counts are whole numbers, so that the order in which they are added up does not matter.

#include "vector.cuh"

template <typename T>
__global__ void __launch_bounds__(256) count_grams(
    const T* __restrict__ x, const long long* __restrict__ grams, const int* __restrict__ places, float* __restrict__ y, long long rows,
    long long columns, long long width, long long length, long long count, long long strides
) {
    for_each_index(rows * strides * columns, [=](long long i) {
        const long long first = i % columns, stride = i / columns % strides + 1, row = i / columns / strides;
        if (first + (length - 1) * stride >= columns) return;
        const T* tokens = x + row * columns + first;
        long long low = 0, high = count;
        while (low < high) {
            const long long middle = (low + high) / 2;
            const long long* gram = grams + middle * length;
            long long k = 0;
            while (k < length && gram[k] == static_cast<long long>(tokens[k * stride])) ++k;
            if (k == length) {
                atomicAdd(y + row * width + places[middle], 1.0f);
                return;
            }
            if (gram[k] < static_cast<long long>(tokens[k * stride])) low = middle + 1;
            else high = middle;
        }
    });
}

__global__ void __launch_bounds__(256) weigh_counts(float* __restrict__ y, const float* __restrict__ weights, long long count, long long width, bool is_binary) {
    for_each_index(count, [=](long long i) {
        const float value = is_binary ? (y[i] > 0.0f ? 1.0f : 0.0f) : y[i];
        y[i] = weights ? value * weights[i % width] : value;
    });
}
