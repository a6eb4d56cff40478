// Elements and slices named by indices.
//
//   gather_slices      x [outer, indexed axes…, inner], y [outer, slices, inner]; a slice is named by one index for each indexed axis,
//                      the same for all outer (index_step 0) or others for each (index_step = slices)
//   gather_elements    y [axes], x indexed along one axis by an element of `indices`, along the others by y's own place
//   reverse_sequences  x and y [first, second, inner], of which one is time and one batch
//   launch             any number of blocks and threads
//
// Sizes and strides are in units; an index out of range gives 0.

#include "axes.cuh"
#include "indices.cuh"
#include "unit.cuh"

template <int bytes>
__global__ void __launch_bounds__(256) gather_slices(
    const void* x, const void* indices, void* y, Axes indexed, bool is_wide, long long slices, long long index_step, long long inner,
    long long outer_step, long long count
) {
    using U = unit_t<bytes>;
    for_each_unit(count, [&](auto i) {
        using Index = decltype(i);
        const Index place = i % static_cast<Index>(inner), slice = i / static_cast<Index>(inner);
        const Index row = slice % static_cast<Index>(slices), outer = slice / static_cast<Index>(slices);
        const long long first = (outer * index_step + row) * indexed.rank;
        long long from = outer * outer_step + place;
        bool is_inside = true;
        for (int axis = 0; axis < indexed.rank; ++axis) {
            const long long at = position(load_index(indices, is_wide, first + axis), indexed.sizes[axis]);
            is_inside = is_inside && at >= 0;
            from += at * indexed.from[axis];
        }
        store_unit(static_cast<U*>(y) + i, is_inside ? load_unit(static_cast<const U*>(x) + from) : U{});
    });
}

template <int bytes>
__global__ void __launch_bounds__(256) gather_elements(
    const void* x, const void* indices, void* y, Axes axes, bool is_wide, long long size, long long step, long long count
) {
    using U = unit_t<bytes>;
    for_each_unit(count, [&](auto i) {
        long long from = 0, to = 0;
        locate(axes, i, from, to);
        const long long at = position(load_index(indices, is_wide, i), size);
        store_unit(static_cast<U*>(y) + i, at >= 0 ? load_unit(static_cast<const U*>(x) + from + at * step) : U{});
    });
}

template <int bytes>
__global__ void __launch_bounds__(256) reverse_sequences(
    const void* x, const long long* lengths, void* y, bool is_time_first, long long second, long long inner, long long time, long long count
) {
    using U = unit_t<bytes>;
    const long long step = is_time_first ? second * inner : inner;
    for_each_unit(count, [&](auto i) {
        using Index = decltype(i);
        const Index row = i / static_cast<Index>(inner);
        const long long major = row / static_cast<Index>(second), minor = row % static_cast<Index>(second);
        const long long at = is_time_first ? major : minor, length = lengths[is_time_first ? minor : major];
        const long long moved = at < length && length <= time ? length - 1 - 2 * at : 0;
        store_unit(static_cast<U*>(y) + i, load_unit(static_cast<const U*>(x) + i + moved * step));
    });
}
