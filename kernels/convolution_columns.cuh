// Columns of a convolution's product: a window of the input each, one element of it a depth. They are read where they lie.
//
// A transposed convolution is several convolutions with stride 1, a phase each: output positions that leave the same rest when
// divided by the strides have the same taps. Where an element of the depth lies, from the first element of a window on, stands in a
// table in shared memory, which is written one slice ahead.

#pragma once

#include "convolution.cuh"
#include "vector.cuh"

// One axis in one phase: `count` windows, each `step` after the one before, of `taps` elements, each `apart` from the one before.
struct Walk {
    int count, first, step, taps, apart;            // in elements of the input
    int out_first, out_step, tap_first, tap_step;  // of the output, and of the kernel

    __device__ Walk(const Axis& axis, bool is_transposed, int phase) {
        if (!is_transposed) {
            count = axis.out_size, first = -axis.begin, step = axis.stride, taps = axis.kernel, apart = axis.dilation;
            out_first = 0, out_step = 1, tap_first = 0, tap_step = 1;
            return;
        }
        out_first = phase, out_step = axis.stride, step = 1;
        count = (axis.out_size - phase + axis.stride - 1) / axis.stride;
        tap_step = 1;
        while (tap_step * axis.dilation % axis.stride != 0) ++tap_step;
        tap_first = 0;
        while (tap_first < tap_step && (phase + axis.begin - tap_first * axis.dilation) % axis.stride != 0) ++tap_first;
        taps = tap_first < tap_step && tap_first < axis.kernel ? (axis.kernel - tap_first + tap_step - 1) / tap_step : 0;
        first = (phase + axis.begin - tap_first * axis.dilation) / axis.stride;
        apart = -(tap_step * axis.dilation / axis.stride);
    }
};

struct Walks {
    Walk axis[3];

    __device__ Walks(const Convolution& p, bool is_transposed, int phase)
        : axis{
              {p.axis[0], is_transposed, phase / (p.axis[1].stride * p.axis[2].stride)},
              {p.axis[1], is_transposed, phase / p.axis[2].stride % p.axis[1].stride},
              {p.axis[2], is_transposed, phase % p.axis[2].stride}} {}
    __device__ int count() const { return axis[0].count * axis[1].count * axis[2].count; }
    __device__ int taps() const { return axis[0].taps * axis[1].taps * axis[2].taps; }
};

// An element of the depth, seen from the first element of a window: how far away it lies in memory, and along each axis.
struct alignas(16) Tap {
    int input, place[3];

    // Of `channel`, number[n] taps along axis n; `outside` of every input.
    static __device__ Tap at(const Convolution& p, const Walks& walks, int channel, const int (&number)[3]) {
        Tap tap;
#pragma unroll
        for (int n = 0; n < 3; ++n) tap.place[n] = number[n] * walks.axis[n].apart;
        tap.input = ((channel * p.axis[0].size + tap.place[0]) * p.axis[1].size + tap.place[1]) * p.axis[2].size + tap.place[2];
        return tap;
    }
    static __device__ Tap outside() { return {0, {-(1 << 30), 0, 0}}; }
};

// The same where all axes together have at most MOST_MASKED taps: a bit for the tap of each axis, so that one operation tells whether the
// element lies in the input.
constexpr int MOST_MASKED = 31;

struct alignas(8) MaskedTap {
    int input;
    unsigned bits;

    static __device__ MaskedTap at(const Convolution& p, const Walks& walks, int channel, const int (&number)[3]) {
        const int inner = walks.axis[2].taps, middle = walks.axis[1].taps;
        return {Tap::at(p, walks, channel, number).input, 1u << number[2] | 1u << (inner + number[1]) | 1u << (inner + middle + number[0])};
    }
    static __device__ MaskedTap outside() { return {0, 1u << MOST_MASKED}; }
};

