// Where batches of matrices lie: two operands a and b, what is added to their product (c), and the result (y).

#pragma once

#include "elementwise.cuh"

struct Strides {
    long long a_row, a_depth, b_depth, b_column, c_row, c_column, y_row, y_column;
};

struct Batch {
    long long a, b, c, y;
};

__device__ inline Batch batch_of(const Layout<4>& layout, long long index) {
    long long offset[4] = {};
    for (int axis = MOST_AXES - 1; axis >= 0 && index > 0; --axis) {
        const long long place = index % layout.sizes[axis];
        index /= layout.sizes[axis];
#pragma unroll
        for (int n = 0; n < 4; ++n) offset[n] += place * layout.strides[n][axis];
    }
    return {offset[0], offset[1], offset[2], offset[3]};
}
