// Pooling over regions of interest: RoiAlign, MaxRoiPool and CropAndResize.
//
//   x         [batch, channels, height, width]
//   rois      [regions, 4] or, for MaxRoiPool, [regions, 5] with the image in front
//   images    [regions], the image that each region lies in; a region of an image that is not there gives NaN
//   y         [regions, channels, rows, columns]
//   launch    any: a thread an element of y
//
// Places are computed in double: few of them decide many elements.

#include "functions.cuh"
#include "scalar.cuh"
#include "vector.cuh"

struct Regions {
    long long batch, channels, height, width, rows, columns, count;  // count: elements of y
};

struct RegionPlace {
    long long region, channel, row, column;

    __device__ RegionPlace(const Regions& shape, long long index) {
        column = index % shape.columns;
        index /= shape.columns;
        row = index % shape.rows;
        index /= shape.rows;
        channel = index % shape.channels;
        region = index / shape.channels;
    }
};

template <typename A> __device__ inline A not_a_number() { return infinity<A>() - infinity<A>(); }

// The two elements along an axis that a sample lies between, and the weight of the second.
struct Between {
    long long low, high;
    double fraction;
    bool is_inside;

    __device__ Between(double place, long long size) {
        is_inside = place >= -1 && place <= size;
        place = place < 0 ? 0 : place > size - 1 ? size - 1 : place;
        low = is_inside ? static_cast<long long>(place) : 0;
        high = low + 1 < size ? low + 1 : size - 1;
        fraction = place - low;
    }
};

__device__ inline long long samples_of(int ratio, double length, long long bins) {
    if (ratio > 0) return ratio;
    const long long samples = static_cast<long long>(ceil(length / bins));
    return samples > 1 ? samples : 1;
}

// The mean of bilinear samples of each bin, or the greatest of their weighted corners.
template <typename T>
__global__ void __launch_bounds__(256) align_regions(
    const T* __restrict__ x, const T* __restrict__ rois, const long long* __restrict__ images, T* __restrict__ y, Regions shape, double scale,
    int ratio, bool is_shifted, bool takes_greatest
) {
    using A = accumulator_t<T>;
    for_each_index(shape.count, [=](long long index) {
        const RegionPlace place(shape, index);
        const long long image = images[place.region];
        if (image < 0 || image >= shape.batch) {
            y[index] = narrow<T>(not_a_number<A>());
            return;
        }
        const T* roi = rois + place.region * 4;
        const double shift = is_shifted ? 0.5 : 0.0;
        const double left = double(widen(roi[0])) * scale - shift, top = double(widen(roi[1])) * scale - shift;
        double width = double(widen(roi[2])) * scale - shift - left, height = double(widen(roi[3])) * scale - shift - top;
        if (!is_shifted) {
            width = width > 1 ? width : 1;
            height = height > 1 ? height : 1;
        }
        const double row_step = height / shape.rows, column_step = width / shape.columns;
        const long long down = samples_of(ratio, height, shape.rows), across = samples_of(ratio, width, shape.columns);
        const T* source = x + (image * shape.channels + place.channel) * shape.height * shape.width;
        A sum = 0, greatest = -infinity<A>();
        for (long long i = 0; i < down; ++i) {
            const Between row(top + place.row * row_step + (i + 0.5) * row_step / down, shape.height);
            for (long long j = 0; j < across; ++j) {
                const Between column(left + place.column * column_step + (j + 0.5) * column_step / across, shape.width);
                const double weight = row.is_inside && column.is_inside ? 1 : 0, lower = row.fraction, right = column.fraction;
                const A corners[4] = {
                    A(weight * (1 - lower) * (1 - right)) * widen(source[row.low * shape.width + column.low]),
                    A(weight * (1 - lower) * right) * widen(source[row.low * shape.width + column.high]),
                    A(weight * lower * (1 - right)) * widen(source[row.high * shape.width + column.low]),
                    A(weight * lower * right) * widen(source[row.high * shape.width + column.high]),
                };
#pragma unroll
                for (int corner = 0; corner < 4; ++corner) {
                    sum += corners[corner];
                    greatest = maximum(greatest, corners[corner]);
                }
            }
        }
        y[index] = narrow<T>(takes_greatest ? greatest : sum / A(down * across));
    });
}

