// Columns to an image: blocks that overlap are added.
//
//   x         [planes, prod(block), prod(counts)], a column for each place of the block
//   y         [planes, prod(image)]; an element is the sum of those that the blocks over it have there
//   launch    any number of blocks and threads: an element of the image a thread at a time, which looks for the blocks over it

#include "scalar.cuh"
#include "vector.cuh"

constexpr int MOST_SPATIAL_AXES = 8;

struct Columns {
    long long rank, planes, block_size, block_count, image_size;
    long long image[MOST_SPATIAL_AXES], block[MOST_SPATIAL_AXES], counts[MOST_SPATIAL_AXES];
    long long strides[MOST_SPATIAL_AXES], dilations[MOST_SPATIAL_AXES], pads[MOST_SPATIAL_AXES];
};

// The number of the block that has the element `offset` of a block at `pixel`; -1 if there is none.
__device__ inline long long block_over(const Columns& c, long long pixel, long long offset) {
    long long number = 0, step = 1;
    for (int axis = static_cast<int>(c.rank) - 1; axis >= 0; --axis) {
        const long long place = pixel % c.image[axis] + c.pads[axis] - offset % c.block[axis] * c.dilations[axis];
        pixel /= c.image[axis];
        offset /= c.block[axis];
        if (place < 0 || place % c.strides[axis] || place / c.strides[axis] >= c.counts[axis]) return -1;
        number += place / c.strides[axis] * step;
        step *= c.counts[axis];
    }
    return number;
}

template <typename T> __global__ void __launch_bounds__(256) columns_to_image(const T* __restrict__ x, T* __restrict__ y, Columns c) {
    for_each_index(c.planes * c.image_size, [&](long long i) {
        const long long plane = i / c.image_size, pixel = i % c.image_size;
        accumulator_t<T> sum = 0;
        for (long long offset = 0; offset < c.block_size; ++offset) {
            const long long number = block_over(c, pixel, offset);
            if (number >= 0) sum += widen(x[(plane * c.block_size + offset) * c.block_count + number]);
        }
        y[i] = narrow<T>(sum);
    });
}
