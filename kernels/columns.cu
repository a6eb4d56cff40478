// The windows of a convolution as the columns of matrices, so that the convolution is a product.
//
//   x         [images, spatial…], images = samples · channels, dense
//   columns   [images, elements of a window, windows], dense; 0 where a window lies outside of x
//   count     images · windows; it, and the elements of x and of columns that belong to an image, are less than 2^31
//   launch    any: a thread writes what one window has of one image; neighbouring threads have neighbouring windows
//
// `width` is the kernel's size along the last axis where that is known, else 0.

#include "vector.cuh"
#include "windows.cuh"

template <typename Unit, int width>
__global__ void __launch_bounds__(256) write_columns(const Unit* __restrict__ x, Unit* __restrict__ columns, Windows<int> windows, int count) {
    const Window<int>&outer = windows.axis[0], &middle = windows.axis[1], &inner = windows.axis[2];
    const int positions = windows.count();
    for_each_index(count, [=](long long index) {
        const Place<int> at(windows, index);
        const Unit* source = x + static_cast<long long>(at.image) * windows.input_size();
        Unit* target = columns + static_cast<long long>(at.image) * (windows.kernel_size() - 1) * positions + index;
        for (int i = 0; i < outer.kernel; ++i) {
            const int far = outer.place(at.number[0], i);
            for (int j = 0; j < middle.kernel; ++j) {
                const int near = middle.place(at.number[1], j);
                const bool is_inside = outer.has(far) && middle.has(near);
                const Unit* start = source + (far * middle.size + near) * inner.size;
                const int elements = width ? width : inner.kernel;
#pragma unroll
                for (int k = 0; k < elements; ++k) {
                    const int place = inner.place(at.number[2], k);
                    *target = is_inside && inner.has(place) ? start[place] : Unit(0);
                    target += positions;
                }
            }
        }
    });
}
