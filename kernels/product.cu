// Matrix products: y = alpha · a b + beta · c, negative values cut to 0 if `is_relu`, for batches of matrices of any strides.
//
//   a, b, c, y   (rows, depth), (depth, columns) and twice (rows, columns) for each of `batches`, in batches of up to MOST_AXES axes;
//                c may be null, and any stride 0, so that it broadcasts
//   by_depth     whether b is read along its depth, and not along its columns
//   partial      null, or [parts, batches, rows, columns]: sums over `span` of the depth each, which combine_products adds up
//   launch       multiply: (tiles, parts, batches) blocks of Shape::threads; combine_products: any
//
// float16 and bfloat16 are summed in float32 and rounded once; integers wrap around.

#include "matrices.cuh"
#include "product.cuh"

template <typename T> struct Epilogue {
    accumulator_t<T> alpha, beta;
    bool is_relu;
    __device__ T operator()(accumulator_t<T> sum, const T* c) const {
        accumulator_t<T> value = alpha * sum;
        if (c) value += beta * widen(*c);
        return narrow<T>(is_relu ? relu(value) : value);
    }
};

template <typename T, typename Shape, bool by_depth>
__global__ void __launch_bounds__(Shape::threads, 512 / Shape::threads) multiply(
    const T* __restrict__ a, const T* __restrict__ b, const T* __restrict__ c, T* __restrict__ y, void* __restrict__ partial, Layout<4> layout,
    Strides at, long long batches, long long rows, long long columns, int depth, int span, double alpha, double beta, bool is_relu
) {
    using A = accumulator_t<T>;
    const Epilogue<T> epilogue = {A(alpha), A(beta), is_relu};
    const long long tiles_down = (rows + Shape::rows - 1) / Shape::rows;
    const long long first_row = blockIdx.x % tiles_down * Shape::rows, first_column = blockIdx.x / tiles_down * Shape::columns;
    const int rows_left = static_cast<int>(rows - first_row < Shape::rows ? rows - first_row : Shape::rows);
    const int columns_left = static_cast<int>(columns - first_column < Shape::columns ? columns - first_column : Shape::columns);
    const int begin = blockIdx.y * span, end = depth - begin < span ? depth : begin + span;
    for (long long index = blockIdx.z; index < batches; index += gridDim.z) {
        const Batch batch = batch_of(layout, index);
        const T* of_rows = a + batch.a + first_row * at.a_row;
        const T* of_columns = b + batch.b + first_column * at.b_column;
        const auto left = [=](int row, int k) {
            return row < rows_left && k < end ? widen(of_rows[row * at.a_row + k * at.a_depth]) : A(0);
        };
        const auto right = [=](int column, int k) {
            return column < columns_left && k < end ? widen(of_columns[column * at.b_column + k * at.b_depth]) : A(0);
        };
        multiply_tile<A, Shape, by_depth>(left, right, begin, end, [&](int row, int column, A sum) {
            if (row >= rows_left || column >= columns_left) return;
            const long long down = first_row + row, across = first_column + column;
            if (partial) static_cast<A*>(partial)[((blockIdx.y * batches + index) * rows + down) * columns + across] = sum;
            else y[batch.y + down * at.y_row + across * at.y_column] = epilogue(sum, c ? c + batch.c + down * at.c_row + across * at.c_column : c);
        });
    }
}

template <typename T>
__global__ void __launch_bounds__(256) combine_products(
    const T* __restrict__ c, T* __restrict__ y, const void* __restrict__ partial, Layout<4> layout, Strides at, long long batches, long long rows,
    long long columns, int parts, double alpha, double beta, bool is_relu
) {
    using A = accumulator_t<T>;
    const Epilogue<T> epilogue = {A(alpha), A(beta), is_relu};
    const long long count = batches * rows * columns;
    for_each_index(count, [&](long long i) {
        A sum = 0;
        for (int part = 0; part < parts; ++part) sum += static_cast<const A*>(partial)[part * count + i];
        const Batch batch = batch_of(layout, i / columns / rows);
        const long long row = i / columns % rows, column = i % columns;
        y[batch.y + row * at.y_row + column * at.y_column] = epilogue(sum, c ? c + batch.c + row * at.c_row + column * at.c_column : c);
    });
}
