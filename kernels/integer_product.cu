// Products of 8-bit integers: y = (a - a_zero) (b - b_zero) + c, as int32, scaled to floats, or quantised again.
//
//   a, b, c, y        as in product.cu, a and b as bytes; `flip_a` and `flip_b` are 128 for int8, 0 for uint8; c is int32, or null
//   a_zero, b_zero    of the type of a and b, one (step 0) or one a row or column (step 1); null for 0
//   a_scale, b_scale  float, with the same steps; not read for int32
//   y_scale, y_zero   one number, for quantised results; bias: [columns] or null, for floats
//   launch            (tiles, 1, batches) blocks of Shape::threads
//
// Sums wrap around as int32. What they are multiplied with is alpha · a_scale · b_scale / y_scale, rounded in this order.

#include "matrices.cuh"
#include "product.cuh"

struct Quantization {
    const unsigned char *a_zero, *b_zero;
    const float *a_scale, *b_scale, *y_scale;
    const void *y_zero, *bias;
    long long a_zero_step, b_zero_step, a_scale_step, b_scale_step;
    double alpha;
};

__device__ inline int value_of(unsigned char bits, int flip) { return (bits ^ flip) - flip; }

__device__ inline float factor_of(const Quantization& q, long long row, long long column) {
    return static_cast<float>(q.alpha) * q.a_scale[row * q.a_scale_step] * q.b_scale[column * q.b_scale_step];
}

template <typename T> struct Result {  // floats
    static __device__ T of(int sum, const Quantization& q, long long row, long long column) {
        float value = static_cast<float>(sum) * factor_of(q, row, column);
        if (q.bias) value += widen(static_cast<const T*>(q.bias)[column]);
        return narrow<T>(value);
    }
};
template <> struct Result<int> {
    static __device__ int of(int sum, const Quantization&, long long, long long) { return sum; }
};
template <typename T, int least, int most> struct QuantizedResult {
    static __device__ T of(int sum, const Quantization& q, long long row, long long column) {
        const float scaled = static_cast<float>(sum) * (factor_of(q, row, column) / *q.y_scale);
        const float zero = q.y_zero ? static_cast<float>(*static_cast<const T*>(q.y_zero)) : 0.0f;
        return static_cast<T>(fminf(fmaxf(rintf(scaled) + zero, least), most));
    }
};
template <> struct Result<unsigned char> : QuantizedResult<unsigned char, 0, 255> {};
template <> struct Result<signed char> : QuantizedResult<signed char, -128, 127> {};

template <typename T, typename Shape, bool by_depth>
__global__ void __launch_bounds__(Shape::threads) multiply_integers(
    const unsigned char* __restrict__ a, const unsigned char* __restrict__ b, const int* __restrict__ c, T* __restrict__ y, Layout<4> layout,
    Strides at, Quantization quantization, long long batches, long long rows, long long columns, int depth, int flip_a, int flip_b
) {
    const long long tiles_down = (rows + Shape::rows - 1) / Shape::rows;
    const long long first_row = blockIdx.x % tiles_down * Shape::rows, first_column = blockIdx.x / tiles_down * Shape::columns;
    const auto zero_of = [](const unsigned char* zero, long long place, int flip) { return zero ? value_of(zero[place], flip) : 0; };
    for (long long index = blockIdx.z; index < batches; index += gridDim.z) {
        const Batch batch = batch_of(layout, index);
        const auto left = [&](int place, int k) -> unsigned {
            const long long row = first_row + place;
            if (row >= rows || k >= depth) return 0;
            const int zero = zero_of(quantization.a_zero, row * quantization.a_zero_step, flip_a);
            return value_of(a[batch.a + row * at.a_row + k * at.a_depth], flip_a) - zero;
        };
        const auto right = [&](int place, int k) -> unsigned {
            const long long column = first_column + place;
            if (column >= columns || k >= depth) return 0;
            const int zero = zero_of(quantization.b_zero, column * quantization.b_zero_step, flip_b);
            return value_of(b[batch.b + k * at.b_depth + column * at.b_column], flip_b) - zero;
        };
        multiply_tile<unsigned, Shape, by_depth>(left, right, 0, depth, [&](int down, int across, unsigned sum) {
            const long long row = first_row + down, column = first_column + across;
            if (row >= rows || column >= columns) return;
            if (c) sum += c[batch.c + row * at.c_row + column * at.c_column];
            y[batch.y + row * at.y_row + column * at.y_column] = Result<T>::of(static_cast<int>(sum), quantization, row, column);
        });
    }
}
