// Pooling over windows of 1 to 3 spatial axes: maxima with their indices, means, norms; and the way back of maxima.
//
//   x         [images, spatial…], images = batch · channels
//   y         [images, windows…]
//   indices   like y, where each maximum is in x; counted over the flattened x, the last axis slowest within an image if `is_column_major`
//   launch    any: a thread a window, neighbouring threads neighbouring windows
//             scatter_maxima: any; y, which is zero, [images, output…] gets x at those `indices` of [images, pooled…] that lie in both
//
// Fewer than 3 axes have ones in front. What lies outside of the input counts for nothing, but in the mean, where it may count as padding.

#include "functions.cuh"
#include "reductions.cuh"
#include "vector.cuh"
#include "windows.cuh"

// How many steps it takes to get so far, or past it.
template <typename Index> __device__ inline Index steps(Index distance, Index step) {
    return distance <= 0 ? 0 : step == 1 ? distance : (distance + step - 1) / step;
}

// The elements of one axis in window number `number`: those in the input are first + k · dilation for k of [low, high).
template <typename Index> struct Span {
    Index first, low, high;

    __device__ Span(const Window<Index>& window, Index number) {
        first = number * window.stride - window.begin;
        low = steps(-first, window.dilation);
        high = steps(window.size - first, window.dilation);
        if (high > window.kernel) high = window.kernel;
    }
    __device__ bool has(Index k) const { return k >= low && k < high; }
    __device__ Index count() const { return high > low ? high - low : 0; }
};

// How many elements of one axis lie in the input or its padding.
template <typename Index> __device__ inline Index padded_count(const Window<Index>& window, const Span<Index>& span) {
    const Index count = steps(window.size + window.end - span.first, window.dilation);
    return count < window.kernel ? count : window.kernel;
}

template <typename Index> __device__ inline Index held(Index index, Index size) { return index < 0 ? 0 : index < size ? index : size - 1; }

// visit(element, its index) for the elements of a window, in order. A window of two axes that is `side` wide and high is loaded before
// the first element is visited; where that is 0, it is of any kind.
template <int side, typename T, typename Index, typename Visit>
__device__ inline void for_each_element(const T* source, const Windows<Index>& windows, const Span<Index> (&spans)[3], Visit visit) {
    const Window<Index>&outer = windows.axis[0], &middle = windows.axis[1], &inner = windows.axis[2];
    if constexpr (side > 0) {
        T elements[side][side];
#pragma unroll
        for (int j = 0; j < side; ++j) {
            const T* row = source + held(spans[1].first + j * middle.dilation, middle.size) * inner.size;
#pragma unroll
            for (int k = 0; k < side; ++k) elements[j][k] = row[held(spans[2].first + k * inner.dilation, inner.size)];
        }
#pragma unroll
        for (int j = 0; j < side; ++j)
#pragma unroll
            for (int k = 0; k < side; ++k)
                if (spans[1].has(j) && spans[2].has(k)) visit(elements[j][k], Index(0));
    } else {
        for (Index i = spans[0].low; i < spans[0].high; ++i) {
            const Index plane = (spans[0].first + i * outer.dilation) * middle.size;
            for (Index j = spans[1].low; j < spans[1].high; ++j) {
                const Index row = (plane + spans[1].first + j * middle.dilation) * inner.size + spans[2].first;
                for (Index k = spans[2].low; k < spans[2].high; ++k) visit(source[row + k * inner.dilation], row + k * inner.dilation);
            }
        }
    }
}

template <typename Index> __device__ inline Index column_major(const Windows<Index>& windows, Index place) {
    const Index inner = windows.axis[2].size, middle = windows.axis[1].size, outer = windows.axis[0].size;
    return place / (middle * inner) + place / inner % middle * outer + place % inner * outer * middle;
}

template <typename T, typename Index, int side>
__global__ void __launch_bounds__(256) pool_maxima(
    const T* __restrict__ x, T* __restrict__ y, Windows<Index> windows, long long count
) {
    using A = typename Wide<T>::type;
    for_each_index(count, [=](long long index) {
        const Place<Index> place(windows, index);
        const Span<Index> spans[3] = {
            {windows.axis[0], place.number[0]}, {windows.axis[1], place.number[1]}, {windows.axis[2], place.number[2]}
        };
        A best = least<T>();
        for_each_element<side>(x + place.image * windows.input_size(), windows, spans, [&](T element, Index) {
            const A value = from_element<A>(element);
            if (value > best || value != value) best = value;
        });
        y[index] = to_element<T>(best);
    });
}

