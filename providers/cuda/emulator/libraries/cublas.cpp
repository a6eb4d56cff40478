// The part of cuBLAS that CuPy's `matmul`, `dot` and `einsum` call.
#include "matrix_product.h"

#include <cuda_runtime_api.h>

// Of cublas_v2.h, which comes with a package of 400 MB, as much as is needed here.
using Status = int;
using Operation = int;
using ComputeType = int;
enum { SUCCESS = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13 };
enum { COMPUTE_16F = 64, COMPUTE_16F_PEDANTIC = 65, COMPUTE_64F = 70, COMPUTE_64F_PEDANTIC = 71, COMPUTE_32I = 72, COMPUTE_32I_PEDANTIC = 73 };

struct Context {
    void* stream = nullptr;
    int math_mode = 0, pointer_mode = 0;
};
using Handle = Context*;

namespace {

double scalar(const void* pointer, ComputeType type) {
    switch (type) {
        case COMPUTE_64F:
        case COMPUTE_64F_PEDANTIC: return *static_cast<const double*>(pointer);
        case COMPUTE_16F:
        case COMPUTE_16F_PEDANTIC: return __half2float(*static_cast<const __half*>(pointer));
        case COMPUTE_32I:
        case COMPUTE_32I_PEDANTIC: return *static_cast<const int*>(pointer);
        default: return *static_cast<const float*>(pointer);
    }
}

Status product(Handle handle, int m, int n, int k, double alpha, const Matrix& a, const Matrix& b, double beta, const Matrix& c, int count) {
    if (m < 0 || n < 0 || k < 0 || count < 0) return INVALID_VALUE;
    if (a.leading < (a.transposed ? k : m) || b.leading < (b.transposed ? n : k) || c.leading < m) return INVALID_VALUE;
    const auto as_it_is = [](double value, int) { return value; };
    const auto work = [=] { return multiply(m, n, k, alpha, a, b, beta, c, c, count, as_it_is, [](std::vector<double>&) {}); };
    return submit(handle->stream, work) ? EXECUTION_FAILED : SUCCESS;
}

// C = alpha op(A) + beta op(B)
Status sum(Handle handle, int m, int n, double alpha, const Matrix& a, double beta, const Matrix& b, const Matrix& c) {
    const auto work = [=] {
        const auto nothing = std::vector<double>(static_cast<size_t>(m) * n);
        const auto x = alpha ? read(a, item(a, 0), m, n) : nothing;
        const auto y = beta ? read(b, item(b, 0), m, n) : nothing;
        char* out = const_cast<char*>(item(c, 0));
        for (int j = 0; j < n; ++j) {
            for (int i = 0; i < m; ++i) {
                const size_t index = static_cast<size_t>(i) * n + j;
                store(out, c.type, j * c.leading + i, alpha * x[index] + beta * y[index]);
            }
            emulated_mark_written(out + j * c.leading * bytes_of(c.type), m * bytes_of(c.type));
        }
        return 0;
    };
    return submit(handle->stream, work) ? EXECUTION_FAILED : SUCCESS;
}

}  // namespace

