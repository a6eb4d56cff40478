// Non-maximum suppression: of boxes that overlap too much only the best remains.
//
//   boxes     [batches, count, 4]: two opposite corners (y, x), or with `is_centred` the centre (x, y), width and height
//   scores    [batches · labels, count] in descending order, and `order` the boxes they belong to
//   alive     [batches · labels, count], scratch
//   kept      [batches · labels, most], the boxes that remain, best first, and `counts` [batches · labels], how many
//   launch    suppress: gridDim.x any, blocks of whole warps; a block takes the boxes of one batch and label
//             store_kept: gridDim.x any, any blocks; y [sum of counts, 3] are batch, label and box; `ends` the running sums of `counts`

#include "reduce.cuh"
#include "vector.cuh"

struct Least {
    __device__ long long operator()(long long a, long long b) const { return a < b ? a : b; }
};

struct Box {
    float top, left, bottom, right, area;

    __device__ Box(const float* corners, bool is_centred) {
        const float a = corners[0], b = corners[1], c = corners[2], d = corners[3];
        top = is_centred ? a - c / 2 : fminf(a, c);
        left = is_centred ? b - d / 2 : fminf(b, d);
        bottom = is_centred ? a + c / 2 : fmaxf(a, c);
        right = is_centred ? b + d / 2 : fmaxf(b, d);
        area = (bottom - top) * (right - left);
    }
    // Intersection over union; 0 for boxes without area.
    __device__ float overlap(const Box& other) const {
        const float height = fminf(bottom, other.bottom) - fmaxf(top, other.top), width = fminf(right, other.right) - fmaxf(left, other.left);
        const float common = fmaxf(height, 0.f) * fmaxf(width, 0.f);
        return common / fmaxf(area + other.area - common, 1.17549435e-38f);
    }
};

__global__ void __launch_bounds__(512) suppress(
    const float* __restrict__ boxes, const float* __restrict__ scores, const long long* __restrict__ order, bool* __restrict__ alive,
    long long* __restrict__ kept, long long* __restrict__ counts, long long rows, long long labels, long long count, long long most,
    float overlap_threshold, bool has_score_threshold, float score_threshold, bool is_centred
) {
    __shared__ long long scratch[WARP];
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const float* own_boxes = boxes + row / labels * count * 4;
        const long long* own_order = order + row * count;
        bool* is_alive = alive + row * count;
        long long end = 0;  // where the boxes end whose score is high enough
        for (long long i = threadIdx.x; i < count; i += blockDim.x) {
            const bool is_candidate = !has_score_threshold || scores[row * count + i] > score_threshold;
            is_alive[i] = is_candidate;
            if (is_candidate) end = i + 1;
        }
        end = reduce_block(end, 0LL, scratch, Maximum());
        __syncthreads();
        long long found = 0, next = 0;
        while (found < most && next < end) {
            const long long place = next + threadIdx.x;
            const long long best = reduce_block(place < end && is_alive[place] ? place : end, end, scratch, Least());
            __syncthreads();  // all have read before any writes
            if (best == end) {
                next += blockDim.x;
                continue;
            }
            const Box box(own_boxes + own_order[best] * 4, is_centred);
            if (threadIdx.x == 0) kept[row * most + found] = own_order[best];
            for (long long i = best + 1 + threadIdx.x; i < end; i += blockDim.x) {
                if (is_alive[i] && !(box.overlap(Box(own_boxes + own_order[i] * 4, is_centred)) <= overlap_threshold)) is_alive[i] = false;
            }
            __syncthreads();
            ++found;
            next = best + 1;
        }
        if (threadIdx.x == 0) counts[row] = found;
        __syncthreads();
    }
}

__global__ void __launch_bounds__(256) store_kept(
    const long long* __restrict__ kept, const long long* __restrict__ ends, long long* __restrict__ y, long long rows, long long labels, long long most
) {
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const long long first = row > 0 ? ends[row - 1] : 0, count = ends[row] - first;
        for (long long i = threadIdx.x; i < count; i += blockDim.x) {
            long long* line = y + (first + i) * 3;
            line[0] = row / labels;
            line[1] = row % labels;
            line[2] = kept[row * most + i];
        }
    }
}
