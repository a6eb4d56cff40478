// Resize and Upsample: up to three axes resampled in one pass.
//
//   x         [outer, size0, gap0, size1, gap1, size2, gap2], `size` and `gap` of Resampled; axes that are not resampled are in the gaps
//   y         the same with `output` for `size`
//   launch    take_nearest, interpolate: any; a thread takes the same place inside of `outer` one after another, so that it computes its
//             coordinates once. take_nearest moves elements of any type; interpolate blends taps · axes elements of those before which no
//             axis is resampled, and what follows the first one has fewer than 2^31 elements
//             blend: any; a thread an element of y, blended from any number of elements, in float or double
//
// Coordinates are computed as the CPU provider does, in float32 (float64 where float64 numbers are blended), so that ties
// round the same way. Filters that widen when an axis shrinks (antialias) are meant for one axis a launch.

#include "functions.cuh"
#include "reductions.cuh"
#include "vector.cuh"

struct Axis {
    long long size, output, gap;
    double scale, start, end, aligned;  // aligned: the coordinate of the last output element, for align_corners
    long long is_resampled;
};

struct Resampled {
    Axis axis[3];
};

enum Transformation { half_pixel, asymmetric, pytorch_half_pixel, align_corners, half_pixel_symmetric, tf_crop_and_resize, tf_half_pixel_for_nn };
enum Rounding { round_prefer_floor, round_prefer_ceil, round_floor, round_ceil, round_simple };
enum Filter { linear, cubic, antialias_linear, antialias_cubic };