extern "C" {

Status cublasCreate_v2(Handle* handle) {
    *handle = new Context;
    return SUCCESS;
}
Status cublasDestroy_v2(Handle handle) {
    delete handle;
    return SUCCESS;
}
Status cublasGetVersion_v2(Handle, int* version) {
    *version = 130200;
    return SUCCESS;
}
Status cublasSetStream_v2(Handle handle, void* stream) {
    handle->stream = stream;
    return SUCCESS;
}
Status cublasGetStream_v2(Handle handle, void** stream) {
    *stream = handle->stream;
    return SUCCESS;
}
Status cublasSetMathMode(Handle handle, int mode) {
    handle->math_mode = mode;
    return SUCCESS;
}
Status cublasGetMathMode(Handle handle, int* mode) {
    *mode = handle->math_mode;
    return SUCCESS;
}
Status cublasSetPointerMode_v2(Handle handle, int mode) {
    handle->pointer_mode = mode;
    return SUCCESS;
}
Status cublasGetPointerMode_v2(Handle handle, int* mode) {
    *mode = handle->pointer_mode;
    return SUCCESS;
}

Status cublasGemmEx(
    Handle handle, Operation op_a, Operation op_b, int m, int n, int k, const void* alpha, const void* a, cudaDataType type_a, int lda, const void* b,
    cudaDataType type_b, int ldb, const void* beta, void* c, cudaDataType type_c, int ldc, ComputeType compute, int
) {
    return product(handle, m, n, k, scalar(alpha, compute), {a, type_a, op_a != 0, lda, 0}, {b, type_b, op_b != 0, ldb, 0}, scalar(beta, compute),
                   {c, type_c, false, ldc, 0}, 1);
}
Status cublasGemmStridedBatchedEx(
    Handle handle, Operation op_a, Operation op_b, int m, int n, int k, const void* alpha, const void* a, cudaDataType type_a, int lda, long long stride_a,
    const void* b, cudaDataType type_b, int ldb, long long stride_b, const void* beta, void* c, cudaDataType type_c, int ldc, long long stride_c, int count,
    ComputeType compute, int
) {
    return product(handle, m, n, k, scalar(alpha, compute), {a, type_a, op_a != 0, lda, stride_a}, {b, type_b, op_b != 0, ldb, stride_b},
                   scalar(beta, compute), {c, type_c, false, ldc, stride_c}, count);
}
Status cublasSgemmEx(
    Handle handle, Operation op_a, Operation op_b, int m, int n, int k, const float* alpha, const void* a, cudaDataType type_a, int lda, const void* b,
    cudaDataType type_b, int ldb, const float* beta, void* c, cudaDataType type_c, int ldc
) {
    return product(handle, m, n, k, *alpha, {a, type_a, op_a != 0, lda, 0}, {b, type_b, op_b != 0, ldb, 0}, *beta, {c, type_c, false, ldc, 0}, 1);
}

#define GEMM(NAME, T, TYPE)                                                                                                                   \
    Status cublas##NAME##gemm_v2(Handle handle, Operation op_a, Operation op_b, int m, int n, int k, const T* alpha, const T* a, int lda,       \
                                 const T* b, int ldb, const T* beta, T* c, int ldc) {                                                         \
        return product(handle, m, n, k, *alpha, {a, TYPE, op_a != 0, lda, 0}, {b, TYPE, op_b != 0, ldb, 0}, *beta, {c, TYPE, false, ldc, 0}, 1); \
    }                                                                                                                                         \
    Status cublas##NAME##gemmStridedBatched(Handle handle, Operation op_a, Operation op_b, int m, int n, int k, const T* alpha, const T* a,     \
                                            int lda, long long stride_a, const T* b, int ldb, long long stride_b, const T* beta, T* c,         \
                                            int ldc, long long stride_c, int count) {                                                         \
        return product(handle, m, n, k, *alpha, {a, TYPE, op_a != 0, lda, stride_a}, {b, TYPE, op_b != 0, ldb, stride_b}, *beta,                \
                       {c, TYPE, false, ldc, stride_c}, count);                                                                               \
    }                                                                                                                                         \
    Status cublas##NAME##gemmBatched(Handle handle, Operation op_a, Operation op_b, int m, int n, int k, const T* alpha, const T* const* a,     \
                                     int lda, const T* const* b, int ldb, const T* beta, T* const* c, int ldc, int count) {                   \
        const auto pointers = [](const T* const* batch) { return reinterpret_cast<const void* const*>(batch); };                              \
        return product(handle, m, n, k, *alpha, {nullptr, TYPE, op_a != 0, lda, 0, pointers(a)}, {nullptr, TYPE, op_b != 0, ldb, 0, pointers(b)}, \
                       *beta, {nullptr, TYPE, false, ldc, 0, pointers(c)}, count);                                                            \
    }                                                                                                                                         \
    Status cublas##NAME##geam(Handle handle, Operation op_a, Operation op_b, int m, int n, const T* alpha, const T* a, int lda, const T* beta,  \
                              const T* b, int ldb, T* c, int ldc) {                                                                           \
        return sum(handle, m, n, alpha ? *alpha : 0, {a, TYPE, op_a != 0, lda, 0}, beta ? *beta : 0, {b, TYPE, op_b != 0, ldb, 0},              \
                   {c, TYPE, false, ldc, 0});                                                                                                 \
    }
GEMM(S, float, CUDA_R_32F)
GEMM(D, double, CUDA_R_64F)

}  // extern "C"
