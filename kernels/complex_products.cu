// Products of complex numbers, pairs in the last axis, of broadcast operands.
//
//   a, b      pairs at the places that `axes` says, counted in numbers; the last axis is of pairs
//   y         [count] pairs, dense
//   launch    any number of blocks and threads: a product a thread at a time

#include "axes.cuh"
#include "scalar.cuh"
#include "vector.cuh"

template <typename T, bool is_conjugate>
__global__ void __launch_bounds__(256) multiply_complex(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, Axes axes, long long count) {
    using A = accumulator_t<T>;
    for_each_index(count, [&](long long i) {
        long long left = 0, right = 0;
        locate(axes, i, left, right);
        const A a_real = widen(a[left]), a_imaginary = widen(a[left + 1]), b_real = widen(b[right]);
        const A b_imaginary = is_conjugate ? -widen(b[right + 1]) : widen(b[right + 1]);
        y[2 * i] = narrow<T>(a_real * b_real - a_imaginary * b_imaginary);
        y[2 * i + 1] = narrow<T>(a_real * b_imaginary + a_imaginary * b_real);
    });
}
