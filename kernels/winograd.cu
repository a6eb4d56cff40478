// Convolutions of 3 × 3 windows with stride 1, four results of a map by 16 products a channel in place of 36: F(2 × 2, 3 × 3).
// Source: Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, https://arxiv.org/abs/1509.09308
//
// A tile is 2 × 2 results of a map, its patch d the 4 × 4 elements of a channel that they are computed of. Along each axis the results
// are Aᵀ [(G g) · (Bᵀ d)]. What stands in brackets is summed over the channels before Aᵀ: these are 16 matrix products, one for each
// place in a patch, of weights (maps, channels) with patches (channels, tiles).
//
//   x         [batch, channels, height, width]; padding is 0
//   w         [maps, channels, 3, 3]
//   u         [maps / MAPS, channels, PLACES, MAPS]: G g Gᵀ; maps up to a multiple of MAPS and channels to one of DEPTH, 0 beyond
//   y         [batch, maps, height, width]; bias, residual, activation and partial as in convolution.cu
//   is_paired whether neighbouring results are stored two at once
//   launch    winograd: (blocks of maps · blocks of tiles, parts) blocks of BLOCK; transform_weights: any
//
// Of a slice of DEPTH channels, one half of a block transforms patches on their way to shared memory, the other half moves weights. Then
// 16 threads compute each product, 8 maps of 8 tiles each, and the sums of one tile come together in one thread through the same memory.

#include "convolution.cuh"
#include "product.cuh"

constexpr int MAPS = 32, TILES = 32, DEPTH = 4, PLACES = 16, BLOCK = 256, MINE = 8;

static_assert(MAPS == TILES && BLOCK == 2 * DEPTH * TILES && BLOCK * MINE * MINE == PLACES * MAPS * TILES, "every thread has its share");

union Shared {
    struct {
        alignas(VECTOR_BYTES) float weights[DEPTH][PLACES][MAPS], patches[DEPTH][PLACES][TILES];
    } slice[2];
    float sums[MAPS / 2][PLACES][TILES];
};

// Bᵀ d along one axis.
__device__ inline void transform_patch(float& a, float& b, float& c, float& d) {
    const float first = a - c, second = b + c, third = c - b, fourth = b - d;
    a = first, b = second, c = third, d = fourth;
}

// A tile of the output: its image, first row and first column.
struct Place {
    int image, row, column;

    __device__ Place(const Convolution& p, unsigned number) {
        const unsigned across = (p.axis[2].out_size + 1) / 2, face = (p.axis[1].out_size + 1) / 2 * across, rest = number % face;
        image = number / face, row = rest / across * 2, column = rest % across * 2;
    }
    // First element of the tile's patch, of channel 0.
    __device__ const float* patch(const Convolution& p, const float* x) const {
        const int top = row - p.axis[1].begin, left = column - p.axis[2].begin;
        return x + static_cast<long long>(image) * p.channels * p.input_size() + (top * p.axis[2].size + left);
    }
    // A bit for each element of the patch outside of the input.
    __device__ unsigned outside(const Convolution& p) const {
        unsigned bits = 0;
#pragma unroll
        for (int n = 0; n < PLACES; ++n) {
            const bool is_inside =
                is_within(row - p.axis[1].begin + n / 4, p.axis[1].size) && is_within(column - p.axis[2].begin + n % 4, p.axis[2].size);
            bits |= is_inside ? 0 : 1u << n;
        }
        return bits;
    }
};

__device__ inline void read_mine(const float (&line)[TILES], int thread, float (&values)[MINE]) {
#pragma unroll
    for (int n = 0; n < MINE; n += 4) {
        const Vector<float> read = load_vector(&line[place_of<float, MINE, TILES>(thread, n)]);
#pragma unroll
        for (int k = 0; k < 4; ++k) values[n + k] = read.element[k];
    }
}