// Not contracted into a fused multiply-add, which would round once less than the CPU.
__device__ inline float product_of(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double product_of(double a, double b) { return __dmul_rn(a, b); }

template <typename A> __device__ inline A original_coordinate(const Axis& axis, long long position, int transformation) {
    const A x = A(position), scale = A(axis.scale), size = A(axis.size), output = A(axis.output);
    const A half = (x + A(0.5)) / scale - A(0.5);
    switch (transformation) {
        case asymmetric: return x / scale;
        case tf_half_pixel_for_nn: return (x + A(0.5)) / scale;
        case pytorch_half_pixel: return axis.output > 1 ? half : A(0);
        case align_corners: return axis.output > 1 && axis.aligned != 0 ? product_of(x, size - A(1)) / A(axis.aligned) : A(0);
        case half_pixel_symmetric: return product_of(size / A(2), A(1) - output / product_of(scale, size)) + half;
        case tf_crop_and_resize: {
            const A start = A(axis.start), end = A(axis.end), last = size - A(1);
            if (axis.output <= 1) return product_of(product_of(A(0.5), start + end), last);
            return product_of(start, last) + product_of(product_of(x, end - start), last) / (output - A(1));
        }
        default: return half;
    }
}

__device__ inline long long held(long long index, long long size) { return index < 0 ? 0 : index >= size ? size - 1 : index; }

// Halves are those within 1e-6 of one, since coordinates are rounded.
__device__ inline long long nearest_index(float x, const Axis& axis, int rounding) {
    constexpr double half = 0.5 + 1e-6;
    switch (rounding) {
        case round_prefer_floor: x = static_cast<float>(ceil(double(x) - half)); break;
        case round_prefer_ceil: x = static_cast<float>(floor(double(x) + half)); break;
        case round_floor: x = floorf(x); break;
        case round_ceil: x = ceilf(x); break;
        default: x = axis.scale < 1 ? ceilf(x) : floorf(x);
    }
    return held(static_cast<long long>(x), axis.size);
}

// Keys' cubic convolution kernel with free parameter `a`.
template <typename A> __device__ inline A cubic_weight(A distance, A a) {
    const A d = absolute(distance);
    if (d <= A(1)) return ((a + A(2)) * d - (a + A(3))) * d * d + A(1);
    return d < A(2) ? ((a * d - A(5) * a) * d + A(8) * a) * d - A(4) * a : A(0);
}

// The elements of one axis that an output element blends: number k of `count` is first + k, held at the edges.
template <typename A> struct Taps {
    A coordinate, shrink, a, factor;
    long long first;
    int count, filter;
    bool excludes_outside, is_outside;

    __device__ Taps(const Axis& axis, long long position, int transformation, int kind, A cubic_a, bool excludes)
        : coordinate(0), shrink(1), a(cubic_a), factor(1), first(position), count(1), filter(-1), excludes_outside(false), is_outside(false) {
        if (!axis.is_resampled) return;
        coordinate = original_coordinate<A>(axis, position, transformation);
        const A last = A(axis.size - 1);
        is_outside = transformation == tf_crop_and_resize && (coordinate < A(0) || coordinate > last);
        filter = kind;
        if (filter == linear) {
            coordinate = clip(coordinate, A(0), last);
            first = static_cast<long long>(round_down(coordinate));
            count = 2;
            return;
        }
        long long reach = 1;
        count = 4;
        if (filter != cubic) {
            shrink = A(axis.scale) < A(1) ? A(axis.scale) : A(1);
            reach = static_cast<long long>(round_up((filter == antialias_cubic ? A(2) : A(1)) / shrink));
            count = static_cast<int>(2 * reach + 2);
        }
        first = static_cast<long long>(round_down(coordinate)) - reach;
        excludes_outside = excludes;
        if (filter == cubic && !excludes) return;
        A total = 0;
        for (int k = 0; k < count; ++k) total += weight(k, axis);
        factor = A(1) / total;
    }
    __device__ A weight(int k, const Axis& axis) const {
        if (filter < 0) return A(1);
        const long long index = first + k;
        if (excludes_outside && (index < 0 || index >= axis.size)) return A(0);
        const A distance = (A(index) - coordinate) * shrink;
        if (filter == cubic || filter == antialias_cubic) return cubic_weight(distance, a) * factor;
        const A height = A(1) - absolute(distance);
        return (height > A(0) ? height : A(0)) * factor;
    }
};

template <typename Index> struct Position {
    Index outer, at[3], gap[3];

    __device__ Position(const Resampled& shape, Index index) : outer(index) {
#pragma unroll
        for (int n = 2; n >= 0; --n) {
            gap[n] = cut(static_cast<Index>(shape.axis[n].gap));
            at[n] = cut(static_cast<Index>(shape.axis[n].output));
        }
    }
    __device__ Index cut(Index size) {
        const Index quotient = size == 1 ? outer : outer / size, rest = outer - quotient * size;
        outer = quotient;
        return rest;
    }
};

// Where element `index` of axis n lies, given where the axes before it do.
template <typename Index>
__device__ inline long long inside(const Resampled& shape, const Position<Index>& position, int n, long long before, long long index) {
    return (before * shape.axis[n].size + held(index, shape.axis[n].size)) * shape.axis[n].gap + position.gap[n];
}

template <typename Unit, typename Index>
__global__ void __launch_bounds__(256) take_nearest(
    const Unit* __restrict__ x, Unit* __restrict__ y, long long outer, long long taken, long long places, Resampled shape, int transformation,
    int rounding, bool extrapolates, unsigned long long extrapolated
) {
    for_each_index(places, [=](long long place) {
        const Position<Index> position(shape, static_cast<Index>(place));
        long long from = 0;
        bool is_outside = false;
#pragma unroll
        for (int n = 0; n < 3; ++n) {
            const Axis& axis = shape.axis[n];
            long long index = position.at[n];
            if (axis.is_resampled) {
                const float coordinate = original_coordinate<float>(axis, index, transformation);
                is_outside = is_outside || coordinate < 0.f || coordinate > static_cast<float>(axis.size - 1);
                index = nearest_index(coordinate, axis, rounding);
            }
            from = inside(shape, position, n, from, index);
        }
        is_outside = is_outside && extrapolates;
#pragma unroll 4
        for (long long o = blockIdx.y; o < outer; o += gridDim.y)
            y[o * places + place] = is_outside ? static_cast<Unit>(extrapolated) : x[o * taken + from];
    });
}

template <typename O, typename A> __device__ inline O rounded(A value, bool is_filtered) {
    if constexpr (Wide<O>::is_float) return to_element<O>(value);
    else {
        const double whole = is_filtered ? floor(double(value) + 0.5) : trunc(double(value));
        const double low = double(least<O>()), high = double(greatest<O>());
        return whole <= low ? static_cast<O>(least<O>()) : whole >= high ? static_cast<O>(greatest<O>()) : static_cast<O>(whole);
    }
}

template <typename T> struct Computed { using type = float; };
template <> struct Computed<double> { using type = double; };

// What is blended for one place: the elements of each axis, as offsets and weights.
template <typename A, int taps, int axes> struct Blended {
    int offset[axes][taps];
    A weight[axes][taps];

    template <int axis, typename T> __device__ A total(const T* source) const {
        A sum = 0;
#pragma unroll
        for (int k = 0; k < taps; ++k) {
            if constexpr (axis + 1 < axes) sum += weight[axis][k] * total<axis + 1>(source + offset[axis][k]);
            else sum += weight[axis][k] * from_element<A>(source[offset[axis][k]]);
        }
        return sum;
    }
};

template <typename T, int taps, int axes>
__global__ void __launch_bounds__(256) interpolate(
    const T* __restrict__ x, T* __restrict__ y, long long outer, int taken, int places, Resampled shape, int transformation, double cubic_a,
    bool excludes_outside, double extrapolated
) {
    using A = typename Computed<T>::type;
    for_each_index(places, [=](long long place) {
        const Position<int> position(shape, static_cast<int>(place));
        Blended<A, taps, axes> blended;
        bool is_outside = false;
        int from = 0, step = 1;
#pragma unroll
        for (int n = axes - 1; n >= 0; --n) {
            const Axis& axis = shape.axis[3 - axes + n];
            const Taps<A> found(axis, position.at[3 - axes + n], transformation, taps == 2 ? linear : cubic, A(cubic_a), excludes_outside);
            is_outside = is_outside || found.is_outside;
            from += position.gap[3 - axes + n] * step;
            step *= static_cast<int>(axis.gap);
#pragma unroll
            for (int k = 0; k < taps; ++k) {
                blended.offset[n][k] = static_cast<int>(held(found.first + k, axis.size)) * step;
                blended.weight[n][k] = found.weight(k, axis);
            }
            step *= static_cast<int>(axis.size);
        }
#pragma unroll 4
        for (long long o = blockIdx.y; o < outer; o += gridDim.y) {
            const A total = blended.template total<0>(x + o * taken + from);
            y[o * places + place] = rounded<T>(is_outside ? A(extrapolated) : total, false);
        }
    });
}

template <typename I, typename O, typename A>
__global__ void __launch_bounds__(256, 2) blend(
    const I* __restrict__ x, O* __restrict__ y, long long count, Resampled shape, int transformation, int filter, double cubic_a,
    bool excludes_outside, double extrapolated
) {
    for_each_index(count, [=](long long i) {
        const Position<long long> position(shape, i);
        const Taps<A> first(shape.axis[0], position.at[0], transformation, filter, A(cubic_a), excludes_outside);
        const Taps<A> second(shape.axis[1], position.at[1], transformation, filter, A(cubic_a), excludes_outside);
        const Taps<A> third(shape.axis[2], position.at[2], transformation, filter, A(cubic_a), excludes_outside);
        A total = 0;
        for (int p = 0; p < first.count; ++p) {
            const long long plane = inside(shape, position, 0, position.outer, first.first + p);
            A of_plane = 0;
            for (int r = 0; r < second.count; ++r) {
                const long long row = inside(shape, position, 1, plane, second.first + r);
                A of_row = 0;
                for (int e = 0; e < third.count; ++e)
                    of_row += third.weight(e, shape.axis[2]) * from_element<A>(x[inside(shape, position, 2, row, third.first + e)]);
                of_plane += second.weight(r, shape.axis[1]) * of_row;
            }
            total += first.weight(p, shape.axis[0]) * of_plane;
        }
        if (first.is_outside || second.is_outside || third.is_outside) total = A(extrapolated);
        y[i] = rounded<O>(total, filter >= antialias_linear);
    });
}
