// The norm of each row with any exponent: (sum of |x|^p)^(1/p).
//
//   x         [rows, count]
//   y         [rows]
//   launch    gridDim.x any, blocks of whole warps: a block a row

#include "functions.cuh"
#include "reduce.cuh"

template <typename T>
__global__ void __launch_bounds__(512) power_norms(const T* __restrict__ x, T* __restrict__ y, long long rows, long long count, double exponent) {
    using A = accumulator_t<T>;
    __shared__ A scratch[WARP];
    const A p = A(exponent);
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        A sum = 0;
        for (long long i = threadIdx.x; i < count; i += blockDim.x) sum += power(absolute(widen(x[row * count + i])), p);
        sum = reduce_block(sum, A(0), scratch, Sum());
        if (threadIdx.x == 0) y[row] = narrow<T>(power(sum, A(1) / p));
    }
}