__device__ inline long long half_away(double value) {
    const double whole = floor(fabs(value) + 0.5);
    return static_cast<long long>(value < 0 ? -whole : whole);
}

struct Bin {
    long long first, last;

    __device__ Bin(long long start, long long end, long long number, long long bins, long long size) {
        const double step = double(end - start + 1 > 1 ? end - start + 1 : 1) / bins;
        first = clamped(static_cast<long long>(floor(number * step)) + start, size);
        last = clamped(static_cast<long long>(ceil((number + 1) * step)) + start, size);
    }
    static __device__ long long clamped(long long value, long long size) { return value < 0 ? 0 : value > size ? size : value; }
};

// The greatest element of each bin; 0 of an empty one.
template <typename T>
__global__ void __launch_bounds__(256) pool_regions(
    const T* __restrict__ x, const T* __restrict__ rois, T* __restrict__ y, Regions shape, double scale
) {
    using A = accumulator_t<T>;
    for_each_index(shape.count, [=](long long index) {
        const RegionPlace place(shape, index);
        const T* roi = rois + place.region * 5;
        const long long image = static_cast<long long>(widen(roi[0]));
        if (image < 0 || image >= shape.batch) {
            y[index] = narrow<T>(not_a_number<A>());
            return;
        }
        const Bin rows(half_away(widen(roi[2]) * scale), half_away(widen(roi[4]) * scale), place.row, shape.rows, shape.height);
        const Bin columns(half_away(widen(roi[1]) * scale), half_away(widen(roi[3]) * scale), place.column, shape.columns, shape.width);
        const T* source = x + (image * shape.channels + place.channel) * shape.height * shape.width;
        const bool is_empty = rows.first >= rows.last || columns.first >= columns.last;
        A greatest = is_empty ? A(0) : -infinity<A>();
        for (long long i = rows.first; i < rows.last; ++i)
            for (long long j = columns.first; j < columns.last; ++j) greatest = maximum(greatest, A(widen(source[i * shape.width + j])));
        y[index] = narrow<T>(greatest);
    });
}

// Where element `number` of `count` lies between the ends of a region, corners on corners.
__device__ inline float crop_place(float first, float last, long long number, long long count, long long size) {
    const float length = static_cast<float>(size - 1);
    if (count == 1) return __fmul_rn(__fmul_rn(first + last, length), 0.5f);
    return __fmul_rn(first, length) + __fmul_rn(static_cast<float>(number), __fmul_rn(last - first, length) / static_cast<float>(count - 1));
}

__global__ void __launch_bounds__(256) crop_regions(
    const float* __restrict__ x, const float* __restrict__ rois, const int* __restrict__ images, float* __restrict__ y, Regions shape,
    bool takes_nearest, float outside
) {
    for_each_index(shape.count, [=](long long index) {
        const RegionPlace place(shape, index);
        const float* roi = rois + place.region * 4;
        const float row = crop_place(roi[0], roi[2], place.row, shape.rows, shape.height);
        const float column = crop_place(roi[1], roi[3], place.column, shape.columns, shape.width);
        const bool is_inside = row >= 0 && row <= shape.height - 1 && column >= 0 && column <= shape.width - 1;
        const int image = images[place.region];
        const bool is_there = image >= 0 && image < shape.batch;
        float value = is_there ? outside : not_a_number<float>();
        if (is_there && is_inside) {
            const float* source = x + (image * shape.channels + place.channel) * shape.height * shape.width;
            if (takes_nearest) {
                value = source[static_cast<long long>(floorf(row + 0.5f)) * shape.width + static_cast<long long>(floorf(column + 0.5f))];
            } else {
                const float down = row - floorf(row), right = column - floorf(column);
                const float* upper = source + static_cast<long long>(floorf(row)) * shape.width;
                const float* lower = source + static_cast<long long>(ceilf(row)) * shape.width;
                const long long left = static_cast<long long>(floorf(column)), other = static_cast<long long>(ceilf(column));
                value = (upper[left] * (1 - right) + upper[other] * right) * (1 - down) + (lower[left] * (1 - right) + lower[other] * right) * down;
            }
        }
        y[index] = value;
    });
}
