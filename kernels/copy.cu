// Copies between two layouts of one shape: transposes, tiles, blocks of images, slices that have to be dense.
//
//   x, y      of any strides, also 0 and below; sizes and strides are in units, the innermost axis last
//   launch    copy_strided: any number of blocks and threads
//             copy_tiles: any number of blocks of (width, 256 / width) threads, width being that of Tile<bytes>
//
// copy_strided follows y's order; neighbours in both arrays move together as a unit. copy_tiles is for the case that different axes
// are innermost in x and in y: squares of both go through shared memory, so that rows of both are read and written whole.

#include "axes.cuh"
#include "unit.cuh"

template <int bytes> __global__ void __launch_bounds__(256) copy_strided(const void* x, void* y, Axes axes, long long count) {
    using U = unit_t<bytes>;
    const U* source = static_cast<const U*>(x);
    U* target = static_cast<U*>(y);
    for_each_unit(count, [&](auto i) {
        long long from = 0, to = 0;
        locate(axes, i, from, to);
        store_unit(target + to, load_unit(source + from));
    });
}

template <int bytes> struct Tile {
    static constexpr int width = bytes <= 2 ? 64 : 32;
    static constexpr int pitch = width + (bytes < 4 ? 4 / bytes : 1);  // columns lie in different banks
};

// Units are neighbours in x along `columns`, in y along `rows`; `outer` lays out the other axes.
template <int bytes>
__global__ void __launch_bounds__(256) copy_tiles(
    const void* x, void* y, Axes outer, long long batches, long long rows, long long columns, long long from_step, long long to_step
) {
    using U = unit_t<bytes>;
    constexpr int width = Tile<bytes>::width;
    __shared__ U tile[width][Tile<bytes>::pitch];
    const long long across = (columns + width - 1) / width, down = (rows + width - 1) / width;
    const int lane = threadIdx.x;
    for (long long t = blockIdx.x; t < across * down * batches; t += gridDim.x) {
        const long long column = t % across * width, row = t / across % down * width;
        long long from = 0, to = 0;
        locate(outer, t / across / down, from, to);
        const U* source = static_cast<const U*>(x) + from;
        U* target = static_cast<U*>(y) + to;
        for (int k = threadIdx.y; k < width; k += blockDim.y)
            if (row + k < rows && column + lane < columns) tile[k][lane] = load_unit(source + (row + k) * from_step + column + lane);
        __syncthreads();
        for (int k = threadIdx.y; k < width; k += blockDim.y)
            if (column + k < columns && row + lane < rows) store_unit(target + (column + k) * to_step + row + lane, tile[lane][k]);
        __syncthreads();
    }
}
