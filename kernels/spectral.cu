// Discrete Fourier transforms of any length, of rows that lie anyhow in their tensors.
//
//   x, y      rows of complex elements, or real ones (`components` 2 or 1): see Rows; element t of row r is at
//             (r / inner · outer_stride + r % inner · inner_stride + t · stride) · components
//   window    `n` factors for the elements of each row, or null
//   turns     n roots of unity, exp(∓2πi k / n): fill_turns computes them in double, whatever the transform's precision
//   launch    transform_rows: a block for each `group` rows, shared memory for 2 · group · n complex numbers, n < 2^31
//             longer rows: load_rows, then transform_stage for each factor of n, then store_rows, with any launch; the rows between
//             them are `source` and `target`, [rows, n]
//             fill_turns: any launch
//
// Stockham's form of the mixed-radix algorithm: after the factors p, q, … of n there are n / (p q …) transforms of length p q …,
// each over elements of one stride, and another factor p makes one of p of them; the order comes out right without bit reversal.
// A factor is 4, 2 or an odd prime. A large prime costs its square, and its sums are taken in double.

#include "complex.cuh"
#include "scalar.cuh"
#include "vector.cuh"

constexpr int LARGE_FACTOR = 16;

// A row has `count` elements in memory; `is_half` says that they are the first of a Hermitian row, whose others mirror them.
struct Rows {
    long long inner, outer_stride, inner_stride, stride, count;
    int components;
    bool is_half;

    __device__ long long at(long long row, long long element) const {
        return (row / inner * outer_stride + row % inner * inner_stride + element * stride) * components;
    }
};

__device__ inline int next_factor(int n) {
    if (n % 4 == 0) return 4;
    if (n % 2 == 0) return 2;
    for (int p = 3; p <= n / p; p += 2)
        if (n % p == 0) return p;
    return n;
}

template <typename T, typename A = accumulator_t<T>>
__device__ inline Complex<A> load_element(const T* x, const T* window, const Rows& rows, long long row, int element, int n) {
    const bool is_mirrored = rows.is_half && element > n / 2;
    const int source = is_mirrored ? n - element : element;
    if (source >= rows.count) return {A(0), A(0)};
    const T* place = x + rows.at(row, source);
    Complex<A> value{widen(place[0]), rows.components == 2 ? widen(place[1]) : A(0)};
    if (rows.is_half && (source == 0 || 2 * source == n)) value.imaginary = 0;
    if (is_mirrored) value.imaginary = -value.imaginary;
    if (window) {
        const A factor = widen(window[element]);
        value = {value.real * factor, value.imaginary * factor};
    }
    return value;
}

template <typename T, typename A>
__device__ inline void store_element(T* y, const Rows& rows, long long row, int element, Complex<A> value, A scale) {
    if (element >= rows.count) return;
    T* place = y + rows.at(row, element);
    place[0] = narrow<T>(value.real * scale);
    if (rows.components == 2) place[1] = narrow<T>(value.imaginary * scale);
}

template <typename S, typename A>
__device__ inline Complex<A> sum_of_turned(const Complex<A>* source, const Complex<A>* turns, int step, int p, int turn, int n) {
    Complex<S> total{S(0), S(0)};
    int at = 0;
    for (int r = 0; r < p; ++r) {
        const Complex<A> x = source[static_cast<long long>(r) * step], w = turns[at];
        total = multiply_add(total, Complex<S>{S(x.real), S(x.imaginary)}, Complex<S>{S(w.real), S(w.imaginary)});
        at = at < n - turn ? at + turn : at - (n - turn);
    }
    return {A(total.real), A(total.imaginary)};
}

// Element `index` of a row of n after another factor p, where `length` is the product of those before.
template <typename A>
__device__ inline Complex<A> after_factor(const Complex<A>* source, const Complex<A>* turns, int index, int n, int length, int p) {
    const int longer = length * p, k = index % longer;
    const int turn = k * (n / longer);
    source += index / longer * length + k % length;
    if (p < LARGE_FACTOR) return sum_of_turned<A>(source, turns, n / p, p, turn, n);
    return sum_of_turned<double>(source, turns, n / p, p, turn, n);
}

