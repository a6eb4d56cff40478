// The first elements of rows in order, where few are wanted: the other elements are read, and not sorted.
//
//   x, y, indices, runs   as in sorting.cu, of which merge_runs and store_items go on with the runs; `runs` is null if there is one tile a row
//   launch                select_items: blocks of WARPS warps, block (·, t) for tile t, of `span` elements below 2^30, of WARPS / team rows;
//                         `team` warps, a power of two, share a tile. At most slots · 32 elements are wanted
//
// A warp keeps in order the best slots · 32 items that it has seen: item number slot · 32 + lane is in that slot of that lane. Elements
// that come before the last item wanted are put into shared memory until there are slots · 32 of them, which are then sorted by a bitonic
// network and merged with the best. Rows in random order have few of them, rows in the worst order are sorted in small pieces.

#include "items.cuh"
#include "reduce.cuh"
#include "vector.cuh"

constexpr int WARPS = 8;

template <typename T> constexpr int LOADS = sizeof(T) < 2 ? 8 : VECTOR_BYTES / sizeof(T);  // elements that a lane loads at once

// By members: what is chosen as a whole lies in memory, not in registers.
template <typename K> __device__ inline Item<K> either(bool is_first, const Item<K>& first, const Item<K>& second) {
    return {is_first ? first.key : second.key, is_first ? first.index : second.index};
}

// A step of a bitonic network: items with numbers `distance` apart get in order, or in reverse where `is_upwards` is false for their numbers.
template <typename K, int slots, typename Direction>
__device__ inline void exchange(Item<K> (&items)[slots], int distance, Direction is_upwards) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int slot = 0; slot < slots; ++slot) {
        const bool upwards = is_upwards(slot * WARP + lane);
        Item<K>& item = items[slot];
        if (distance < WARP) {
            const Item<K> other = {__shfl_xor_sync(ALL_LANES, item.key, distance), __shfl_xor_sync(ALL_LANES, item.index, distance)};
            const bool keeps_first = upwards != ((lane & distance) != 0);
            item = either(other.is_before(item) == keeps_first, other, item);
        } else if (!(slot & distance / WARP)) {
            Item<K>& other = items[slot | distance / WARP];
            const Item<K> first = item, second = other;
            const bool is_swapped = second.is_before(first) == upwards;
            item = either(is_swapped, second, first);
            other = either(is_swapped, first, second);
        }
    }
}

template <typename K, int slots> __device__ inline void sort_backwards(Item<K> (&items)[slots]) {
#pragma unroll
    for (int length = 2; length <= slots * WARP; length *= 2)
#pragma unroll
        for (int distance = length / 2; distance > 0; distance /= 2)
            exchange(items, distance, [=](int number) { return (number & length) != 0; });
}

// The first half of the items of two runs, of which the second is backwards.
template <typename K, int slots> __device__ inline void merge(Item<K> (&best)[slots], const Item<K> (&others)[slots]) {
#pragma unroll
    for (int slot = 0; slot < slots; ++slot)
        best[slot] = either(others[slot].is_before(best[slot]), others[slot], best[slot]);
#pragma unroll
    for (int distance = slots * WARP / 2; distance > 0; distance /= 2) exchange(best, distance, [](int) { return true; });
}

