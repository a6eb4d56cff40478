// The elements that are not zero, and the slices that a condition selects.
//
//   x            [count], in parts of `span` elements, a block each
//   counts       [parts], how many elements of each part are not zero
//   ends         [parts], running sums of `counts`: where the results of each part end
//   coordinates  [rank, total], the places of the elements in a tensor of `shape`, in order
//   launch       count_selected, store_selected: a block a part, whole warps
//                take_slices: any launch; y [outer, kept, inner] are the slices at `positions` of x [outer, length, inner]

#include "scalar.cuh"
#include "scan.cuh"
#include "vector.cuh"

constexpr int MOST_DIMENSIONS = 32;

struct Dimensions {
    long long rank, sizes[MOST_DIMENSIONS];
};

template <typename T> __device__ inline bool is_selected(T value) { return widen(value) != accumulator_t<T>(0); }

template <typename T>
__global__ void __launch_bounds__(256) count_selected(const T* __restrict__ x, long long* __restrict__ counts, long long count, long long span) {
    __shared__ long long scratch[WARP];
    const long long first = blockIdx.x * span, last = first + span < count ? first + span : count;
    long long found = 0;
    for (long long i = first + threadIdx.x; i < last; i += blockDim.x) found += is_selected(x[i]);
    found = reduce_block(found, 0LL, scratch, Sum());
    if (threadIdx.x == 0) counts[blockIdx.x] = found;
}

template <typename T>
__global__ void __launch_bounds__(256) store_selected(
    const T* __restrict__ x, const long long* __restrict__ ends, long long* __restrict__ coordinates, long long total, Dimensions shape,
    long long count, long long span
) {
    __shared__ int scratch[WARP];
    const long long first = blockIdx.x * span, last = first + span < count ? first + span : count;
    long long before = blockIdx.x > 0 ? ends[blockIdx.x - 1] : 0;
    for (long long tile = first; tile < last; tile += blockDim.x) {
        const long long i = tile + threadIdx.x;
        const bool is_one = i < last && is_selected(x[i]);
        int found;
        const long long place = before + scan_block(static_cast<int>(is_one), 0, scratch, Sum(), found);
        if (is_one) {
            long long rest = i;
            for (long long axis = shape.rank - 1; axis >= 0; --axis) {
                coordinates[axis * total + place] = rest % shape.sizes[axis];
                rest /= shape.sizes[axis];
            }
        }
        before += found;
    }
}

struct alignas(16) SixteenBytes {
    unsigned long long halves[2];
};

template <typename Unit>
__global__ void __launch_bounds__(256) take_slices(
    const Unit* __restrict__ x, const long long* __restrict__ positions, Unit* __restrict__ y, long long outer, long long length, long long kept,
    long long inner
) {
    for_each_index(outer * kept * inner, [=](long long i) {
        const long long slice = i / inner;
        y[i] = x[(slice / kept * length + positions[slice % kept]) * inner + i % inner];
    });
}
