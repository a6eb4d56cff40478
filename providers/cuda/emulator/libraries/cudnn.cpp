// The operations of cuDNN's graphs, one call a node: what interprets a graph calls them in order, with memory for what lies between.
#include "library.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <library_types.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int MOST_AXES = 8;
constexpr int MISALIGNED = 716;
constexpr uintptr_t ALIGNMENT = 16;  // what a graph declares of its tensors where it says nothing

}  // namespace

extern "C" struct GraphTensor {
    void* data;
    int32_t type;  // cudaDataType
    int32_t rank;
    int64_t dim[MOST_AXES], stride[MOST_AXES];
};

namespace {

using Index = std::vector<int64_t>;

size_t bytes_of(int type) { return type == CUDA_R_32F ? 4 : 2; }

double load(const GraphTensor& x, int64_t at) {
    switch (x.type) {
        case CUDA_R_16F: return __half2float(static_cast<const __half*>(x.data)[at]);
        case CUDA_R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16*>(x.data)[at]);
        default: return static_cast<const float*>(x.data)[at];
    }
}

void store(const GraphTensor& y, int64_t at, double value) {
    switch (y.type) {
        case CUDA_R_16F: static_cast<__half*>(y.data)[at] = __float2half_rn(static_cast<float>(value)); break;
        case CUDA_R_16BF: static_cast<__nv_bfloat16*>(y.data)[at] = __float2bfloat16_rn(static_cast<float>(value)); break;
        default: static_cast<float*>(y.data)[at] = static_cast<float>(value);
    }
    emulated_mark_written(static_cast<char*>(y.data) + at * bytes_of(y.type), bytes_of(y.type));
}

// Calls function(index) for every index below `sizes`.
template <typename Function> void for_each(const Index& sizes, Function function) {
    if (std::any_of(sizes.begin(), sizes.end(), [](int64_t size) { return size == 0; })) return;
    Index index(sizes.size(), 0);
    for (;;) {
        function(index);
        size_t axis = sizes.size();
        while (axis && ++index[axis - 1] == sizes[axis - 1]) index[--axis] = 0;
        if (!axis) return;
    }
}

// Of the element, or where the index has fewer axes, of the first of the rest.
int64_t place(const GraphTensor& x, const Index& index) {
    int64_t at = 0;
    for (size_t axis = 0; axis < index.size(); ++axis) at += (x.dim[axis] == 1 ? 0 : index[axis]) * x.stride[axis];
    return at;
}

int check(const GraphTensor& x) {
    int64_t last = 0;
    for (int axis = 0; axis < x.rank; ++axis) last += (x.dim[axis] - 1) * x.stride[axis];
    if (reinterpret_cast<uintptr_t>(x.data) % ALIGNMENT) return MISALIGNED;
    return emulated_is_inside(x.data, (last + 1) * bytes_of(x.type)) ? 0 : ILLEGAL_ADDRESS;
}

Index shape_of(const GraphTensor& x) { return Index(x.dim, x.dim + x.rank); }

// Y of X and W, or the gradient of X for that of Y: each pair of places that a window joins is visited once.
int convolve(GraphTensor x, GraphTensor w, GraphTensor y, Index padding, Index stride, Index dilation, bool is_gradient) {
    for (const GraphTensor* each : {&x, &w, &y})
        if (const int error = check(*each)) return error;
    const int spatial = x.rank - 2;
    const int64_t per_group = w.dim[1], outputs_per_group = y.dim[1] / (x.dim[1] / per_group);
    const GraphTensor& result = is_gradient ? x : y;
    int64_t size = 1;
    for (int64_t dim : shape_of(result)) size *= dim;
    std::vector<double> sums(size);
    const auto number = [&](const Index& index) {
        int64_t at = 0;
        for (int axis = 0; axis < result.rank; ++axis) at = at * result.dim[axis] + index[axis];
        return at;
    };
    int64_t channel_size = 1;
    for (int axis = 2; axis < x.rank; ++axis) channel_size *= x.dim[axis];
    const Index kernel(w.dim + 2, w.dim + w.rank);
    Index in(x.rank), weight(w.rank);
    for_each(shape_of(y), [&](const Index& out) {
        for_each(kernel, [&](const Index& tap) {
            in = out;
            for (int axis = 0; axis < spatial; ++axis) {
                in[axis + 2] = out[axis + 2] * stride[axis] - padding[axis] + tap[axis] * dilation[axis];
                if (in[axis + 2] < 0 || in[axis + 2] >= x.dim[axis + 2]) return;
            }
            in[1] = out[1] / outputs_per_group * per_group;
            weight[0] = out[1];
            std::copy(tap.begin(), tap.end(), weight.begin() + 2);
            const int64_t factors = place(w, weight), values = place(x, in), sum = number(is_gradient ? in : out);
            const double given = is_gradient ? load(y, place(y, out)) : 0;
            for (int64_t channel = 0; channel < per_group; ++channel) {
                const double factor = load(w, factors + channel * w.stride[1]);
                if (is_gradient) sums[sum + channel * channel_size] += factor * given;
                else sums[sum] += factor * load(x, values + channel * x.stride[1]);
            }
        });
    });
    for_each(shape_of(result), [&](const Index& index) { store(result, place(result, index), sums[number(index)]); });
    return 0;
}

