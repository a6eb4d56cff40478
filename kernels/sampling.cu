// Reading a tensor at fractional positions: GridSample, AffineGrid and the windows of DeformConv.
//
//   x         [batch, channels, size0, size1, size2]; fewer than 3 spatial axes have ones in front
//   launch    any: a thread an element of the result
//
//   sample_grid      grid [batch, points, axes], last axis first, in [-1, 1]; y [batch, channels, points]
//   fill_affine_grid theta [batch, axes, axes + 1]; y [batch, points of the sizes, axes]
//   deform_windows   offset [batch, groups, kernel, axes, positions], mask [batch, groups, kernel, positions] or null;
//                    y [batch, channels, kernel, positions], the displaced windows as columns of accumulators

#include "functions.cuh"
#include "scalar.cuh"
#include "vector.cuh"

enum Padding { zeros, border, reflection };

struct Sampled {
    long long batch, channels, size[3], axes;
};

template <typename A> __device__ inline bool is_finite(A x) { return x - x == A(0); }

// Mirrored at both borders until it lies between them.
template <typename A> __device__ inline A reflected(A x, A low, A high) {
    const A span = high - low;
    if (span <= A(0)) return low;
    const A folded = truncated_remainder(absolute(x - low), A(2) * span);
    return (folded > span ? A(2) * span - folded : folded) + low;
}

template <typename A> __device__ inline A brought_inside(A x, long long size, int padding, bool align_corners) {
    if (padding == border) return clip(x, A(0), A(size - 1));
    if (padding == reflection) return align_corners ? reflected(x, A(0), A(size - 1)) : reflected(x, A(-0.5), A(size) - A(0.5));
    return x;
}

// The elements of one axis that the value at a coordinate is made of, `count` 1 (the nearest), 2 (linear) or 4 (cubic).
template <typename A> struct Taps {
    A first, fraction;
    int count;

    __device__ Taps() : first(0), fraction(0), count(1) {}
    __device__ Taps(A x, int taps) : first(round_to_even(x)), fraction(0), count(taps) {
        if (taps == 1) return;
        const A below = round_down(x);
        fraction = x - below;
        first = taps == 4 ? below - A(1) : below;
    }
    __device__ A weight(int k) const {
        if (count == 1) return A(1);
        if (count == 2) return k ? fraction : A(1) - fraction;
        const A a = A(-0.75), d = absolute(fraction + A(1 - k));
        return k == 1 || k == 2 ? ((a + A(2)) * d - (a + A(3))) * d * d + A(1) : ((a * d - A(5) * a) * d + A(8) * a) * d - A(4) * a;
    }
    // The index of element k, or -1 where it counts as zero.
    __device__ long long index(int k, long long size, int padding, bool align_corners) const {
        const A place = brought_inside(first + A(k), size, padding, align_corners);
        if (padding == zeros && !(place > A(-1) && place < A(size))) return -1;
        return static_cast<long long>(clip(place, A(0), A(size - 1)));
    }
};

template <typename T, typename A>
__device__ inline A sample(const T* x, const Taps<A> (&taps)[3], const long long (&size)[3], int padding, bool align_corners) {
    A total = 0;
    for (int p = 0; p < taps[0].count; ++p) {
        const long long plane = taps[0].index(p, size[0], padding, align_corners);
        if (plane < 0) continue;
        A of_plane = 0;
        for (int r = 0; r < taps[1].count; ++r) {
            const long long row = taps[1].index(r, size[1], padding, align_corners);
            if (row < 0) continue;
            A of_row = 0;
            for (int e = 0; e < taps[2].count; ++e) {
                const long long element = taps[2].index(e, size[2], padding, align_corners);
                if (element >= 0) of_row += taps[2].weight(e) * A(widen(x[(plane * size[1] + row) * size[2] + element]));
            }
            of_plane += taps[1].weight(r) * of_row;
        }
        total += taps[0].weight(p) * of_plane;
    }
    return total;
}

