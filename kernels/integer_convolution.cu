// Convolutions of 8-bit integers: the sums of (x - x_zero) (w - w_zero) as int32, or quantised again with a bias.
//
//   x         [batch, groups · channels, input…], with is_last [batch, input…, groups · channels]; what lies outside counts as x_zero
//   w         [groups · maps, channels, kernel…]
//   y         [batch, groups · maps, output…], with is_last [batch, output…, groups · maps]
//   partial   null, or [parts, elements of y]: sums over `span` of the depth each, which combine_integers adds up
//   flips     of x and w: 0x80 for uint8, 0 for int8; codes become int8 by it
//   is_vectored  whether the weights of a map lie on a multiple of 16 bytes; is_packed: whether groups of results are stored at once
//   launch    convolve_integers: (tiles, parts, groups) blocks of Shape::threads; kernels have at most MOST_MASKED taps along all axes
//             together; convolve_channels, for groups of one channel, and combine_integers: any
//
// One operation multiplies four depths, which lie in a word. As neither x - x_zero nor w - w_zero fits into a byte, the codes are
// multiplied, and Σ (x - a) (w - b) = Σ x w - a Σ w - b (Σ x - depth · a). All sums wrap around as int32.

#include "convolution_columns.cuh"
#include "four_products.cuh"
#include "product.cuh"

struct Quantization {
    const unsigned char *x_zero, *w_zero;  // null for 0
    const float *x_scale, *w_scale, *y_scale;
    const void* y_zero;
    const int* bias;  // or null
    long long w_zero_step, w_scale_step;  // 1 where there is one a map, 0 where there is one for all
};

struct Codes {
    unsigned x_zero;  // as x has it
    unsigned flip_x, flip_w;

    __device__ Codes(const Quantization& q, int flip_x, int flip_w)
        : x_zero(q.x_zero ? *q.x_zero : 0), flip_x(flip_x), flip_w(flip_w) {}
    static __device__ int number(unsigned code, unsigned flip) { return static_cast<signed char>(code ^ flip); }
    __device__ int zero_of_x() const { return number(x_zero, flip_x); }
    __device__ int zero_of_w(const Quantization& q, int map) const { return number(q.w_zero ? q.w_zero[map * q.w_zero_step] : 0, flip_w); }
};

// What becomes of a sum.
template <typename T, int least, int most> struct Requantized {
    static __device__ T of(int sum, const Quantization& q, int map) {
        const float whole = static_cast<float>(static_cast<long long>(sum) + (q.bias ? q.bias[map] : 0));
        const float scaled = whole * (*q.x_scale * q.w_scale[map * q.w_scale_step] / *q.y_scale);
        const float shifted = rintf(scaled) + static_cast<float>(*static_cast<const T*>(q.y_zero));
        return static_cast<T>(fminf(fmaxf(shifted, least), most));
    }
};
template <typename T> struct Result {
    static __device__ T of(int sum, const Quantization&, int) { return sum; }
};
template <> struct Result<unsigned char> : Requantized<unsigned char, 0, 255> {};
template <> struct Result<signed char> : Requantized<signed char, -128, 127> {};

// As if there were one channel and one map: what it says of x and y are places of theirs.
__device__ inline Convolution of_places(Convolution p) {
    p.groups = p.channels = p.maps = 1;
    return p;
}

template <bool is_last> struct ByteTap : MaskedTap {
    static __device__ ByteTap at(const Convolution& p, const Walks& walks, int channel, const int (&number)[3]) {
        ByteTap tap = {MaskedTap::at(p, walks, is_last ? 0 : channel, number)};
        if (is_last) tap.input = tap.input * p.groups * p.channels + channel;
        return tap;
    }
    static __device__ ByteTap outside() { return {MaskedTap::outside()}; }
};

// A multiple of 16 depths of a word each four; rows × columns are computed by a block, thread_rows × thread_columns by a thread.
template <int rows_, int columns_, int thread_rows_, int thread_columns_> struct WordTile {
    static constexpr int rows = rows_, columns = columns_, thread_rows = thread_rows_, thread_columns = thread_columns_;
    static constexpr int threads_across = columns / thread_columns, threads = rows / thread_rows * threads_across;
    static constexpr int depth = 32, words = depth / 4, held = columns * depth / threads, shares = depth / held;
    static_assert(2 * rows <= threads && threads % columns == 0, "a thread reads 16 depths of a row, and one column");
};

using NarrowWords = WordTile<32, 128, 8, 4>;
using SmallWords = WordTile<64, 64, 8, 4>;
using LargeWords = WordTile<128, 128, 8, 8>;

