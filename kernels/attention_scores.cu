// What stands between and around the products of attention where a library computes them.
//
//   scores    [batches, heads, queries, pitch], of which `keys` of a row are there; pitch is a multiple of a 16-byte load
//   weights   the same of T: softmax(cap(scores) + mask) over the keys, 0 for keys that are not seen, zeros alone where none is
//             seen. It may be the memory of the scores where the types are the same
//   bias      [batches, heads, queries, pitch]: what the mask, the positions and the lengths add to a score, at least least()
//   is_seen   [batches, heads, queries]: false where a query sees no key
//   y         [batches, heads, queries, value_size] of any strides but the last, which is 1
//   keys      fewer than 2^31
//   launch    weigh_keys: any number of blocks of 128 threads, a row a GROUP of threads; the others: any number of blocks of 128
//             threads, a row a warp
//
// A row of weigh_keys stays in registers where GROUP threads have room for it, and is read three times elsewhere.

#include "attention.cuh"
#include "reduce.cuh"
#include "vector.cuh"

constexpr int THREADS = 128, VECTORS = 8;

template <typename T, int COUNT> struct alignas(sizeof(T) * COUNT) Neighbours {
    T element[COUNT];
};

template <int GROUP, typename A, typename Combine> __device__ inline A reduce_group(A value, A neutral, A* scratch, Combine combine) {
    if constexpr (GROUP == WARP) return reduce_warp(value, combine);
    else return reduce_block(value, neutral, scratch, combine);
}

template <typename T, int GROUP> struct KeysOfThread {
    using A = accumulator_t<T>;
    static constexpr int width = Vector<A>::count, slice = GROUP * width * VECTORS;
    A element[VECTORS][width];

    __device__ static int key_of(int begin, int vector) { return begin + (vector * GROUP + static_cast<int>(threadIdx.x) % GROUP) * width; }

    // Scores as the mask and the cap have them; -infinity from `end` on, the first key that is out of reach.
    __device__ void load(const A* scores, int begin, int end, const Attention& p, long long batch, const Row& row, long long position) {
#pragma unroll
        for (int v = 0; v < VECTORS; ++v) {
            const int key = key_of(begin, v);
            if (key + width <= end) {
                const Vector<A> loaded = load_vector(scores + key);
#pragma unroll
                for (int i = 0; i < width; ++i) element[v][i] = loaded.element[i];
            } else {
#pragma unroll
                for (int i = 0; i < width; ++i) element[v][i] = key + i < end ? scores[key + i] : -infinity<A>();
            }
        }
        if (p.mask_kind == none && p.cap == 0 && p.left < 0) return;
#pragma unroll
        for (int v = 0; v < VECTORS; ++v)
#pragma unroll
            for (int i = 0; i < width; ++i) {
                const int key = key_of(begin, v) + i;
                if (key < end) element[v][i] = masked<T>(p, capped(p, element[v][i]), batch, row, key, position);
            }
    }
    __device__ A greatest() const {
        A result = -infinity<A>();
#pragma unroll
        for (int v = 0; v < VECTORS; ++v)
#pragma unroll
            for (int i = 0; i < width; ++i) result = Maximum()(result, element[v][i]);
        return result;
    }
    // Gives the sum.
    __device__ A exponentiate(A maximum) {
        A sum = 0;
#pragma unroll
        for (int v = 0; v < VECTORS; ++v)
#pragma unroll
            for (int i = 0; i < width; ++i) {
                element[v][i] = element[v][i] == -infinity<A>() ? A(0) : exponential(element[v][i] - maximum);
                sum += element[v][i];
            }
        return sum;
    }
    __device__ void store(T* weights, int begin, int pitch, A factor) const {
#pragma unroll
        for (int v = 0; v < VECTORS; ++v) {
            const int key = key_of(begin, v);
            if (key >= pitch) continue;
            Neighbours<T, width> stored;
#pragma unroll
            for (int i = 0; i < width; ++i) stored.element[i] = narrow<T>(element[v][i] * factor);
            *reinterpret_cast<Neighbours<T, width>*>(weights + key) = stored;
        }
    }
};

