// Pooling over windows of 1 to 3 spatial axes: maxima with their indices, means, norms; and the way back of maxima.
//
//   x         [images, spatial…], images = batch · channels
//   y         [images, windows…]
//   indices   like y, where each maximum is in x, or null; counted over the flattened x, the last axis slowest within an image if
//             `is_column_major`
//   launch    any: a thread a window, neighbouring threads neighbouring windows
//             scatter_maxima: any; y, which is zero, [images, output…] gets x at those `indices` of [images, pooled…] that lie in both
//
// Fewer than 3 axes have ones in front. What lies outside of the input counts for nothing, but in the mean, where it may count as padding.

#include "functions.cuh"
#include "reductions.cuh"
#include "vector.cuh"

struct Window {
    long long size, kernel, stride, dilation, begin, end, windows;  // of the input, in elements; `begin` and `end` are padding
};

struct Windows {
    Window axis[3];

    __device__ long long input_size() const { return axis[0].size * axis[1].size * axis[2].size; }
    __device__ long long count() const { return axis[0].windows * axis[1].windows * axis[2].windows; }
};

// The elements of one axis in window number `number`: those in the input are first + k · dilation for k of [low, high).
struct Span {
    long long first, low, high;

    __device__ Span(const Window& window, long long number) {
        first = number * window.stride - window.begin;
        low = first < 0 ? (-first + window.dilation - 1) / window.dilation : 0;
        const long long room = window.size - first;
        high = room <= 0 ? 0 : (room + window.dilation - 1) / window.dilation;
        if (high > window.kernel) high = window.kernel;
    }
    __device__ long long count() const { return high > low ? high - low : 0; }
};

// How many elements of one axis lie in the input or its padding.
__device__ inline long long padded_count(const Window& window, long long number) {
    const long long room = window.size + window.end - (number * window.stride - window.begin);
    const long long count = room <= 0 ? 0 : (room + window.dilation - 1) / window.dilation;
    return count < window.kernel ? count : window.kernel;
}

template <typename Visit> __device__ inline void for_each_element(const Windows& windows, const Span (&spans)[3], Visit visit) {
    for (long long i = spans[0].low; i < spans[0].high; ++i) {
        const long long plane = (spans[0].first + i * windows.axis[0].dilation) * windows.axis[1].size;
        for (long long j = spans[1].low; j < spans[1].high; ++j) {
            const long long row = (plane + spans[1].first + j * windows.axis[1].dilation) * windows.axis[2].size;
            for (long long k = spans[2].low; k < spans[2].high; ++k) visit(row + spans[2].first + k * windows.axis[2].dilation);
        }
    }
}

struct Place {
    long long image, number[3];

    __device__ Place(const Windows& windows, long long index) {
        number[2] = index % windows.axis[2].windows;
        index /= windows.axis[2].windows;
        number[1] = index % windows.axis[1].windows;
        index /= windows.axis[1].windows;
        number[0] = index % windows.axis[0].windows;
        image = index / windows.axis[0].windows;
    }
};

__device__ inline long long column_major(const Windows& windows, long long place) {
    const long long inner = windows.axis[2].size, middle = windows.axis[1].size, outer = windows.axis[0].size;
    return place / (middle * inner) + place / inner % middle * outer + place % inner * outer * middle;
}

template <typename T>
__global__ void __launch_bounds__(256) pool_maxima(
    const T* __restrict__ x, T* __restrict__ y, long long* __restrict__ indices, Windows windows, long long count, bool is_column_major
) {
    using A = typename Wide<T>::type;
    for_each_index(count, [=](long long index) {
        const Place place(windows, index);
        const Span spans[3] = {{windows.axis[0], place.number[0]}, {windows.axis[1], place.number[1]}, {windows.axis[2], place.number[2]}};
        const T* source = x + place.image * windows.input_size();
        A best = least<T>();
        long long where = -1;
        for_each_element(windows, spans, [&](long long i) {
            const A value = from_element<A>(source[i]);
            if (where < 0 || value > best || (!indices && value != value)) {
                best = value;
                where = i;
            }
        });
        y[index] = to_element<T>(best);
        if (indices) {
            const long long inside = is_column_major && where >= 0 ? column_major(windows, where) : where;
            indices[index] = place.image * windows.input_size() + inside;
        }
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

template <typename T, typename Norm>
__global__ void __launch_bounds__(256) pool_sums(
    const T* __restrict__ x, T* __restrict__ y, Windows windows, long long count, double exponent, bool counts_padding
) {
    using A = accumulator_t<T>;
    for_each_index(count, [=](long long index) {
        const Place place(windows, index);
        const Span spans[3] = {{windows.axis[0], place.number[0]}, {windows.axis[1], place.number[1]}, {windows.axis[2], place.number[2]}};
        const T* source = x + place.image * windows.input_size();
        const A p = A(exponent);
        A sum = 0;
        for_each_element(windows, spans, [&](long long i) { sum += Norm::term(A(widen(source[i])), p); });
        long long elements = 1;
#pragma unroll
        for (int axis = 0; axis < 3; ++axis)
            elements *= counts_padding ? padded_count(windows.axis[axis], place.number[axis]) : spans[axis].count();
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
