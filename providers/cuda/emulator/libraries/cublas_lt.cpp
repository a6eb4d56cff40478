// cuBLASLt: products with epilogues. It has less than the real one and is stricter: what cuBLASLt's documentation does not
// promise is refused, an algorithm is good for the problem and the alignment it was found for and no other, and the whole
// workspace that was asked for is overwritten.
#include "matrix_product.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

// Of cublasLt.h, which comes with a package of 400 MB, as much as is needed here.
using Status = int;
enum { SUCCESS = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { COMPUTE_32F = 68, COMPUTE_32F_PEDANTIC = 69, COMPUTE_64F = 70, COMPUTE_64F_PEDANTIC = 71, COMPUTE_32F_FAST_TF32 = 77 };
enum { EPILOGUE_DEFAULT = 1, EPILOGUE_RELU = 2, EPILOGUE_BIAS = 4, EPILOGUE_GELU = 32 };
enum { DESC_TRANSA = 3, DESC_TRANSB = 4, DESC_EPILOGUE = 7, DESC_BIAS_POINTER = 8 };
enum { LAYOUT_BATCH_COUNT = 5, LAYOUT_STRIDED_BATCH_OFFSET = 6 };
enum { PREFERENCE_MAX_WORKSPACE = 1, PREFERENCE_ALIGNMENT_A = 5, PREFERENCE_ALIGNMENT_D = 8 };

namespace {

constexpr int64_t VERSION = 130200;
constexpr size_t WORKSPACE_ALIGNMENT = 256;
constexpr uint64_t MAGIC = 0x6f6e6e7867707521;

struct Context {
    void* device_memory;
};
struct Description {
    int compute, scale, transpose_a = 0, transpose_b = 0;
    uint32_t epilogue = EPILOGUE_DEFAULT;
    const void* bias = nullptr;
};
struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t leading;
    int32_t batches = 1;
    int64_t batch_stride = 0;
};
struct Preference {
    uint64_t workspace = 0;
    uint32_t alignment[4] = {256, 256, 256, 256};
};
struct Algorithm {  // 64 bytes, as the caller knows them
    uint64_t magic, problem, workspace;
    uint32_t alignment[4];
    uint64_t unused[3];
};
struct Found {
    Algorithm algorithm;
    size_t workspace;
    Status state;
    float waves;
    int reserved[4];
};

uint64_t mixed(uint64_t seed, std::initializer_list<uint64_t> values) {
    for (uint64_t value : values) seed = (seed ^ value) * 0x100000001b3u + 0x9e3779b97f4a7c15u;
    return seed;
}

uint64_t fingerprint(const Description& how, const Layout* const (&layouts)[4]) {
    uint64_t seed = mixed(0, {uint64_t(how.compute), uint64_t(how.scale), uint64_t(how.transpose_a), uint64_t(how.transpose_b), how.epilogue});
    for (const Layout* x : layouts)
        seed = mixed(seed, {uint64_t(x->type), x->rows, x->columns, uint64_t(x->leading), uint64_t(x->batches), uint64_t(x->batch_stride)});
    return seed;
}

bool types_fit(const Description& how, int a, int b, int c, int d) {
    if (a != b || c != d) return false;
    if (how.compute == COMPUTE_64F || how.compute == COMPUTE_64F_PEDANTIC)
        return how.scale == CUDA_R_64F && a == CUDA_R_64F && c == CUDA_R_64F && how.epilogue == EPILOGUE_DEFAULT;
    if (how.compute == COMPUTE_32F_FAST_TF32) return how.scale == CUDA_R_32F && a == CUDA_R_32F && c == CUDA_R_32F;
    if (how.compute != COMPUTE_32F && how.compute != COMPUTE_32F_PEDANTIC) return false;
    const bool half = a == CUDA_R_16F || a == CUDA_R_16BF;
    return how.scale == CUDA_R_32F && ((a == CUDA_R_32F && c == CUDA_R_32F) || (half && (c == a || c == CUDA_R_32F)));
}

// INVALID_VALUE for layouts that do not belong together, NOT_SUPPORTED for what there is no algorithm for.
Status check(const Description& how, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
    const uint64_t m = d.rows, n = d.columns, k = how.transpose_a ? a.rows : a.columns;
    const bool fit = (how.transpose_a ? a.columns : a.rows) == m && (how.transpose_b ? b.rows : b.columns) == n &&
                     (how.transpose_b ? b.columns : b.rows) == k && c.rows == m && c.columns == n;
    if (!fit || !m || !n || !k) return INVALID_VALUE;
    for (const Layout* x : {&a, &b, &c, &d})
        if (x->leading < int64_t(x->rows) || x->batches < 1 || x->batches != d.batches) return INVALID_VALUE;
    if (d.batches > 1 && d.batch_stride < int64_t(d.leading * (n - 1) + m)) return INVALID_VALUE;
    const uint32_t known = EPILOGUE_RELU | EPILOGUE_BIAS | EPILOGUE_GELU;
    const bool has_epilogue = how.epilogue == EPILOGUE_DEFAULT || (!(how.epilogue & ~known) && (how.epilogue & (EPILOGUE_RELU | EPILOGUE_GELU)) != 34);
    return has_epilogue && types_fit(how, a.type, b.type, c.type, d.type) ? SUCCESS : NOT_SUPPORTED;
}

bool is_aligned(const void* pointer, size_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

double scalar(const void* pointer, int type) { return type == CUDA_R_64F ? *static_cast<const double*>(pointer) : *static_cast<const float*>(pointer); }

// The ten bits of mantissa that tensor cores keep of a float.
double as_tf32(double value) {
    const float single = static_cast<float>(value);
    uint32_t bits;
    memcpy(&bits, &single, 4);
    bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fffu;
    float rounded;
    memcpy(&rounded, &bits, 4);
    return std::isfinite(single) ? rounded : single;
}

double gelu(double x) { return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }

double finished(double value, const Description& how, int type, int row) {
    if (how.epilogue == EPILOGUE_DEFAULT) return value;
    if (how.epilogue & EPILOGUE_BIAS) value += load(how.bias, static_cast<cudaDataType>(type), row);
    if (how.epilogue & EPILOGUE_RELU) return value > 0 || value != value ? value : 0;
    return how.epilogue & EPILOGUE_GELU ? gelu(value) : value;
}

template <typename T> Status set(T* target, const void* value, size_t size) {
    if (size != sizeof(T)) return INVALID_VALUE;
    memcpy(target, value, size);
    return SUCCESS;
}

Matrix matrix(const void* data, const Layout& layout, bool transposed) {
    return {data, static_cast<cudaDataType>(layout.type), transposed, layout.leading, layout.batches > 1 ? layout.batch_stride : 0};
}

}  // namespace

extern "C" {

size_t cublasLtGetVersion() { return VERSION; }
size_t cublasLtGetCudartVersion() { return 13020; }
const char* cublasLtGetStatusName(Status status) {
    switch (status) {
        case SUCCESS: return "CUBLAS_STATUS_SUCCESS";
        case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
        case ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
        case INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
        case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
        default: return "CUBLAS_STATUS_EXECUTION_FAILED";
    }
}
const char* cublasLtGetStatusString(Status status) { return cublasLtGetStatusName(status); }

// Allocates on the device, as the real one does, so that it fails while a stream is capturing.
Status cublasLtCreate(Context** handle) {
    void* memory = nullptr;
    if (cudaMalloc(&memory, 1)) return NOT_INITIALIZED;
    *handle = new Context{memory};
    return SUCCESS;
}
Status cublasLtDestroy(Context* handle) {
    cudaFree(handle->device_memory);
    delete handle;
    return SUCCESS;
}

Status cublasLtMatmulDescCreate(Description** target, int compute, int scale) {
    *target = new Description{compute, scale};
    return SUCCESS;
}
Status cublasLtMatmulDescDestroy(Description* description) {
    delete description;
    return SUCCESS;
}
Status cublasLtMatmulDescSetAttribute(Description* description, int attribute, const void* value, size_t size) {
    switch (attribute) {
        case DESC_TRANSA: return set(&description->transpose_a, value, size);
        case DESC_TRANSB: return set(&description->transpose_b, value, size);
        case DESC_EPILOGUE: return set(&description->epilogue, value, size);
        case DESC_BIAS_POINTER: return set(&description->bias, value, size);
        default: return NOT_SUPPORTED;
    }
}

Status cublasLtMatrixLayoutCreate(Layout** target, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    *target = new Layout{type, rows, columns, leading};
    return SUCCESS;
}
Status cublasLtMatrixLayoutDestroy(Layout* layout) {
    delete layout;
    return SUCCESS;
}
Status cublasLtMatrixLayoutSetAttribute(Layout* layout, int attribute, const void* value, size_t size) {
    switch (attribute) {
        case LAYOUT_BATCH_COUNT: return set(&layout->batches, value, size);
        case LAYOUT_STRIDED_BATCH_OFFSET: return set(&layout->batch_stride, value, size);
        default: return NOT_SUPPORTED;
    }
}

Status cublasLtMatmulPreferenceCreate(Preference** target) {
    *target = new Preference;
    return SUCCESS;
}
Status cublasLtMatmulPreferenceDestroy(Preference* preference) {
    delete preference;
    return SUCCESS;
}
Status cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value, size_t size) {
    if (attribute == PREFERENCE_MAX_WORKSPACE) return set(&preference->workspace, value, size);
    if (attribute < PREFERENCE_ALIGNMENT_A || attribute > PREFERENCE_ALIGNMENT_D) return NOT_SUPPORTED;
    return set(&preference->alignment[attribute - PREFERENCE_ALIGNMENT_A], value, size);
}

Status cublasLtMatmulAlgoGetHeuristic(
    Context*, const Description* how, const Layout* a, const Layout* b, const Layout* c, const Layout* d, const Preference* preference, int wanted,
    Found* results, int* returned
) {
    *returned = 0;
    if (wanted < 1) return INVALID_VALUE;
    const Status status = check(*how, *a, *b, *c, *d);
    if (status) return status;
    const uint64_t useful = d->rows * d->columns * sizeof(float), workspace = useful <= preference->workspace ? useful : 0;
    *results = Found{{MAGIC, fingerprint(*how, {a, b, c, d}), workspace, {}, {}}, workspace, SUCCESS, 1, {}};
    std::copy_n(preference->alignment, 4, results->algorithm.alignment);
    *returned = 1;
    return SUCCESS;
}

Status cublasLtMatmul(
    Context* handle, const Description* description, const void* alpha_pointer, const void* a, const Layout* a_layout, const void* b, const Layout* b_layout,
    const void* beta_pointer, const void* c, const Layout* c_layout, void* d, const Layout* d_layout, const Algorithm* algorithm, void* workspace,
    size_t workspace_bytes, void* stream
) {
    if (!handle) return NOT_INITIALIZED;
    const Description how = *description;
    const Layout in_a = *a_layout, in_b = *b_layout, in_c = *c_layout, in_d = *d_layout;
    const Status status = check(how, in_a, in_b, in_c, in_d);
    if (status) return status;
    if (!algorithm || algorithm->magic != MAGIC || algorithm->problem != fingerprint(how, {a_layout, b_layout, c_layout, d_layout})) return INVALID_VALUE;
    const double alpha = scalar(alpha_pointer, how.scale), beta = scalar(beta_pointer, how.scale);
    const void* pointers[] = {a, b, beta ? c : nullptr, d};
    for (int i = 0; i < 4; ++i)
        if (!is_aligned(pointers[i], algorithm->alignment[i])) return INVALID_VALUE;
    if (c == d && (in_c.leading != in_d.leading || in_c.batch_stride != in_d.batch_stride)) return INVALID_VALUE;
    const size_t used = algorithm->workspace;
    if (workspace_bytes < used || (used && !is_aligned(workspace, WORKSPACE_ALIGNMENT))) return INVALID_VALUE;
    const int m = in_d.rows, n = in_d.columns, k = how.transpose_a ? in_a.rows : in_a.columns;
    const auto work = [=] {
        if (used) {
            if (!emulated_is_inside(workspace, used)) return ILLEGAL_ADDRESS;
            memset(workspace, 0xcd, used);
        }
        if (how.epilogue != EPILOGUE_DEFAULT && (how.epilogue & EPILOGUE_BIAS) && !emulated_is_inside(how.bias, m * bytes_of(static_cast<cudaDataType>(in_d.type))))
            return ILLEGAL_ADDRESS;
        const auto finish = [&](double value, int row) { return finished(value, how, in_d.type, row); };
        const Matrix left = matrix(a, in_a, how.transpose_a), right = matrix(b, in_b, how.transpose_b), added = matrix(c, in_c, false), out = matrix(d, in_d, false);
        const auto round = [&](std::vector<double>& values) {
            if (how.compute == COMPUTE_32F_FAST_TF32) std::transform(values.begin(), values.end(), values.begin(), as_tf32);
        };
        return multiply(m, n, k, alpha, left, right, beta, added, out, in_d.batches, finish, round);
    };
    return submit(stream, work) ? EXECUTION_FAILED : SUCCESS;
}

}  // extern "C"
