// Pad: x in a frame, which holds one value or repeats x.
//
//   x         of any strides, without what is cut away
//   y         dense
//   frame     sizes of y, sizes of x and places of x in y along each axis, in units, the innermost axis last
//   launch    any number of blocks and threads

#include "axes.cuh"
#include "unit.cuh"

enum Mode { CONSTANT = 0, REFLECT = 1, EDGE = 2, WRAP = 3 };

struct Frame {
    long long rank;
    long long sizes[MOST_AXES];
    long long kept[MOST_AXES];
    long long before[MOST_AXES];
    long long from[MOST_AXES];
};

// The place in x of a place that lies before or behind it.
__device__ inline long long mirrored(long long place, long long kept, int mode) {
    if (mode == EDGE) return place < 0 ? 0 : kept - 1;
    if (mode == WRAP) return (place % kept + kept) % kept;
    return place < 0 ? -place : 2 * (kept - 1) - place;
}

template <int bytes>
__global__ void __launch_bounds__(256) pad(const void* x, void* y, Frame frame, int mode, SixteenBytes fill, long long count) {
    using U = unit_t<bytes>;
    U value;
    memcpy(&value, &fill, sizeof value);
    for_each_unit(count, [&](auto i) {
        using Index = decltype(i);
        long long from = 0;
        bool is_inside = true;
        Index rest = i;
        for (int axis = static_cast<int>(frame.rank) - 1; axis >= 0; --axis) {
            const Index size = static_cast<Index>(frame.sizes[axis]);
            long long place = static_cast<long long>(rest % size) - frame.before[axis];
            rest /= size;
            if (place < 0 || place >= frame.kept[axis]) {
                if (mode == CONSTANT) is_inside = false;
                else place = mirrored(place, frame.kept[axis], mode);
            }
            from += place * frame.from[axis];
        }
        store_unit(static_cast<U*>(y) + i, is_inside ? load_unit(static_cast<const U*>(x) + from) : value);
    });
}
