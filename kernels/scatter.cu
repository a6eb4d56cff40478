// Elements and slices written where indices say, into an array that holds the other elements already.
//
//   scatter_slices     y [indexed axes…, inner], updates [slices, inner]; a slice is named by one index for each indexed axis
//   scatter_elements   y indexed along one axis by an element of `indices`, along the others by the update's own place
//   scatter_rows       y [batch, outer, size, inner], updates [batch, outer, length, inner], from position starts[batch] on
//   launch             any number of blocks and threads
//
// Writer is Assign<bytes>, which stores units, or Combine<T, operation>, which is atomic. Of several assignments to one place any may
// stay. An index out of range writes nothing.

#include "axes.cuh"
#include "combine.cuh"
#include "indices.cuh"

template <int bytes> struct Assign {
    using type = unit_t<bytes>;
    static __device__ void write(type* to, const type* from) { store_unit(to, load_unit(from)); }
};

template <typename T, typename Operation> struct Combine {
    using type = T;
    static __device__ void write(T* to, const T* from) { combine_at(to, *from, Operation()); }
};

template <typename Writer>
__global__ void __launch_bounds__(256) scatter_slices(
    const void* indices, const void* updates, void* y, Axes indexed, bool is_wide, long long inner, long long count
) {
    using U = typename Writer::type;
    for_each_unit(count, [&](auto i) {
        using Index = decltype(i);
        const long long first = i / static_cast<Index>(inner) * indexed.rank;
        long long to = i % static_cast<Index>(inner);
        bool is_inside = true;
        for (int axis = 0; axis < indexed.rank; ++axis) {
            const long long at = position(load_index(indices, is_wide, first + axis), indexed.sizes[axis]);
            is_inside = is_inside && at >= 0;
            to += at * indexed.to[axis];
        }
        if (is_inside) Writer::write(static_cast<U*>(y) + to, static_cast<const U*>(updates) + i);
    });
}

template <typename Writer>
__global__ void __launch_bounds__(256) scatter_elements(
    const void* indices, const void* updates, void* y, Axes axes, bool is_wide, long long size, long long step, long long count
) {
    using U = typename Writer::type;
    for_each_unit(count, [&](auto i) {
        long long from = 0, to = 0;
        locate(axes, i, from, to);
        const long long at = position(load_index(indices, is_wide, i), size);
        if (at >= 0) Writer::write(static_cast<U*>(y) + to + at * step, static_cast<const U*>(updates) + i);
    });
}

template <int bytes>
__global__ void __launch_bounds__(256) scatter_rows(
    const void* updates, const long long* starts, void* y, bool is_circular, long long outer, long long size, long long length,
    long long inner, long long count
) {
    using U = unit_t<bytes>;
    for_each_unit(count, [&](auto i) {
        using Index = decltype(i);
        const Index place = i % static_cast<Index>(inner), row = i / static_cast<Index>(inner);
        const Index at = row % static_cast<Index>(length), block = row / static_cast<Index>(length);
        const long long start = starts ? starts[block / static_cast<Index>(outer)] : 0;
        long long to = start + at;
        if (is_circular) to = (to % size + size) % size;
        if (to >= 0 && to < size) store_unit(static_cast<U*>(y) + (block * size + to) * inner + place, load_unit(static_cast<const U*>(updates) + i));
    });
}
