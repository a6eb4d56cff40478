// nvcuda::wmma. Which lane holds which element is the implementation's own business: here element `e` of lane `l` is entry
// `32 e + l` of the row-major matrix.
#pragma once

inline float emulated_float(float value) { return value; }
inline float emulated_float(int value) { return static_cast<float>(value); }
inline float emulated_float(signed char value) { return value; }
inline float emulated_float(unsigned char value) { return value; }
inline float emulated_float(__half value) { return __half2float(value); }
inline float emulated_float(__nv_bfloat16 value) { return __bfloat162float(value); }

namespace nvcuda::wmma {
struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major {};
struct col_major {};
namespace precision {
struct tf32 {};
}
enum layout_t { mem_row_major, mem_col_major };

template <typename Use, int M, int N, int K> struct EmulatedShape;
template <int M, int N, int K> struct EmulatedShape<matrix_a, M, N, K> { static constexpr int rows = M, columns = K; };
template <int M, int N, int K> struct EmulatedShape<matrix_b, M, N, K> { static constexpr int rows = K, columns = N; };
template <int M, int N, int K> struct EmulatedShape<accumulator, M, N, K> { static constexpr int rows = M, columns = N; };
template <typename T> struct EmulatedStorage { using type = T; };
template <> struct EmulatedStorage<precision::tf32> { using type = float; };

template <typename Use, int M, int N, int K, typename T, typename Layout = void> struct fragment {
    using Shape = EmulatedShape<Use, M, N, K>;
    using element_type = typename EmulatedStorage<T>::type;
    static constexpr int num_elements = Shape::rows * Shape::columns / 32;
    element_type x[num_elements];

    static int row(int element) { return (element * 32 + static_cast<int>(emulated_thread->lane)) / Shape::columns; }
    static int column(int element) { return (element * 32 + static_cast<int>(emulated_thread->lane)) % Shape::columns; }
};

template <typename Use, int M, int N, int K, typename T, typename Layout, typename Value>
inline void fill_fragment(fragment<Use, M, N, K, T, Layout>& target, Value value) {
    for (auto& element : target.x) element = value;
}

template <typename Fragment, typename Source>
inline void emulated_load(Fragment& target, const Source* source, unsigned stride, bool by_columns) {
    for (int e = 0; e < Fragment::num_elements; ++e) {
        const size_t row = Fragment::row(e), column = Fragment::column(e);
        target.x[e] = by_columns ? source[column * stride + row] : source[row * stride + column];
    }
    __syncwarp();
}

template <typename Use, int M, int N, int K, typename T, typename Layout, typename Source>
inline void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& target, const Source* source, unsigned stride) {
    emulated_load(target, source, stride, std::is_same_v<Layout, col_major>);
}

template <typename Use, int M, int N, int K, typename T, typename Layout, typename Source>
inline void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& target, const Source* source, unsigned stride, layout_t layout) {
    emulated_load(target, source, stride, layout == mem_col_major);
}

template <typename Target, typename Use, int M, int N, int K, typename T, typename Layout>
inline void store_matrix_sync(Target* target, const fragment<Use, M, N, K, T, Layout>& source, unsigned stride, layout_t layout) {
    using Fragment = fragment<Use, M, N, K, T, Layout>;
    for (int e = 0; e < Fragment::num_elements; ++e) {
        const size_t row = Fragment::row(e), column = Fragment::column(e);
        target[layout == mem_col_major ? column * stride + row : row * stride + column] = source.x[e];
    }
    __syncwarp();
}

template <int M, int N, int K, typename D, typename A, typename LayoutA, typename B, typename LayoutB, typename C>
inline void mma_sync(
    fragment<accumulator, M, N, K, D>& result, const fragment<matrix_a, M, N, K, A, LayoutA>& a,
    const fragment<matrix_b, M, N, K, B, LayoutB>& b, const fragment<accumulator, M, N, K, C>& c, EMULATED_CALLER
) {
    using Result = fragment<accumulator, M, N, K, D>;
    struct Operands {
        const fragment<matrix_a, M, N, K, A, LayoutA>* left;
        const fragment<matrix_b, M, N, K, B, LayoutB>* right;
    };
    const Operands own{&a, &b};
    Operands lanes[32];
    emulated_gather(own, lanes, file, line);
    float sums[Result::num_elements];
    for (int e = 0; e < Result::num_elements; ++e) {
        const int row = Result::row(e), column = Result::column(e);
        float sum = emulated_float(c.x[e]);
        for (int k = 0; k < K; ++k) {
            const int in_a = row * K + k, in_b = k * N + column;
            sum += emulated_float(lanes[in_a & 31].left->x[in_a >> 5]) * emulated_float(lanes[in_b & 31].right->x[in_b >> 5]);
        }
        sums[e] = sum;
    }
    emulated_gather(own, lanes, file, line);  // nobody changes a fragment before all lanes have read it
    for (int e = 0; e < Result::num_elements; ++e) result.x[e] = sums[e];
}

inline float __float_to_tf32(float x) { return __uint_as_float((__float_as_uint(x) + 0x1000u) & ~0x1fffu); }
}  // namespace nvcuda::wmma
