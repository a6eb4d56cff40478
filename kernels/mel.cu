// Triangles on the mel scale over the bins of a spectrum.
//
//   y         [frequencies, width]; the columns from `first` on, `count` of them, are written
//   corners   of triangle k: where it begins, is 1, and ends: corners[k], corners[k + 1], corners[k + 2]
//   launch    any number of blocks and threads: a weight a thread at a time

#include "scalar.cuh"
#include "vector.cuh"

constexpr int MOST_CORNERS = 256;

struct Corners {
    long long at[MOST_CORNERS];
};

template <typename T>
__global__ void __launch_bounds__(256) mel_weights(T* __restrict__ y, long long frequencies, long long width, long long first, long long count, Corners corners) {
    for_each_index(frequencies * count, [&](long long i) {
        const long long frequency = i / count, triangle = i % count;
        const long long left = corners.at[triangle], centre = corners.at[triangle + 1], right = corners.at[triangle + 2];
        double weight = 0;
        if (frequency >= left && frequency <= centre)
            weight = left == centre ? 1.0 : double(frequency - left) / double(centre - left > 1 ? centre - left : 1);
        if (frequency >= centre && frequency < right) weight = double(right - frequency) / double(right - centre > 1 ? right - centre : 1);
        y[frequency * width + first + triangle] = narrow<T>(static_cast<accumulator_t<T>>(weight));
    });
}
