// Windows over 1 to 3 spatial axes; fewer than 3 axes have ones in front.

#pragma once

// `Index` is int where numbers of elements fit: dividing 64 bits is slow.
template <typename Index> struct Window {
    Index size, kernel, stride, dilation, begin, end, windows;  // of the input, in elements; `begin` and `end` are padding

    // Where in the input an element of a window is; outside of it is padding.
    __device__ Index place(Index number, Index element) const { return number * stride - begin + element * dilation; }
    __device__ bool has(Index place) const { return place >= 0 && place < size; }
};

template <typename Index> struct Windows {
    Window<Index> axis[3];

    __device__ Index input_size() const { return axis[0].size * axis[1].size * axis[2].size; }
    __device__ Index kernel_size() const { return axis[0].kernel * axis[1].kernel * axis[2].kernel; }
    __device__ Index count() const { return axis[0].windows * axis[1].windows * axis[2].windows; }
};

// A window of an image by its index among all images' windows.
template <typename Index> struct Place {
    Index image, number[3];

    __device__ Place(const Windows<Index>& windows, long long index) : image(static_cast<Index>(index)) {
#pragma unroll
        for (int axis = 2; axis >= 0; --axis) {
            const Index size = windows.axis[axis].windows, rest = size == 1 ? image : image / size;
            number[axis] = image - rest * size;
            image = rest;
        }
    }
};
