// The first elements of rows in order, with their indices; equal elements keep the order of their indices.
//
//   x         [outer, count, inner], count < 2^32 - 1; a row is the `count` elements with one outer and one inner index
//   y         [outer, kept, inner], the elements; null if none are wanted
//   indices   [outer, kept, inner], where they are in their rows
//   items     runs in order: [outer · inner, runs, length] of keys with indices
//   launch    sort_tiles: a block for `group` tiles of `width` elements, a power of two; shared memory for group · width items
//             merge_runs, store_items: any launch
//
// A row is cut into tiles, which bitonic networks sort in shared memory; then neighbouring runs are merged, two to one, until one is
// left. Each element finds its place in a merged run alone, by a binary search of the other run. Of each run only the first `kept` items
// go on. Where these are few, the runs are made by top_items.cu instead.

#include "items.cuh"
#include "vector.cuh"

struct RowsOf {
    long long count, inner;

    __device__ long long begin(long long row) const { return row / inner * inner * count + row % inner; }
};

template <typename T>
__device__ inline void store_item(
    const Item<order_key_t<T>>& item, const T* x, T* y, long long* indices, long long row, long long place, long long count, long long kept,
    long long inner
) {
    const long long target = RowsOf{kept, inner}.begin(row) + place * inner;
    if (y) y[target] = x[RowsOf{count, inner}.begin(row) + item.index * inner];
    indices[target] = item.index;
}

template <typename T>
__global__ void __launch_bounds__(512) sort_tiles(
    const T* __restrict__ x, void* __restrict__ runs, T* __restrict__ y, long long* __restrict__ indices, long long rows, long long count,
    long long inner, long long tiles, long long kept, int width, int group, int length, bool is_descending
) {
    using K = order_key_t<T>;
    extern __shared__ double memory[];
    Item<K>* items = reinterpret_cast<Item<K>*>(memory);
    const int size = group * width;
    const long long first = static_cast<long long>(blockIdx.x) * group;
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
        const long long tile = first + i / width, row = tile / tiles, index = tile % tiles * width + i % width;
        Item<K> item = Item<K>::last();
        if (row < rows && index < count) {
            item = item_of(x[RowsOf{count, inner}.begin(row) + index * inner], static_cast<unsigned>(index), is_descending);
        }
        items[i] = item;
    }
    __syncthreads();
    for (int ordered = 2; ordered <= width; ordered *= 2) {
        for (int distance = ordered / 2; distance > 0; distance /= 2) {
            for (int pair = threadIdx.x; pair < size / 2; pair += blockDim.x) {
                const int i = 2 * pair - (pair & (distance - 1)), j = i + distance;
                const bool is_upwards = !(i % width & ordered);
                const Item<K> a = items[i], b = items[j];
                if (b.is_before(a) == is_upwards) {
                    items[i] = b;
                    items[j] = a;
                }
            }
            __syncthreads();
        }
    }
    for (int i = threadIdx.x; i < group * length; i += blockDim.x) {
        const long long tile = first + i / length, row = tile / tiles;
        const int place = i % length;
        if (row >= rows) continue;
        const Item<K> item = items[i / length * width + place];
        if (runs) static_cast<Item<K>*>(runs)[tile * length + place] = item;
        else store_item(item, x, y, indices, row, place, count, kept, inner);
    }
}

template <typename K>
__global__ void __launch_bounds__(256) merge_runs(
    const void* __restrict__ from, void* __restrict__ to, long long rows, long long runs, long long length, long long longer
) {
    const auto source = static_cast<const Item<K>*>(from);
    const auto target = static_cast<Item<K>*>(to);
    const long long merged = (runs + 1) / 2;
    for_each_index(rows * runs * length, [=](long long i) {
        const long long row = i / (runs * length), run = i / length % runs, place = i % length;
        const bool is_second = run & 1;
        Item<K>* result = target + (row * merged + run / 2) * longer;
        const Item<K> item = source[i];
        if (!is_second && run + 1 == runs) {  // there is no other run
            result[place] = item;
            if (place + length < longer) result[place + length] = Item<K>::last();
            return;
        }
        const Item<K>* other = source + (row * runs + (run ^ 1)) * length;
        long long low = 0, high = length;
        while (low < high) {
            const long long middle = (low + high) / 2;
            const bool is_other_first = is_second ? !item.is_before(other[middle]) : other[middle].is_before(item);
            if (is_other_first) low = middle + 1;
            else high = middle;
        }
        if (place + low < longer) result[place + low] = item;
    });
}

template <typename T>
__global__ void __launch_bounds__(256) store_items(
    const void* __restrict__ runs, const T* __restrict__ x, T* __restrict__ y, long long* __restrict__ indices, long long rows,
    long long count, long long kept, long long inner
) {
    for_each_index(rows * kept, [=](long long i) {
        store_item(static_cast<const Item<order_key_t<T>>*>(runs)[i], x, y, indices, i / kept, i % kept, count, kept, inner);
    });
}