template <typename T, int slots>
__global__ void __launch_bounds__(WARPS * WARP, slots == 1 ? 3 : 2) select_items(
    const T* __restrict__ x, void* __restrict__ runs, T* __restrict__ y, long long* __restrict__ indices, long long rows, long long count,
    long long inner, int span, int kept, int team, bool is_descending
) {
    using K = order_key_t<T>;
    constexpr int loads = LOADS<T>, chunk = loads * WARP, most = slots * WARP;
    __shared__ Item<K> gathered[WARPS][most + chunk];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, member = warp % team;
    const long long row = static_cast<long long>(blockIdx.x) * (WARPS / team) + warp / team;
    const long long outer = inner == 1 ? row : row / inner, inside = row - outer * inner;
    const long long first = static_cast<long long>(blockIdx.y) * span, rest = row < rows ? count - first : 0;
    const int length = static_cast<int>(rest < span ? rest : span);
    const T* line = x + outer * count * inner + inside;
    const T* source = line + first * inner;
    const bool is_dense = loads == Vector<T>::count && inner == 1 && is_vector_aligned(source);
    const int step = is_dense ? 1 : WARP, start = is_dense ? lane * loads : lane;  // of the elements of a chunk that the lane has
    const auto load = [=](int begin, T(&elements)[loads]) {
        if constexpr (loads == Vector<T>::count) {
            if (is_dense && begin + start + loads <= length) {
                const Vector<T> vector = load_vector(source + begin + start);
#pragma unroll
                for (int e = 0; e < loads; ++e) elements[e] = vector.element[e];
                return;
            }
        }
#pragma unroll
        for (int e = 0; e < loads; ++e) {
            const int at = begin + start + e * step;
            if (at < length) elements[e] = source[at * inner];
        }
    };

    Item<K>* mine = gathered[warp];
    Item<K> best[slots], limit = Item<K>::last();  // limit: the last item wanted of those seen
#pragma unroll
    for (int slot = 0; slot < slots; ++slot) best[slot] = limit;
    int number = 0;  // of gathered items
    T elements[loads];
    load(member * chunk, elements);
    bool is_last = false;
    for (int begin = member * chunk; !is_last; begin += team * chunk) {
        Item<K> items[loads];
        unsigned wanted = 0;
#pragma unroll
        for (int e = 0; e < loads; ++e) {
            const int at = begin + start + e * step;
            if (at >= length) continue;
            items[e] = item_of(elements[e], static_cast<unsigned>(first + at), is_descending);
            if (items[e].is_before(limit)) wanted |= 1u << e;
        }
        is_last = begin + team * chunk >= length;
        if (!is_last) load(begin + team * chunk, elements);
        if (__any_sync(ALL_LANES, wanted)) {
#pragma unroll
            for (int e = 0; e < loads; ++e) {
                const bool is_wanted = wanted >> e & 1;
                const unsigned lanes = __ballot_sync(ALL_LANES, is_wanted);
                if (is_wanted) mine[number + __popc(lanes & ((1u << lane) - 1))] = items[e];
                number += __popc(lanes);
            }
        }
        while (number >= most || (is_last && number > 0)) {
            const int below = number > most ? number - most : 0;
            Item<K> added[slots];
            __syncwarp();
#pragma unroll
            for (int slot = 0; slot < slots; ++slot) {
                const int at = below + slot * WARP + lane;
                added[slot] = at < number ? mine[at] : Item<K>::last();
            }
            __syncwarp();
            number = below;
            sort_backwards(added);
            merge(best, added);
#pragma unroll
            for (int slot = 0; slot < slots; ++slot) {
                const Item<K> last = {__shfl_sync(ALL_LANES, best[slot].key, kept - 1), __shfl_sync(ALL_LANES, best[slot].index, kept - 1)};
                limit = either(slot == (kept - 1) / WARP, last, limit);
            }
        }
    }

    for (int distance = 1; distance < team; distance *= 2) {
        __syncthreads();
#pragma unroll
        for (int slot = 0; slot < slots; ++slot) mine[most - 1 - (slot * WARP + lane)] = best[slot];
        __syncthreads();
        if (member % (2 * distance) == 0) {
            Item<K> others[slots];
#pragma unroll
            for (int slot = 0; slot < slots; ++slot) others[slot] = gathered[warp + distance][slot * WARP + lane];
            merge(best, others);
        }
    }
    if (member > 0 || row >= rows) return;
#pragma unroll
    for (int slot = 0; slot < slots; ++slot) {
        const int place = slot * WARP + lane;
        if (place >= kept) continue;
        const Item<K> item = best[slot];
        if (runs) {
            static_cast<Item<K>*>(runs)[(row * gridDim.y + blockIdx.y) * kept + place] = item;
        } else {
            const long long target = (outer * kept + place) * inner + inside;
            if (y) y[target] = line[item.index * inner];
            indices[target] = item.index;
        }
    }
}
