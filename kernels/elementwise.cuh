// Applies a function of several operands to every element: what generated kernels are made of.
//
//   elementwise_dense       all operands have the result's shape, or one element (the bits of `scalars` say which)
//   elementwise_broadcast   operands of any strides over up to MOST_AXES collapsed axes, 16 bytes a load where `width` says that they can be
//   launch                  any number of blocks and threads: both walk the range with a grid-stride loop
//
// The function takes and gives accumulators: float for float16 and bfloat16. The result may be written over an operand.

#pragma once

#include "functions.cuh"
#include "scalar.cuh"
#include "vector.cuh"

constexpr int MOST_AXES = 8;

template <typename T, int N> struct Operands {
    const T* data[N];
};

template <int N> struct Layout {
    long long sizes[MOST_AXES];       // innermost last; unused axes in front have size 1
    long long strides[N][MOST_AXES];  // in elements, 0 where an operand repeats
};

template <typename Function, typename A> __device__ inline A apply(Function f, const A (&v)[1]) { return f(v[0]); }
template <typename Function, typename A> __device__ inline A apply(Function f, const A (&v)[2]) { return f(v[0], v[1]); }
template <typename Function, typename A> __device__ inline A apply(Function f, const A (&v)[3]) { return f(v[0], v[1], v[2]); }
template <typename Function, typename A> __device__ inline A apply(Function f, const A (&v)[4]) { return f(v[0], v[1], v[2], v[3]); }
template <typename Function, typename A> __device__ inline A apply(Function f, const A (&v)[5]) { return f(v[0], v[1], v[2], v[3], v[4]); }
template <typename Function, typename A> __device__ inline A apply(Function f, const A (&v)[6]) { return f(v[0], v[1], v[2], v[3], v[4], v[5]); }

template <typename T, typename Function, int N, unsigned scalars>
__device__ inline void elementwise_dense(const Operands<T, N>& x, T* y, long long count) {
    using A = accumulator_t<T>;
    constexpr int width = Vector<T>::count;
    A values[N];
    bool is_aligned = is_vector_aligned(y);
#pragma unroll
    for (int n = 0; n < N; ++n) {
        if (scalars >> n & 1) values[n] = widen(x.data[n][0]);
        else is_aligned = is_aligned && is_vector_aligned(x.data[n]);
    }
    const long long vectors = is_aligned ? count / width : 0;
    for (long long v = thread_index(); v < vectors; v += thread_count()) {
        Vector<T> in[N], out;
#pragma unroll
        for (int n = 0; n < N; ++n)
            if (!(scalars >> n & 1)) in[n] = load_vector(x.data[n] + v * width);
#pragma unroll
        for (int k = 0; k < width; ++k) {
#pragma unroll
            for (int n = 0; n < N; ++n)
                if (!(scalars >> n & 1)) values[n] = widen(in[n].element[k]);
            out.element[k] = narrow<T>(apply(Function(), values));
        }
        store_vector(y + v * width, out);
    }
    for (long long i = vectors * width + thread_index(); i < count; i += thread_count()) {
#pragma unroll
        for (int n = 0; n < N; ++n)
            if (!(scalars >> n & 1)) values[n] = widen(x.data[n][i]);
        y[i] = narrow<T>(apply(Function(), values));
    }
}

// Where the operands' elements lie for number `index` of the result, counted in `width` neighbours along the innermost axis.
template <int axes, int width, int N> __device__ inline void locate(const Layout<N>& layout, long long index, long long (&offset)[N]) {
#pragma unroll
    for (int axis = MOST_AXES - 1; axis >= MOST_AXES - axes; --axis) {
        const int together = axis == MOST_AXES - 1 ? width : 1;
        const long long size = layout.sizes[axis] / together, rest = axis == MOST_AXES - axes ? 0 : quotient(index, size);
        const long long place = (index - rest * size) * together;
#pragma unroll
        for (int n = 0; n < N; ++n) offset[n] += place * layout.strides[n][axis];
        index = rest;
    }
}

// Where `width` is not 1, the innermost axis and all strides but along it are multiples of it, and along it they are 1 or 0.
template <typename T, typename Function, int N, int axes, int width>
__device__ inline void elementwise_broadcast(const Operands<T, N>& x, T* y, const Layout<N>& layout, long long count) {
    using A = accumulator_t<T>;
    A values[N];
    if constexpr (width > 1) {
        static_assert(width == Vector<T>::count, "a load is a vector");
        constexpr int last = MOST_AXES - 1;
        bool is_aligned = is_vector_aligned(y);
#pragma unroll
        for (int n = 0; n < N; ++n) is_aligned = is_aligned && (!layout.strides[n][last] || is_vector_aligned(x.data[n]));
        if (is_aligned) {
            for (long long v = thread_index(); v < count / width; v += thread_count()) {
                long long offset[N] = {};
                locate<axes, width>(layout, v, offset);
                Vector<T> in[N], out;
#pragma unroll
                for (int n = 0; n < N; ++n) {
                    if (layout.strides[n][last]) {
                        in[n] = load_vector(x.data[n] + offset[n]);
                    } else {
                        const T repeated = x.data[n][offset[n]];
#pragma unroll
                        for (int k = 0; k < width; ++k) in[n].element[k] = repeated;
                    }
                }
#pragma unroll
                for (int k = 0; k < width; ++k) {
#pragma unroll
                    for (int n = 0; n < N; ++n) values[n] = widen(in[n].element[k]);
                    out.element[k] = narrow<T>(apply(Function(), values));
                }
                store_vector(y + v * width, out);
            }
            return;
        }
    }
    for (long long i = thread_index(); i < count; i += thread_count()) {
        long long offset[N] = {};
        locate<axes, 1>(layout, i, offset);
#pragma unroll
        for (int n = 0; n < N; ++n) values[n] = widen(x.data[n][offset[n]]);
        y[i] = narrow<T>(apply(Function(), values));
    }
}