// The first element of a window counts even if it is NaN, and none after it.
template <typename T, typename Index>
__global__ void __launch_bounds__(256, 2) pool_maxima_with_indices(
    const T* __restrict__ x, T* __restrict__ y, long long* __restrict__ indices, Windows<Index> windows, long long count, bool is_column_major
) {
    using A = typename Wide<T>::type;
    for_each_index(count, [=](long long index) {
        const Place<Index> place(windows, index);
        const Span<Index> spans[3] = {
            {windows.axis[0], place.number[0]}, {windows.axis[1], place.number[1]}, {windows.axis[2], place.number[2]}
        };
        A best = least<T>();
        Index where = -1;
        for_each_element<0>(x + place.image * windows.input_size(), windows, spans, [&](T element, Index i) {
            const A value = from_element<A>(element);
            if (where < 0 || value > best) {
                best = value;
                where = i;
            }
        });
        y[index] = to_element<T>(best);
        const Index inside = is_column_major && where >= 0 ? column_major(windows, where) : where;
        indices[index] = place.image * windows.input_size() + inside;
    });
}

// What an element contributes to the sum of its window, and what is made of the sum.
struct Mean {
    template <typename A> __device__ static A term(A x, A) { return x; }
    template <typename A> __device__ static A finish(A sum, A, A count) { return sum / count; }
};
struct AbsoluteNorm {
    template <typename A> __device__ static A term(A x, A) { return absolute(x); }
    template <typename A> __device__ static A finish(A sum, A, A) { return sum; }
};
struct EuclideanNorm {
    template <typename A> __device__ static A term(A x, A) { return x * x; }
    template <typename A> __device__ static A finish(A sum, A, A) { return square_root(sum); }
};
struct PowerNorm {
    template <typename A> __device__ static A term(A x, A p) { return power(absolute(x), p); }
    template <typename A> __device__ static A finish(A sum, A p, A) { return power(sum, A(1) / p); }
};

template <typename T, typename Norm, typename Index, int side>
__global__ void __launch_bounds__(256, 2) pool_sums(
    const T* __restrict__ x, T* __restrict__ y, Windows<Index> windows, long long count, double exponent, bool counts_padding
) {
    using A = accumulator_t<T>;
    for_each_index(count, [=](long long index) {
        const Place<Index> place(windows, index);
        const Span<Index> spans[3] = {
            {windows.axis[0], place.number[0]}, {windows.axis[1], place.number[1]}, {windows.axis[2], place.number[2]}
        };
        const A p = A(exponent);
        A sum = 0;
        for_each_element<side>(x + place.image * windows.input_size(), windows, spans, [&](T element, Index) {
            sum += Norm::term(A(widen(element)), p);
        });
        Index elements = 1;
#pragma unroll
        for (int axis = 0; axis < 3; ++axis)
            elements *= counts_padding ? padded_count(windows.axis[axis], spans[axis]) : spans[axis].count();
        y[index] = narrow<T>(Norm::finish(sum, p, A(elements > 1 ? elements : 1)));
    });
}

struct Unpooled {
    long long from[5], to[5];  // sizes of the tensor that the indices count, and of the result
};

template <typename Unit>
__global__ void __launch_bounds__(256) scatter_maxima(
    const Unit* __restrict__ x, const long long* __restrict__ indices, Unit* __restrict__ y, Unpooled shape, long long count
) {
    for_each_index(count, [=](long long i) {
        long long rest = indices[i], target = 0, step = 1;
        bool is_inside = rest >= 0;
#pragma unroll
        for (int axis = 4; axis >= 0; --axis) {
            const long long place = rest % shape.from[axis];
            rest /= shape.from[axis];
            is_inside = is_inside && place < shape.to[axis];
            target += place * step;
            step *= shape.to[axis];
        }
        if (is_inside && rest == 0) y[target] = x[i];
    });
}