__global__ void __launch_bounds__(BLOCK, 2) winograd(
    const float* __restrict__ x, const float* __restrict__ u, float* __restrict__ y, float* __restrict__ partial, Convolution p,
    Ending<float> ending, int span, bool is_paired
) {
    __shared__ Shared shared;
    constexpr int OF_CHANNEL = PLACES * MAPS, APART = BLOCK / 2 * 4;  // weights of a channel; from one vector of a thread to its next
    const int map_blocks = (p.maps + MAPS - 1) / MAPS, map_block = blockIdx.x % map_blocks;
    const int tiles = p.batch * ((p.axis[1].out_size + 1) / 2) * ((p.axis[2].out_size + 1) / 2);
    const int lane = threadIdx.x % TILES, line = threadIdx.x / TILES, tile = blockIdx.x / map_blocks * TILES + lane;
    const bool moves_patches = line < DEPTH;
    const int mine = (line - DEPTH) * (TILES * 4) + lane * 4;  // the first vector of weights
    const int product = threadIdx.x / 16, down = threadIdx.x / 4 % 4, across = threadIdx.x % 4;
    const int begin = blockIdx.y * span, end = p.channels - begin < span ? p.channels : begin + span;
    const Place at(p, tile < tiles ? tile : 0);
    const unsigned outside = tile < tiles ? at.outside(p) : ~0u;
    const int of_channel = moves_patches ? p.input_size() : OF_CHANNEL, channels = (p.channels + DEPTH - 1) / DEPTH * DEPTH;
    const float* from = moves_patches ? at.patch(p, x) + line * of_channel : u + static_cast<long long>(map_block) * channels * OF_CHANNEL + mine;
    float held[PLACES], sum[MINE][MINE] = {};

    const auto load = [&](int first) {
        const float* here = from + first * of_channel;
        if (moves_patches) {
            const unsigned zeros = first + line < end ? outside : ~0u;
#pragma unroll
            for (int n = 0; n < PLACES; ++n) held[n] = zeros >> n & 1 ? 0.0f : __ldg(here + (n / 4 * p.axis[2].size + n % 4));
            return;
        }
#pragma unroll
        for (int n = 0; n < PLACES; n += 4) {
            const Vector<float> read = load_vector(here + n / 4 * APART);
#pragma unroll
            for (int k = 0; k < 4; ++k) held[n + k] = read.element[k];
        }
    };
    const auto store = [&](int to) {
        if (moves_patches) {
#pragma unroll
            for (int n = 0; n < 4; ++n) transform_patch(held[n], held[n + 4], held[n + 8], held[n + 12]);
#pragma unroll
            for (int n = 0; n < PLACES; n += 4) transform_patch(held[n], held[n + 1], held[n + 2], held[n + 3]);
#pragma unroll
            for (int n = 0; n < PLACES; ++n) shared.slice[to].patches[line][n][lane] = held[n];
            return;
        }
        float* target = &shared.slice[to].weights[0][0][0] + mine;
#pragma unroll
        for (int n = 0; n < PLACES; n += 4)
            store_vector(target + n / 4 * APART, Vector<float>{{held[n], held[n + 1], held[n + 2], held[n + 3]}});
    };

    load(begin);
    store(0);
    __syncthreads();
    for (int first = begin, current = 0; first < end; first += DEPTH, current = 1 - current) {
        const bool is_last = first + DEPTH >= end;
        if (!is_last) load(first + DEPTH);
#pragma unroll 2
        for (int k = 0; k < DEPTH; ++k) {
            float of_maps[MINE], of_tiles[MINE];
            read_mine(shared.slice[current].weights[k][product], down, of_maps);
            read_mine(shared.slice[current].patches[k][product], across, of_tiles);
#pragma unroll
            for (int i = 0; i < MINE; ++i)
#pragma unroll
                for (int j = 0; j < MINE; ++j) sum[i][j] += of_maps[i] * of_tiles[j];
        }
        if (!is_last) store(1 - current);
        __syncthreads();
    }

    const int output_size = p.output_size(), width = p.axis[2].out_size;
    const bool is_row[2] = {true, at.row + 1 < p.axis[1].out_size}, is_column[2] = {true, at.column + 1 < width};
    const long long results = static_cast<long long>(p.batch) * p.maps * output_size;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        if (half) __syncthreads();
#pragma unroll
        for (int i = 0; i < MINE / 2; ++i)
#pragma unroll
            for (int j = 0; j < MINE; j += 4) {
                const float(&of_map)[MINE] = sum[half * (MINE / 2) + i];
                float* to = &shared.sums[down * (MINE / 2) + i][product][place_of<float, MINE, TILES>(across, j)];
                store_vector(to, Vector<float>{{of_map[j], of_map[j + 1], of_map[j + 2], of_map[j + 3]}});
            }
        __syncthreads();
#pragma unroll 1
        for (int row = line; row < MAPS / 2; row += BLOCK / TILES) {
            const int map = map_block * MAPS + half * (MAPS / 2) + row;
            if (map >= p.maps || tile >= tiles) continue;
            float half_way[2][4], result[2][2];  // Aᵀ along each axis
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                const float a = shared.sums[row][n][lane], b = shared.sums[row][4 + n][lane], c = shared.sums[row][8 + n][lane];
                half_way[0][n] = a + b + c, half_way[1][n] = b - c - shared.sums[row][12 + n][lane];
            }
            const int to = ((at.image * p.maps + map) * p.axis[1].out_size + at.row) * width + at.column;
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                result[n][0] = half_way[n][0] + half_way[n][1] + half_way[n][2];
                result[n][1] = half_way[n][1] - half_way[n][2] - half_way[n][3];
            }
            if (!partial) {
                const float bias = ending.bias_of(map);
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    result[n / 2][n % 2] += bias;
                    if (ending.residual && is_row[n / 2] && is_column[n % 2]) result[n / 2][n % 2] += ending.residual[to + n / 2 * width + n % 2];
                }
                ending.activation(result);
            }
            float* target = (partial ? partial + blockIdx.y * results : y) + to;
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                if (!is_row[n]) continue;
                if (is_paired) {
                    *reinterpret_cast<Pack<float, 2>*>(target + n * width) = {{result[n][0], result[n][1]}};
                    continue;
                }
                target[n * width] = result[n][0];
                if (is_column[1]) target[n * width + 1] = result[n][1];
            }
        }
    }
}