// The slice of the depth that is read next, and where its weights lie, seen from the first one of a map.
template <typename Tap, int depth> struct Taps {
    alignas(16) Tap tap[depth];
    int weight[depth];

    // Threads [0, depth) write an element each. The phases of a transposed convolution have taps of their own, by which is divided slowly.
    template <bool is_transposed> __device__ void write(const Convolution& p, const Walks& walks, int weights_of_channel, int first, int end) {
        const int k = first + static_cast<int>(threadIdx.x);
        if (threadIdx.x >= depth) return;
        if (k >= end) {
            tap[threadIdx.x] = Tap::outside();
            weight[threadIdx.x] = 0;
            return;
        }
        const unsigned line = walks.axis[2].taps, face = line * walks.axis[1].taps, whole = face * walks.axis[0].taps;
        const auto quotient = [](unsigned n, unsigned divisor, const Division& division) { return is_transposed ? n / divisor : division(n); };
        const unsigned channel = quotient(k, whole, p.kernel), rest = k - channel * whole;
        const unsigned outer = quotient(rest, face, p.face), of_face = rest - outer * face, middle = quotient(of_face, line, p.line);
        const int number[3] = {static_cast<int>(outer), static_cast<int>(middle), static_cast<int>(of_face - middle * line)};
        int of_kernel[3];
#pragma unroll
        for (int n = 0; n < 3; ++n) of_kernel[n] = walks.axis[n].tap_first + number[n] * walks.axis[n].tap_step;
        tap[threadIdx.x] = Tap::at(p, walks, channel, number);
        weight[threadIdx.x] =
            channel * weights_of_channel + (of_kernel[0] * p.axis[1].kernel + of_kernel[1]) * p.axis[2].kernel + of_kernel[2];
    }
};

// The window of one column.
template <typename T> struct Column {
    const T* from;
    int place[3];

    __device__ Column(const T* x, const Convolution& p, const Walks& walks, int group, int column, int columns) {
        const unsigned line = walks.axis[2].count, face = line * walks.axis[1].count, whole = face * walks.axis[0].count;
        const unsigned image = column / whole, rest = column % whole;
        const int number[3] = {static_cast<int>(rest / face), static_cast<int>(rest % face / line), static_cast<int>(rest % line)};
#pragma unroll
        for (int n = 0; n < 3; ++n) place[n] = walks.axis[n].first + number[n] * walks.axis[n].step;
        from = x + (static_cast<long long>(image) * p.groups + group) * p.channels * p.input_size();
        from += (place[0] * p.axis[1].size + place[1]) * p.axis[2].size + place[2];
        if (column >= columns) place[0] = -(1 << 30);
    }
    // What lies outside of the input is 0.
    __device__ T element(const Convolution& p, const Tap& tap) const {
        const bool is_inside = is_within(place[0] + tap.place[0], p.axis[0].size) && is_within(place[1] + tap.place[1], p.axis[1].size) &&
                               is_within(place[2] + tap.place[2], p.axis[2].size);
        return is_inside ? from[tap.input] : narrow<T>(accumulator_t<T>(0));
    }
};

template <typename T> struct MaskedColumn {
    Address from;      // as a number, so that one multiplication gives the address of an element
    unsigned outside;  // the bits of taps that lie outside of the input

    __device__ MaskedColumn(const T* x, const Convolution& p, const Walks& walks, int group, int number, int columns) {
        const Column<T> column(x, p, walks, group, number, columns);
        from = reinterpret_cast<Address>(column.from);
        outside = 1u << MOST_MASKED;
        unsigned bit = 1;
#pragma unroll
        for (int n = 2; n >= 0; --n)
            for (int tap = 0; tap < walks.axis[n].taps; ++tap, bit <<= 1)
                if (!is_within(column.place[n] + tap * walks.axis[n].apart, p.axis[n].size)) outside |= bit;
    }
    __device__ T element(const MaskedTap& tap) const {
        const Address address = from + static_cast<long long>(tap.input) * static_cast<long long>(sizeof(T));
        return tap.bits & outside ? narrow<T>(accumulator_t<T>(0)) : __ldg(reinterpret_cast<const T*>(address));
    }
};

// Where the result of a column lies within y, for map 0.
__device__ inline long long target_of(const Convolution& p, const Walks& walks, int column) {
    const unsigned line = walks.axis[2].count, face = line * walks.axis[1].count, whole = face * walks.axis[0].count;
    const unsigned image = column / whole, rest = column % whole;
    const int number[3] = {static_cast<int>(rest / face), static_cast<int>(rest % face / line), static_cast<int>(rest % line)};
    int place[3];
#pragma unroll
    for (int n = 0; n < 3; ++n) place[n] = walks.axis[n].out_first + number[n] * walks.axis[n].out_step;
    const int within = (place[0] * p.axis[1].out_size + place[1]) * p.axis[2].out_size + place[2];
    return static_cast<long long>(image) * p.groups * p.maps * p.output_size() + within;
}
