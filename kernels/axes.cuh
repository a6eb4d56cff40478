// Where elements of strided arrays lie: up to MOST_AXES axes with two strides each, `from` where is read and `to` where is written.

#pragma once

#include "division.cuh"

constexpr int MOST_AXES = 16;

struct Axes {
    long long rank;
    long long sizes[MOST_AXES];  // innermost last
    long long from[MOST_AXES];
    long long to[MOST_AXES];
    Division divisions[MOST_AXES];  // by the sizes

    template <typename Index> __device__ Index divided(Index index, int axis) const {
        if constexpr (sizeof(Index) == sizeof(unsigned)) return divisions[axis](index);
        else return index / sizes[axis];
    }
};

// The offsets of the unit with number `index`, below 2^31 if it is of 32 bits, in the order of the axes.
template <typename Index> __device__ inline void locate(const Axes& axes, Index index, long long& from, long long& to) {
    for (int axis = static_cast<int>(axes.rank) - 1; axis > 0; --axis) {
        const Index rest = axes.divided(index, axis), place = index - rest * static_cast<Index>(axes.sizes[axis]);
        index = rest;
        from += place * axes.from[axis];
        to += place * axes.to[axis];
    }
    if (axes.rank > 0) {
        from += index * axes.from[0];
        to += index * axes.to[0];
    }
}
