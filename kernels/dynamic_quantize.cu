// DynamicQuantizeLinear: float32 to uint8 with the scale and zero point that x's own range gives.
//
//   range_of_parts         x [count], parts [2, blocks]: the least and the greatest element of each block's part, and 0
//   quantize_dynamically   parts [2, part_count] as above; y [count], scale [1], zero [1]
//   launch                 blocks of 256 threads; range_of_parts at most 256 of them
//
// Two launches: every block of the second finds the range of all from the parts.

#include "quantize.cuh"
#include "reduce.cuh"

constexpr int THREADS = 256;

__global__ void __launch_bounds__(THREADS) range_of_parts(const float* x, float* parts, long long count) {
    __shared__ float scratch[WARP];
    float least = 0, greatest = 0;
    const long long vectors = is_vector_aligned(x) ? count / 4 : 0;
    for_each_index(vectors, [&](long long v) {
        const Vector<float> in = load_vector(x + 4 * v);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            least = Minimum()(least, in.element[k]);
            greatest = Maximum()(greatest, in.element[k]);
        }
    });
    for_each_index(count - 4 * vectors, [&](long long i) {
        least = Minimum()(least, x[4 * vectors + i]);
        greatest = Maximum()(greatest, x[4 * vectors + i]);
    });
    least = reduce_block(least, 0.0f, scratch, Minimum());
    greatest = reduce_block(greatest, 0.0f, scratch, Maximum());
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = least;
        parts[gridDim.x + blockIdx.x] = greatest;
    }
}

__global__ void __launch_bounds__(THREADS) quantize_dynamically(
    const float* x, const float* parts, unsigned char* y, float* scale, unsigned char* zero, int part_count, long long count
) {
    __shared__ float scratch[WARP];
    const bool has_part = threadIdx.x < part_count;
    const float least = reduce_block(has_part ? parts[threadIdx.x] : 0.0f, 0.0f, scratch, Minimum());
    const float greatest = reduce_block(has_part ? parts[part_count + threadIdx.x] : 0.0f, 0.0f, scratch, Maximum());
    const float range = (greatest - least) / 255.0f, divisor = range == 0.0f ? 1.0f : range;
    const float offset = round_to_even(clip(-least / divisor, 0.0f, 255.0f));
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        scale[0] = divisor;
        zero[0] = static_cast<unsigned char>(offset);
    }
    const Granularity whole{1, 1, 1, 0, 0, 0, 16};
    transform_with_scales(x, y, whole, count, [=](long long) {
        return [=](float value) { return static_cast<unsigned char>(IntegerType{8, false}.quantized(value / divisor, offset)); };
    });
}
