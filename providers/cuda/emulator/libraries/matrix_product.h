// C = alpha op(A) op(B) + beta C for column-major matrices of any of cuBLAS's element types, summed in double.
#pragma once

#include "library.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <library_types.h>

#include <algorithm>
#include <vector>

struct Matrix {
    const void* data;
    cudaDataType type;
    bool transposed;
    long long leading, batch_stride;
    const void* const* batch = nullptr;  // one pointer for each product, in place of a stride
};

inline size_t bytes_of(cudaDataType type) {
    switch (type) {
        case CUDA_R_64F: return 8;
        case CUDA_R_32F:
        case CUDA_R_32I: return 4;
        case CUDA_R_8I:
        case CUDA_R_8U: return 1;
        default: return 2;
    }
}

inline double load(const void* data, cudaDataType type, size_t index) {
    switch (type) {
        case CUDA_R_64F: return static_cast<const double*>(data)[index];
        case CUDA_R_32F: return static_cast<const float*>(data)[index];
        case CUDA_R_16F: return __half2float(static_cast<const __half*>(data)[index]);
        case CUDA_R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[index]);
        case CUDA_R_32I: return static_cast<const int*>(data)[index];
        case CUDA_R_8I: return static_cast<const signed char*>(data)[index];
        case CUDA_R_8U: return static_cast<const unsigned char*>(data)[index];
        default: return 0;
    }
}

inline void store(void* data, cudaDataType type, size_t index, double value) {
    switch (type) {
        case CUDA_R_64F: static_cast<double*>(data)[index] = value; break;
        case CUDA_R_32F: static_cast<float*>(data)[index] = static_cast<float>(value); break;
        case CUDA_R_16F: static_cast<__half*>(data)[index] = __float2half_rn(static_cast<float>(value)); break;
        case CUDA_R_16BF: static_cast<__nv_bfloat16*>(data)[index] = __float2bfloat16_rn(static_cast<float>(value)); break;
        case CUDA_R_32I: static_cast<int*>(data)[index] = static_cast<int>(value); break;
        default: break;
    }
}

inline const char* item(const Matrix& matrix, int index) {
    if (matrix.batch) return static_cast<const char*>(matrix.batch[index]);
    return static_cast<const char*>(matrix.data) + index * matrix.batch_stride * static_cast<long long>(bytes_of(matrix.type));
}

// `rows` and `columns` as stored.
inline bool is_inside(const Matrix& matrix, const char* data, long long rows, long long columns) {
    if (!rows || !columns) return true;
    return emulated_is_inside(data, ((columns - 1) * matrix.leading + rows) * bytes_of(matrix.type));
}

// op(matrix), row after row.
inline std::vector<double> read(const Matrix& matrix, const char* data, int rows, int columns) {
    std::vector<double> values(static_cast<size_t>(rows) * columns);
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j)
            values[static_cast<size_t>(i) * columns + j] = load(data, matrix.type, matrix.transposed ? i * matrix.leading + j : j * matrix.leading + i);
    return values;
}

// finish(value, row): what is stored for alpha op(A) op(B) + beta C.
template <typename Finish>
void multiply_one(
    int m, int n, int k, double alpha, const std::vector<double>& a, const std::vector<double>& b, double beta, const Matrix& c, const char* from_c,
    const Matrix& d, char* out, Finish finish
) {
    std::vector<double> sums(n);
    for (int i = 0; i < m; ++i) {
        std::fill(sums.begin(), sums.end(), 0.0);
        for (int l = 0; l < k; ++l) {
            const double factor = a[static_cast<size_t>(i) * k + l], *row = &b[static_cast<size_t>(l) * n];
            for (int j = 0; j < n; ++j) sums[j] += factor * row[j];
        }
        for (int j = 0; j < n; ++j)
            store(out, d.type, j * d.leading + i, finish(alpha * sums[j] + (beta ? beta * load(from_c, c.type, j * c.leading + i) : 0), i));
    }
    for (int j = 0; j < n; ++j) emulated_mark_written(out + j * d.leading * bytes_of(d.type), m * bytes_of(d.type));
}

// D = finish(alpha op(A) op(B) + beta C), `count` times; round(values) may change the factors first.
template <typename Finish, typename Round>
int multiply(
    int m, int n, int k, double alpha, const Matrix& a, const Matrix& b, double beta, const Matrix& c, const Matrix& d, int count, Finish finish, Round round
) {
    for (int index = 0; index < count && m && n; ++index) {
        const char *from_a = item(a, index), *from_b = item(b, index), *from_c = item(c, index);
        char* out = const_cast<char*>(item(d, index));
        const bool fits = is_inside(a, from_a, a.transposed ? k : m, a.transposed ? m : k) && is_inside(b, from_b, b.transposed ? n : k, b.transposed ? k : n) &&
                          (!beta || is_inside(c, from_c, m, n)) && is_inside(d, out, m, n);
        if (!fits) return ILLEGAL_ADDRESS;
        auto left = read(a, from_a, m, k), right = read(b, from_b, k, n);
        round(left);
        round(right);
        multiply_one(m, n, k, alpha, left, right, beta, c, from_c, d, out, finish);
    }
    return 0;
}