template <typename T, typename Shape, bool is_last>
__global__ void __launch_bounds__(Shape::threads, 512 / Shape::threads) convolve_integers(
    const unsigned char* __restrict__ x, const unsigned char* __restrict__ w, T* __restrict__ y, int* __restrict__ partial, Convolution p,
    Quantization q, int span, int flip_x, int flip_w, bool is_vectored, bool is_packed
) {
    constexpr int depth = Shape::depth, held = Shape::held, pack = group_of<int, Shape::thread_columns>;
    __shared__ Taps<ByteTap<is_last>, depth> taps[2];
    __shared__ Slice<int, Shape::rows, Shape::words> rows[2];
    __shared__ Slice<int, Shape::columns, Shape::words> columns[2];
    __shared__ int sums_of_rows[2][Shape::rows], sums_of_columns[Shape::shares][Shape::columns];
    const int down = threadIdx.x / Shape::threads_across, across = threadIdx.x % Shape::threads_across;
    const int my_row = threadIdx.x / 2, row_depth = threadIdx.x % 2 * 16;
    const int my_column = threadIdx.x % Shape::columns, share = threadIdx.x / Shape::columns, column_depth = share * held;
    const int tiles_down = (p.maps + Shape::rows - 1) / Shape::rows;
    const int first_row = blockIdx.x % tiles_down * Shape::rows, first_column = blockIdx.x / tiles_down * Shape::columns;
    const Walks walks(p, false, 0);
    const Convolution places = of_places(p);
    const int windows = p.batch * walks.count(), whole = p.channels * walks.taps(), begin = blockIdx.y * span;
    const int end = whole - begin < span ? whole : begin + span;
    const Codes codes(q, flip_x, flip_w);

    for (int group = blockIdx.z; group < p.groups; group += gridDim.z) {
        const bool is_row = my_row < Shape::rows && first_row + my_row < p.maps;
        const int first_weight = (group * p.maps + (is_row ? first_row + my_row : 0)) * whole;
        const MaskedColumn<unsigned char> column(x, is_last ? places : p, walks, is_last ? 0 : group, first_column + my_column, windows);
        int first_element = static_cast<int>(column.from - reinterpret_cast<Address>(x));
        if (is_last) first_element = (first_element * p.groups + group) * p.channels;
        unsigned of_row[4], of_column[held / 4];
        int sum_of_row = 0, sum_of_column = 0, sum[Shape::thread_rows][Shape::thread_columns] = {};

        const auto load = [&](const Taps<ByteTap<is_last>, depth>& table, int first) {
            const int k = first + row_depth;
            if (is_vectored) {
                const Vector<unsigned> read = is_row && k < end ? load_vector(reinterpret_cast<const unsigned*>(w + (first_weight + k))) : Vector<unsigned>{};
#pragma unroll
                for (int n = 0; n < 4; ++n) of_row[n] = is_row && k < end ? read.element[n] ^ codes.flip_w * 0x01010101u : 0;
            } else {
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    of_row[n] = 0;
#pragma unroll
                    for (int e = 0; e < 4; ++e)
                        if (is_row && k + 4 * n + e < end) of_row[n] |= (w[first_weight + k + 4 * n + e] ^ codes.flip_w) << 8 * e;
                }
            }
#pragma unroll
            for (int n = 0; n < held / 4; ++n) {
                of_column[n] = 0;
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const ByteTap<is_last> tap = table.tap[column_depth + 4 * n + e];
                    const bool is_outside = tap.bits & column.outside;
                    const unsigned code = is_outside ? codes.x_zero : __ldg(x + (first_element + tap.input));
                    of_column[n] |= code << 8 * e;
                }
            }
        };
        const auto store = [&](int to) {
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                if (my_row >= Shape::rows) continue;
                sum_of_row = add_four_products(of_row[n], 0x01010101, sum_of_row);
                rows[to].value[row_depth / 4 + n][my_row] = of_row[n];
            }
#pragma unroll
            for (int n = 0; n < held / 4; ++n) {
                const int word = of_column[n] ^ codes.flip_x * 0x01010101u;
                sum_of_column = add_four_products(word, 0x01010101, sum_of_column);
                columns[to].value[column_depth / 4 + n][my_column] = word;
            }
        };

        __syncthreads();  // the block may still read what it multiplied before
        taps[0].template write<false>(p, walks, p.taps(), begin, end);
        __syncthreads();
        load(taps[0], begin);
        store(0);
        taps[1].template write<false>(p, walks, p.taps(), begin + depth, end);
        __syncthreads();
        int current = 0;
        for (int first = begin; first < end; first += depth, current = 1 - current) {
            const bool is_last_slice = first + depth >= end;
            if (!is_last_slice) load(taps[1 - current], first + depth);
#pragma unroll 1
            for (int k = 0; k < Shape::words; ++k) {
                int of_rows[Shape::thread_rows], of_columns[Shape::thread_columns];
                read_slice(rows[current], k, down, of_rows);
                read_slice(columns[current], k, across, of_columns);
#pragma unroll
                for (int i = 0; i < Shape::thread_rows; ++i)
#pragma unroll
                    for (int j = 0; j < Shape::thread_columns; ++j) sum[i][j] = add_four_products(of_rows[i], of_columns[j], sum[i][j]);
            }
            if (!is_last_slice) {
                store(1 - current);
                taps[current].template write<false>(p, walks, p.taps(), first + 2 * depth, end);
            }
            __syncthreads();
        }
        if (my_row < Shape::rows) sums_of_rows[threadIdx.x % 2][my_row] = sum_of_row;
        sums_of_columns[share][my_column] = sum_of_column;
        __syncthreads();

        const unsigned zero = codes.zero_of_x(), depth_there = (end - begin + depth - 1) / depth * depth;
        int* const of_part = partial ? partial + blockIdx.y * (static_cast<long long>(p.batch) * p.groups * p.maps * p.output_size()) : partial;