template <typename T, int GROUP>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 8 ? 3 : 4) weigh_keys(const accumulator_t<T>* scores, T* weights, int pitch, Attention p) {
    using A = accumulator_t<T>;
    __shared__ A scratch[WARP];
    constexpr int rows_of_block = THREADS / GROUP, slice = KeysOfThread<T, GROUP>::slice;
    const bool is_whole = p.keys <= slice;
    for (long long number = blockIdx.x * static_cast<long long>(rows_of_block) + threadIdx.x / GROUP; number < p.batches * p.heads * p.queries;
         number += static_cast<long long>(gridDim.x) * rows_of_block) {
        const long long batch = number / p.queries / p.heads;
        const Row row = {number / p.queries % p.heads, number % p.queries};
        const long long length = length_of(p, batch), position = start_of(p, batch) + row.query, reach = position + p.right + 1;
        const int end = p.right >= 0 && reach < length ? reach : length, keys = p.keys;
        const A* source = scores + number * pitch;
        KeysOfThread<T, GROUP> own;

        A maximum = sink_of<T>(p, row.head);
        const A sink = maximum;
        for (int begin = 0; begin < keys; begin += slice) {
            own.load(source, begin, end, p, batch, row, position);
            maximum = Maximum()(maximum, own.greatest());
        }
        maximum = reduce_group<GROUP>(maximum, -infinity<A>(), scratch, Maximum());
        A sum = 0;
        for (int begin = 0; begin < keys; begin += slice) {
            if (!is_whole) own.load(source, begin, end, p, batch, row, position);
            sum += own.exponentiate(maximum);
        }
        sum = reduce_group<GROUP>(sum, A(0), scratch, Sum());
        if (p.has_sink) sum += exponential(sink - maximum);
        const A factor = sum == A(0) ? A(0) : A(1) / sum;
        for (int begin = 0; begin < keys; begin += slice) {
            if (!is_whole) {
                own.load(source, begin, end, p, batch, row, position);
                own.exponentiate(maximum);
            }
            own.store(weights + number * pitch, begin, pitch, factor);
        }
    }
}

// Where no key of a row is seen, the library that adds least() to all of them would weigh them alike, and -infinity would give it NaN.
template <typename B> __device__ inline float least() { return -1e30f; }
template <> __device__ inline float least<__half>() { return -65504.f; }

template <typename T, typename B>
__global__ void __launch_bounds__(THREADS) write_bias(B* __restrict__ bias, bool* __restrict__ is_seen, long long pitch, Attention p) {
    const int lane = threadIdx.x % WARP;
    for (long long number = thread_index() / WARP; number < p.batches * p.heads * p.queries; number += thread_count() / WARP) {
        const long long batch = number / p.queries / p.heads;
        const Row row = {number / p.queries % p.heads, number % p.queries};
        const long long length = length_of(p, batch), position = start_of(p, batch) + row.query;
        int sees_any = 0;
        for (long long key = lane; key < p.keys; key += WARP) {
            const float value = key < length ? masked<T>(p, 0.f, batch, row, key, position) : -infinity<float>();
            sees_any |= value != -infinity<float>();
            bias[number * pitch + key] = narrow<B>(value < least<B>() ? least<B>() : value);
        }
        sees_any = __any_sync(ALL_LANES, sees_any);
        if (lane == 0) is_seen[number] = sees_any;
    }
}

// The mask of the problem is `is_seen`, with a key for each row.
template <typename T> __global__ void __launch_bounds__(THREADS) clear_unseen(T* __restrict__ y, Attention p) {
    const int lane = threadIdx.x % WARP;
    for (long long number = thread_index() / WARP; number < p.batches * p.heads * p.queries; number += thread_count() / WARP) {
        const long long batch = number / p.queries / p.heads, head = number / p.queries % p.heads, query = number % p.queries;
        if (static_cast<const bool*>(p.mask)[batch * p.mask_batch + head * p.mask_head + query * p.mask_row]) continue;
        T* target = y + batch * p.y_batch + head * p.y_head + query * p.y_row;
        for (long long i = lane; i < p.value_size; i += WARP) target[i] = narrow<T>(0.f);
    }
}
