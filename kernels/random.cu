// Random tensors: uniform and normal numbers, draws with given probabilities, and dropout.
//
//   y         [count]; the numbers depend on `seed` and their place alone, whatever the launch
//   launch    any number of blocks and threads, but for choice_weights: gridDim.x any, blocks of whole warps, a block a row
//
//   draw_uniform    low + (high - low) · u, u uniform in [0, 1)
//   draw_normal     normal with a mean and a standard deviation, by Box and Muller's transformation
//   draw_bernoulli  1 with probability x[i], else 0
//   choice_weights  weights [rows, classes] = exp(x - greatest of the row), to be summed up
//   draw_choices    the class in which a uniform part of the row's whole weight falls; sums [rows, classes] are running sums
//   drop_out        y = (x + bias) · scale where u >= ratio, else 0, + residual; mask says where; mask_given: it is given, not drawn;
//                   bias, of `repeat` elements, and residual may be null
//   pack_mask       words [count / 32, rounded up]: the mask's bits, the first in the lowest, ones behind its end

#include "functions.cuh"
#include "philox.cuh"
#include "reduce.cuh"
#include "scalar.cuh"
#include "vector.cuh"

template <typename T, typename Function> __device__ inline void for_each_uniform(long long count, long long seed, Function function) {
    using A = accumulator_t<T>;
    constexpr int width = Uniform<A>::count;
    for_each_index((count + width - 1) / width, [=](long long group) {
        const RandomBits bits = random_bits(seed, group);
#pragma unroll
        for (int n = 0; n < width; ++n)
            if (group * width + n < count) function(group * width + n, Uniform<A>::of(bits, n));
    });
}

template <typename T>
__global__ void __launch_bounds__(256) draw_uniform(T* __restrict__ y, long long count, long long seed, double low, double high) {
    using A = accumulator_t<T>;
    const A first = A(low), span = A(high - low);
    for_each_uniform<T>(count, seed, [=](long long i, A u) { y[i] = narrow<T>(first + span * u); });
}

template <typename T>
__global__ void __launch_bounds__(256) draw_normal(T* __restrict__ y, long long count, long long seed, double mean, double deviation) {
    using A = accumulator_t<T>;
    constexpr int width = Uniform<A>::count;
    for_each_index((count + width - 1) / width, [=](long long group) {
        const RandomBits bits = random_bits(seed, group);
#pragma unroll
        for (int n = 0; n < width; n += 2) {
            const A radius = square_root(A(-2) * logarithm(A(1) - Uniform<A>::of(bits, n)));
            const A angle = A(6.28318530717958647693) * Uniform<A>::of(bits, n + 1);
            const A pair[2] = {radius * cosine(angle), radius * sine(angle)};
#pragma unroll
            for (int k = 0; k < 2; ++k)
                if (group * width + n + k < count) y[group * width + n + k] = narrow<T>(A(mean) + A(deviation) * pair[k]);
        }
    });
}

template <typename T>
__global__ void __launch_bounds__(256) draw_bernoulli(const T* __restrict__ x, T* __restrict__ y, long long count, long long seed) {
    using A = accumulator_t<T>;
    for_each_uniform<T>(count, seed, [=](long long i, A u) { y[i] = narrow<T>(A(u < A(widen(x[i])) ? 1 : 0)); });
}

template <typename T>
__global__ void __launch_bounds__(512) choice_weights(const T* __restrict__ x, double* __restrict__ weights, long long rows, long long classes) {
    __shared__ double scratch[WARP];
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        double greatest = -infinity<double>();
        for (long long i = threadIdx.x; i < classes; i += blockDim.x) greatest = Maximum()(greatest, double(widen(x[row * classes + i])));
        greatest = reduce_block(greatest, -infinity<double>(), scratch, Maximum());
        for (long long i = threadIdx.x; i < classes; i += blockDim.x)
            weights[row * classes + i] = exponential(double(widen(x[row * classes + i])) - greatest);
        __syncthreads();
    }
}

template <typename T>
__global__ void __launch_bounds__(256) draw_choices(
    const double* __restrict__ sums, T* __restrict__ y, long long count, long long samples, long long classes, long long seed
) {
    for_each_uniform<double>(count, seed, [=](long long i, double u) {
        const double* row = sums + i / samples * classes;
        const double wanted = u * row[classes - 1];
        long long low = 0, high = classes - 1;
        while (low < high) {
            const long long middle = (low + high) / 2;
            if (row[middle] <= wanted) low = middle + 1;
            else high = middle;
        }
        y[i] = static_cast<T>(low);
    });
}

template <typename T>
__global__ void __launch_bounds__(256) drop_out(
    const T* __restrict__ x, const T* __restrict__ bias, const T* __restrict__ residual, T* __restrict__ y, bool* mask, long long count,
    long long repeat, long long seed, double ratio, double scale, bool is_mask_given
) {
    using A = accumulator_t<T>;
    for_each_uniform<T>(count, seed, [=](long long i, A u) {
        const bool is_kept = is_mask_given ? mask[i] : u >= A(ratio);
        const A value = bias ? widen(x[i]) + widen(bias[i % repeat]) : widen(x[i]), kept = is_kept ? A(value * A(scale)) : A(0);
        y[i] = narrow<T>(residual ? kept + widen(residual[i]) : kept);
        if (mask && !is_mask_given) mask[i] = is_kept;
    });
}

__global__ void __launch_bounds__(256) pack_mask(const bool* __restrict__ mask, unsigned* __restrict__ words, long long count) {
    for_each_index((count + 31) / 32, [=](long long word) {
        unsigned bits = 0;
        for (int bit = 0; bit < 32; ++bit) bits |= unsigned(word * 32 + bit >= count || mask[word * 32 + bit]) << bit;
        words[word] = bits;
    });
}