// softmax(scale q kᵀ + bias) v, each row by itself; a row that sees nothing, or adds infinities alone, gives NaN, as a GPU may.
int attend(GraphTensor q, GraphTensor k, GraphTensor v, GraphTensor bias, GraphTensor y, double scale, bool is_causal, bool from_last) {
    for (const GraphTensor* each : {&q, &k, &v, &bias, &y})
        if (each->data)
            if (const int error = check(*each)) return error;
    const int64_t keys = k.dim[2], size = q.dim[3], group = q.dim[1] / k.dim[1];
    std::vector<double> weights(keys);
    for_each({y.dim[0], y.dim[1], y.dim[2]}, [&](const Index& row) {
        const int64_t batch = row[0], head = row[1], query = row[2], last = !is_causal ? keys - 1 : query + (from_last ? keys - y.dim[2] : 0);
        const int64_t of_query = place(q, row), of_keys = place(k, {batch, head / group, 0}), of_values = place(v, {batch, head / group, 0});
        double greatest = -INFINITY, sum = 0;
        for (int64_t key = 0; key < keys; ++key) {
            double score = 0;
            for (int64_t i = 0; i < size; ++i) score += load(q, of_query + i * q.stride[3]) * load(k, of_keys + key * k.stride[2] + i * k.stride[3]);
            score *= scale;
            if (bias.data) score += load(bias, place(bias, {batch, head, query, key}));
            weights[key] = key > last ? -INFINITY : score;
            greatest = std::max(greatest, weights[key]);
        }
        for (double& weight : weights) sum += weight = std::exp(weight - greatest);
        for (int64_t i = 0; i < y.dim[3]; ++i) {
            double value = 0;
            for (int64_t key = 0; key < keys; ++key) value += weights[key] * load(v, of_values + key * v.stride[2] + i * v.stride[3]);
            store(y, place(y, row) + i * y.stride[3], value / sum);
        }
    });
    return 0;
}

double pointwise(const char* mode, double a, double b, double slope, double low, double high) {
    const auto is = [=](const char* name) { return !strcmp(mode, name); };
    if (is("add") || is("bias")) return a + b;
    if (is("mul")) return a * b;
    if (is("relu")) return std::isnan(a) ? a : a < low ? low + slope * (a - low) : std::min(a, high);
    if (is("sigmoid")) return 1 / (1 + std::exp(-a));
    if (is("tanh")) return std::tanh(a);
    if (is("swish")) return a / (1 + std::exp(-a));
    return NAN;
}

}  // namespace

extern "C" {

int emulated_convolution(
    void* stream, const GraphTensor* x, const GraphTensor* w, const GraphTensor* y, const int64_t* padding, const int64_t* stride, const int64_t* dilation,
    int is_gradient
) {
    const int spatial = x->rank - 2;
    return submit(stream, [=, x = *x, w = *w, y = *y, p = Index(padding, padding + spatial), s = Index(stride, stride + spatial),
                           d = Index(dilation, dilation + spatial)] { return convolve(x, w, y, p, s, d, is_gradient); });
}

// `bias` is null, or broadcasts over batch and heads.
int emulated_attention(
    void* stream, const GraphTensor* q, const GraphTensor* k, const GraphTensor* v, const GraphTensor* bias, const GraphTensor* y, double scale,
    int is_causal, int from_last
) {
    const GraphTensor added = bias ? *bias : GraphTensor{};
    return submit(stream, [=, q = *q, k = *k, v = *v, y = *y] { return attend(q, k, v, added, y, scale, is_causal, from_last); });
}

// `b` is null for operations with one operand; it broadcasts.
int emulated_pointwise(void* stream, const char* mode, const GraphTensor* a, const GraphTensor* b, const GraphTensor* y, double slope, double low, double high) {
    const GraphTensor second = b ? *b : *a;
    return submit(stream, [=, mode = std::string(mode), a = *a, y = *y] {
        for (const GraphTensor* each : {&a, &second, &y})
            if (const int error = check(*each)) return error;
        for_each(shape_of(y), [&](const Index& index) {
            store(y, place(y, index), pointwise(mode.c_str(), load(a, place(a, index)), load(second, place(second, index)), slope, low, high));
        });
        return 0;
    });
}

}  // extern "C"