template <typename T>
__global__ void __launch_bounds__(256) sample_grid(
    const T* __restrict__ x, const T* __restrict__ grid, T* __restrict__ y, Sampled shape, long long points, int taps_an_axis, int padding,
    bool align_corners
) {
    using A = accumulator_t<T>;
    for_each_index(shape.batch * shape.channels * points, [=](long long i) {
        const long long point = i % points, image = i / points;
        const T* place = grid + (image / shape.channels * points + point) * shape.axes;
        Taps<A> taps[3];
#pragma unroll
        for (int axis = 0; axis < 3; ++axis) {
            const long long size = shape.size[axis], number = 2 - axis;
            if (number >= shape.axes) continue;
            const A shifted = A(widen(place[number])) + A(1);
            A coordinate = align_corners ? shifted / A(2) * A(size - 1) : (shifted * A(size) - A(1)) / A(2);
            if (taps_an_axis == 1) coordinate = round_to_even(coordinate);
            if (!is_finite(coordinate)) coordinate = padding == zeros ? A(-1e9) : A(0);
            if (taps_an_axis != 4) coordinate = brought_inside(coordinate, size, padding, align_corners);
            taps[axis] = Taps<A>(coordinate, taps_an_axis);
        }
        const long long size = shape.size[0] * shape.size[1] * shape.size[2];
        y[i] = narrow<T>(sample<T, A>(x + image * size, taps, shape.size, padding, align_corners));
    });
}

template <typename A> __device__ inline A grid_step(long long number, long long length, bool align_corners) {
    if (align_corners) return length == 1 ? A(0) : A(-1.0 + 2.0 * number / (length - 1));
    return A((2.0 * number + 1) / length - 1);
}

template <typename T>
__global__ void __launch_bounds__(256) fill_affine_grid(const T* __restrict__ theta, T* __restrict__ y, Sampled shape, bool align_corners) {
    using A = accumulator_t<T>;
    const long long points = shape.size[0] * shape.size[1] * shape.size[2];
    for_each_index(shape.batch * points * shape.axes, [=](long long i) {
        const long long axis = i % shape.axes, point = i / shape.axes % points;
        const T* row = theta + (i / (points * shape.axes) * shape.axes + axis) * (shape.axes + 1);
        long long rest = point;
        A value = widen(row[shape.axes]);
        for (long long n = 0; n < shape.axes; ++n) {
            const long long size = shape.size[2 - n];
            value += grid_step<A>(rest % size, size, align_corners) * A(widen(row[n]));
            rest /= size;
        }
        y[i] = narrow<T>(value);
    });
}

struct Deformed {
    long long kernel[3], stride[3], dilation[3], begin[3], output[3], groups;
};

template <typename T>
__global__ void __launch_bounds__(256) deform_windows(
    const T* __restrict__ x, const T* __restrict__ offset, const T* __restrict__ mask, accumulator_t<T>* __restrict__ y, Sampled shape,
    Deformed how
) {
    using A = accumulator_t<T>;
    const long long positions = how.output[0] * how.output[1] * how.output[2], elements = how.kernel[0] * how.kernel[1] * how.kernel[2];
    for_each_index(shape.batch * shape.channels * elements * positions, [=](long long i) {
        const long long position = i % positions, element = i / positions % elements, image = i / (positions * elements);
        const long long group = image / shape.channels * how.groups + image % shape.channels / (shape.channels / how.groups);
        const long long window = group * elements + element;
        long long of_position = position, of_element = element;
        Taps<A> taps[3];
#pragma unroll
        for (int axis = 2; axis >= 0; --axis) {
            const long long number = of_position % how.output[axis], k = of_element % how.kernel[axis];
            of_position /= how.output[axis];
            of_element /= how.kernel[axis];
            const long long which = axis - (3 - shape.axes);
            if (which < 0) continue;
            const A base = A(number * how.stride[axis] + k * how.dilation[axis] - how.begin[axis]);
            const A coordinate = base + A(widen(offset[(window * shape.axes + which) * positions + position]));
            taps[axis] = Taps<A>(is_finite(coordinate) ? coordinate : A(-1e9), 2);
        }
        const long long size = shape.size[0] * shape.size[1] * shape.size[2];
        const A value = sample<T, A>(x + image * size, taps, shape.size, zeros, false);
        y[i] = mask ? value * A(widen(mask[window * positions + position])) : value;
    });
}
