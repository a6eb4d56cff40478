// GatherBlockQuantized: slices of a table that is quantised in blocks, as floats.
//
//   x          the table, an element a byte, or `8 / bits` of them where S is unsigned char, lowest bits first
//   y          [before, indices, behind]: the gathered axis of the table gives way to the indices
//   table      sizes of the table; along each axis strides of scales and zero points, in elements, and how many places share them
//   launch     any number of blocks and threads
//
// Without zero points `middle` is taken off. An index out of range gives 0.

#include "axes.cuh"
#include "convert.cuh"
#include "indices.cuh"
#include "unit.cuh"

struct Table {
    long long rank;
    long long sizes[MOST_AXES];  // innermost last
    long long block[MOST_AXES];
    long long scale_step[MOST_AXES];
    long long zero_step[MOST_AXES];
};

template <typename S> __device__ inline float load_element(const S* x, int, long long i) { return static_cast<float>(wide(x[i])); }
__device__ inline float load_element(const unsigned char* x, int bits, long long i) {
    const int each = 8 / bits;
    return static_cast<float>(x[i / each] >> static_cast<int>(i % each) * bits & ((1 << bits) - 1));
}

template <typename S, typename T>
__global__ void __launch_bounds__(256) gather_quantized(
    const S* x, const void* indices, const T* scales, const S* zeros, T* y, Table table, bool is_wide, int bits, float middle,
    long long size, long long index_count, long long behind, long long count
) {
    for_each_index(count, [&](long long i) {
        const long long row = i / behind, at = position(load_index(indices, is_wide, row % index_count), size);
        if (at < 0) {
            y[i] = narrow<T>(0.0f);
            return;
        }
        const long long from = (row / index_count * size + at) * behind + i % behind;
        long long rest = from, scale = 0, zero = 0;
        for (int axis = static_cast<int>(table.rank) - 1; axis >= 0; --axis) {
            const long long block = rest % table.sizes[axis] / table.block[axis];
            rest /= table.sizes[axis];
            scale += block * table.scale_step[axis];
            zero += block * table.zero_step[axis];
        }
        const float offset = zeros ? load_element(zeros, bits, zero) : middle;
        y[i] = narrow<T>((load_element(x, bits, from) - offset) * widen(scales[scale]));
    });
}