#pragma unroll
        for (int j = 0; j < Shape::thread_columns; j += pack) {
            unsigned beyond[pack];  // Σ x - depth · x_zero
            int target[pack];       // of map 0; -1 for none
#pragma unroll
            for (int n = 0; n < pack; ++n) {
                const int of_tile = place_of<int, Shape::thread_columns, Shape::columns>(across, j + n), place = first_column + of_tile;
                beyond[n] = 0u - depth_there * zero;
#pragma unroll
                for (int k = 0; k < Shape::shares; ++k) beyond[n] += sums_of_columns[k][of_tile];
                target[n] = -1;
                if (place >= windows) continue;
                target[n] = static_cast<int>(target_of(is_last ? places : p, walks, place)) * (is_last ? p.groups * p.maps : 1);
            }
#pragma unroll
            for (int i = 0; i < Shape::thread_rows; ++i) {
                const int of_tile = place_of<int, Shape::thread_rows, Shape::rows>(down, i), map = group * p.maps + first_row + of_tile;
                if (first_row + of_tile >= p.maps) continue;
                const unsigned of_map = zero * (sums_of_rows[0][of_tile] + sums_of_rows[1][of_tile]), zero_of_map = codes.zero_of_w(q, map);
                const int offset = is_last ? map : map * p.output_size();
                Pack<T, pack> result;
#pragma unroll
                for (int n = 0; n < pack; ++n) {
                    const int total = static_cast<unsigned>(sum[i][j + n]) - of_map - zero_of_map * beyond[n];
                    if (of_part && target[n] >= 0) of_part[target[n] + offset] = total;
                    if (of_part) continue;
                    result.element[n] = Result<T>::of(total, q, map);
                    if (!is_packed && target[n] >= 0) y[target[n] + offset] = result.element[n];
                }
                if (!of_part && is_packed && target[0] >= 0) *reinterpret_cast<Pack<T, pack>*>(y + target[0] + offset) = result;
            }
        }
    }
}

// Which map an element of y belongs to.
template <bool is_last> __device__ inline int map_of(long long i, int maps, int positions) {
    return static_cast<int>(is_last ? i % maps : quotient(i, positions) % maps);
}

template <typename T, bool is_last>
__global__ void __launch_bounds__(256) combine_integers(
    T* __restrict__ y, const int* __restrict__ partial, Quantization q, long long count, int maps, int positions, int parts
) {
    for_each_index(count, [=](long long i) {
        unsigned sum = 0;
        for (int part = 0; part < parts; ++part) sum += partial[part * count + i];
        y[i] = Result<T>::of(static_cast<int>(sum), q, map_of<is_last>(i, maps, positions));
    });
}

template <typename T, bool is_last>
__global__ void __launch_bounds__(256) convolve_channels(
    const unsigned char* __restrict__ x, const unsigned char* __restrict__ w, T* __restrict__ y, Convolution p, Quantization q, int flip_x,
    int flip_w, long long count
) {
    const Codes codes(q, flip_x, flip_w);
    const Axis outer = p.axis[0], middle = p.axis[1], inner = p.axis[2];
    const int maps = p.groups * p.maps, positions = p.output_size(), input_size = p.input_size();
    for_each_index(count, [=](long long i) {
        const unsigned number = static_cast<unsigned>(i);
        const int map = is_last ? number % maps : number / positions % maps, place = is_last ? number / maps % positions : number % positions;
        const int image = number / maps / positions, channel = map / p.maps;
        const int top = place / (inner.out_size * middle.out_size) * outer.stride - outer.begin;
        const int line = place / inner.out_size % middle.out_size * middle.stride - middle.begin;
        const int left = place % inner.out_size * inner.stride - inner.begin;
        const int step = is_last ? p.groups : 1, zero = codes.zero_of_x(), zero_of_map = codes.zero_of_w(q, map);
        const unsigned char* from = x + (is_last ? image * input_size * p.groups + channel : (image * p.groups + channel) * input_size);
        const unsigned char* weight = w + map * p.taps();
        unsigned sum = 0;
        for (int a = 0; a < outer.kernel; ++a)
            for (int b = 0; b < middle.kernel; ++b)
                for (int c = 0; c < inner.kernel; ++c, ++weight) {
                    const int down = top + a * outer.dilation, row = line + b * middle.dilation, column = left + c * inner.dilation;
                    if (!is_within(down, outer.size) || !is_within(row, middle.size) || !is_within(column, inner.size)) continue;
                    const unsigned code = from[((down * middle.size + row) * inner.size + column) * step];
                    sum += (Codes::number(code, codes.flip_x) - zero) * (Codes::number(*weight, codes.flip_w) - zero_of_map);
                }
        y[i] = Result<T>::of(static_cast<int>(sum), q, map);
    });
}
