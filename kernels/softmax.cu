// Softmax and log-softmax of rows.
//
//   x, y      [outer, count, inner]; a row is the `count` elements with one outer and one inner index
//   launch    one block of whole warps a row, at most 1024 threads; no shared memory but a value a warp
//
// Three passes over the row: its maximum, the sum of exp(x - maximum), the result. A row of up to a few thousand elements
// stays in the cache between them.

#include "reduce.cuh"
#include "scalar.cuh"

template <typename T, bool is_logarithm>
__global__ void __launch_bounds__(1024) softmax_rows(const T* __restrict__ x, T* __restrict__ y, int count, long long inner) {
    using A = accumulator_t<T>;
    __shared__ A scratch[WARP];
    const long long begin = blockIdx.x / inner * inner * count + blockIdx.x % inner;
    const T* source = x + begin;
    T* target = y + begin;

    A maximum = -infinity<A>();
    for (int i = threadIdx.x; i < count; i += blockDim.x) maximum = Maximum()(maximum, widen(source[i * inner]));
    maximum = reduce_block(maximum, -infinity<A>(), scratch, Maximum());

    A sum = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += exponential(widen(source[i * inner]) - maximum);
    sum = reduce_block(sum, A(0), scratch, Sum());

    const A factor = is_logarithm ? logarithm(sum) : A(1) / sum;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const A shifted = widen(source[i * inner]) - maximum;
        target[i * inner] = narrow<T>(is_logarithm ? shifted - factor : exponential(shifted) * factor);
    }
}