// G g along one axis.
__device__ inline void transform_kernel(float a, float b, float c, float (&to)[4]) {
    to[0] = a, to[1] = 0.5f * (a + b + c), to[2] = 0.5f * (a - b + c), to[3] = c;
}

// `count` pairs of a channel and a map, those beyond the weights included.
__global__ void __launch_bounds__(256) transform_weights(const float* __restrict__ w, float* __restrict__ u, int channels, int maps, long long count) {
    const int channels_there = (channels + DEPTH - 1) / DEPTH * DEPTH;
    for_each_index(count, [=](long long i) {
        const int line = static_cast<int>(quotient(i, MAPS)), channel = line % channels_there;
        const int lane = static_cast<int>(i % MAPS), map = line / channels_there * MAPS + lane;
        float g[9] = {}, half_way[3][4], done[4];
        if (map < maps && channel < channels) {
#pragma unroll
            for (int n = 0; n < 9; ++n) g[n] = w[(map * channels + channel) * 9 + n];
        }
#pragma unroll
        for (int n = 0; n < 3; ++n) transform_kernel(g[3 * n], g[3 * n + 1], g[3 * n + 2], half_way[n]);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            transform_kernel(half_way[0][n], half_way[1][n], half_way[2][n], done);
#pragma unroll
            for (int k = 0; k < 4; ++k) u[(static_cast<long long>(line) * PLACES + 4 * k + n) * MAPS + lane] = done[k];
        }
    });
}
