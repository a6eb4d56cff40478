// Copies between two layouts of one shape: transposes, tiles, blocks of images, slices that have to be dense.
//
//   x, y      of any strides, also 0 and below; sizes and strides are in units, the innermost axis last
//   launch    copy_strided: any number of blocks and threads
//             copy_tiles: any number of blocks of (width, lines) threads, as Tile<bytes> has them
//             copy_packed_tiles: any number of blocks of 256 threads
//
// copy_strided follows y's order; neighbours in both arrays move together as a unit. copy_tiles is for the case that different axes
// are innermost in x and in y: squares of both go through shared memory, so that rows of both are read and written whole.
// copy_packed_tiles does the same with units of 1 or 2 bytes of which as many as make 4 bytes, a word, always lie together in both.

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

constexpr int TILE_THREADS = 256, TILE_BLOCKS = 4;

// function(row, column, batch) for the corners of tiles of `height` and `width`, shared among the blocks.
template <int height, int width, typename Function>
__device__ inline void for_each_tile(long long rows, long long columns, long long tiles, Function function) {
    const long long across = (columns + width - 1) / width, down = (rows + height - 1) / height;
    const auto visit = [&](auto number) {
        using Index = decltype(number);
        const Index of_row = number / static_cast<Index>(across), batch = of_row / static_cast<Index>(down);
        const Index column = number - of_row * static_cast<Index>(across), row = of_row - batch * static_cast<Index>(down);
        function(row * static_cast<long long>(height), column * static_cast<long long>(width), batch);
    };
    if (tiles < 1ll << 31)
        for (unsigned t = blockIdx.x; t < tiles; t += gridDim.x) visit(t);
    else
        for (long long t = blockIdx.x; t < tiles; t += gridDim.x) visit(t);
}

template <int bytes> struct Tile {
    static constexpr int width = bytes <= 4 ? 64 : 32, lines = TILE_THREADS / width;
    static constexpr int pitch = width + (bytes < 4 ? 4 / bytes : 1);  // columns lie in different banks
};

// Units are neighbours in x along `columns`, in y along `rows`; `outer` lays out the other axes. A thread's loads are all in flight before
// the first of them is needed.
template <int bytes>
__global__ void __launch_bounds__(TILE_THREADS, TILE_BLOCKS) copy_tiles(
    const void* __restrict__ x, void* __restrict__ y, Axes outer, long long rows, long long columns, long long tiles, long long from_step,
    long long to_step
) {
    using U = unit_t<bytes>;
    constexpr int width = Tile<bytes>::width, lines = Tile<bytes>::lines, passes = width / lines;
    __shared__ U tile[width][Tile<bytes>::pitch];
    const int lane = threadIdx.x, line = threadIdx.y;
    for_each_tile<width, width>(rows, columns, tiles, [&](long long row, long long column, auto batch) {
        const int breadth = static_cast<int>(columns - column < width ? columns - column : width);
        const int height = static_cast<int>(rows - row < width ? rows - row : width);
        long long from = 0, to = 0;
        locate(outer, batch, from, to);
        const U* source = static_cast<const U*>(x) + from + (row + line) * from_step + column + lane;
        U* target = static_cast<U*>(y) + to + (column + line) * to_step + row + lane;
        U units[passes];
#pragma unroll
        for (int pass = 0; pass < passes; ++pass)
            if (line + pass * lines < height && lane < breadth) units[pass] = load_unit(source + pass * lines * from_step);
#pragma unroll
        for (int pass = 0; pass < passes; ++pass)
            if (line + pass * lines < height && lane < breadth) tile[line + pass * lines][lane] = units[pass];
        __syncthreads();
#pragma unroll
        for (int pass = 0; pass < passes; ++pass)
            if (line + pass * lines < breadth && lane < height) store_unit(target + pass * lines * to_step, tile[lane][line + pass * lines]);
        __syncthreads();
    });
}

// The same, with a word for a unit everywhere but in `rows` and `columns`, which words divide. A thread reads words of as many rows as a
// word has units, so that it has the words of as many columns.
template <int bytes>
__global__ void __launch_bounds__(TILE_THREADS, bytes == 1 ? 3 : TILE_BLOCKS) copy_packed_tiles(
    const void* __restrict__ x, void* __restrict__ y, Axes outer, long long rows, long long columns, long long tiles, long long from_step,
    long long to_step
) {
    constexpr int pack = 4 / bytes, words = 32, lines = TILE_THREADS / words, passes = words / lines, width = words * pack;
    struct alignas(4) Word { unit_t<bytes> unit[pack]; };
    __shared__ Word tile[pack][words][words + 1];  // [row % pack][row / pack][column / pack]
    const int lane = threadIdx.x % words, line = threadIdx.x / words;
    for_each_tile<width, width>(rows, columns, tiles, [&](long long row, long long column, auto batch) {
        const int breadth = static_cast<int>(columns - column < width ? columns - column : width) / pack;
        const int height = static_cast<int>(rows - row < width ? rows - row : width) / pack;
        long long from = 0, to = 0;
        locate(outer, batch, from, to);
        const Word* source = static_cast<const Word*>(x) + from + (row + line * pack) * from_step + column / pack + lane;
        Word* target = static_cast<Word*>(y) + to + (column + line * pack) * to_step + row / pack + lane;
        Word found[passes][pack];
#pragma unroll
        for (int pass = 0; pass < passes; ++pass)
#pragma unroll
            for (int i = 0; i < pack; ++i)
                if (line + pass * lines < height && lane < breadth) found[pass][i] = source[(pass * lines * pack + i) * from_step];
#pragma unroll
        for (int pass = 0; pass < passes; ++pass)
#pragma unroll
            for (int i = 0; i < pack; ++i)
                if (line + pass * lines < height && lane < breadth) tile[i][line + pass * lines][lane] = found[pass][i];
        __syncthreads();
#pragma unroll
        for (int pass = 0; pass < passes; ++pass) {
            if (line + pass * lines >= breadth || lane >= height) continue;
            Word across[pack];
#pragma unroll
            for (int i = 0; i < pack; ++i) across[i] = tile[i][lane][line + pass * lines];
#pragma unroll
            for (int j = 0; j < pack; ++j) {
                Word along;
#pragma unroll
                for (int i = 0; i < pack; ++i) along.unit[i] = across[i].unit[j];
                target[(pass * lines * pack + j) * to_step] = along;
            }
        }
        __syncthreads();
    });
}