template <typename A> __global__ void __launch_bounds__(256) fill_turns(void* turns, int n, bool is_inverse) {
    for_each_index(n, [=](long long k) {
        const double turn = 2.0 * k / n, sine = sinpi(turn);
        static_cast<Complex<A>*>(turns)[k] = {A(cospi(turn)), A(is_inverse ? sine : -sine)};
    });
}

template <typename T>
__global__ void __launch_bounds__(1024) transform_rows(
    const T* __restrict__ x, const T* __restrict__ window, const void* __restrict__ roots, T* __restrict__ y, long long rows, int group,
    int n, double scale, long long x_inner, long long x_outer_stride, long long x_inner_stride, long long x_stride, long long x_count,
    int x_components, bool is_half, long long y_outer_stride, long long y_inner_stride, long long y_stride, long long y_count,
    int y_components
) {
    using A = accumulator_t<T>;
    extern __shared__ double memory[];
    const auto turns = static_cast<const Complex<A>*>(roots);
    const Rows from{x_inner, x_outer_stride, x_inner_stride, x_stride, x_count, x_components, is_half};
    const Rows to{x_inner, y_outer_stride, y_inner_stride, y_stride, y_count, y_components, false};
    const long long first = static_cast<long long>(blockIdx.x) * group;
    const int here = rows - first < group ? static_cast<int>(rows - first) : group, size = here * n;
    Complex<A>*source = reinterpret_cast<Complex<A>*>(memory), *target = source + group * n;

    // Neighbouring threads take neighbouring addresses: of a row, or of neighbouring rows.
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
        const int row = x_stride == 1 ? i / n : i % here, element = x_stride == 1 ? i % n : i / here;
        source[row * n + element] = load_element(x, window, from, first + row, element, n);
    }
    __syncthreads();
    for (int length = 1; length < n;) {
        const int p = next_factor(n / length);
        for (int i = threadIdx.x; i < size; i += blockDim.x) target[i] = after_factor(source + i / n * n, turns, i % n, n, length, p);
        __syncthreads();
        Complex<A>* other = source;
        source = target;
        target = other;
        length *= p;
    }
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
        const int row = y_stride == 1 ? i / n : i % here, element = y_stride == 1 ? i % n : i / here;
        store_element(y, to, first + row, element, source[row * n + element], A(scale));
    }
}

template <typename T>
__global__ void __launch_bounds__(256) load_rows(
    const T* __restrict__ x, const T* __restrict__ window, void* __restrict__ target, long long rows, int n, long long inner,
    long long outer_stride, long long inner_stride, long long stride, long long count, int components, bool is_half
) {
    const Rows from{inner, outer_stride, inner_stride, stride, count, components, is_half};
    for_each_index(rows * n, [=](long long i) {
        static_cast<Complex<accumulator_t<T>>*>(target)[i] = load_element(x, window, from, i / n, static_cast<int>(i % n), n);
    });
}

template <typename A>
__global__ void __launch_bounds__(256) transform_stage(
    const void* __restrict__ source, const void* __restrict__ turns, void* __restrict__ target, long long rows, int n, int length, int p
) {
    const auto from = static_cast<const Complex<A>*>(source), roots = static_cast<const Complex<A>*>(turns);
    for_each_index(rows * n, [=](long long i) {
        static_cast<Complex<A>*>(target)[i] = after_factor(from + i / n * n, roots, static_cast<int>(i % n), n, length, p);
    });
}

template <typename T>
__global__ void __launch_bounds__(256) store_rows(
    const void* __restrict__ source, T* __restrict__ y, long long rows, int n, double scale, long long inner, long long outer_stride,
    long long inner_stride, long long stride, long long count, int components
) {
    using A = accumulator_t<T>;
    const Rows to{inner, outer_stride, inner_stride, stride, count, components, false};
    for_each_index(rows * count, [=](long long i) {
        const long long row = i / count;
        const int element = static_cast<int>(i % count);
        store_element(y, to, row, element, static_cast<const Complex<A>*>(source)[row * n + element], A(scale));
    });
}
