// ONNX's Reduce* operators: for each what an element contributes, how two contributions combine, and what is made of the last; and
// how many vectors of elements a thread loads together.
//
// Sums and extrema of integers stay integers, of 64 bits; means, roots and logarithms of them are taken in double and truncated.

#pragma once

#include "functions.cuh"
#include "reduce.cuh"
#include "scalar.cuh"

template <typename T> struct Wide {
    static constexpr bool is_float = false;
    using type = long long;
};
template <> struct Wide<bool> { static constexpr bool is_float = false; using type = unsigned long long; };
template <> struct Wide<unsigned char> { static constexpr bool is_float = false; using type = unsigned long long; };
template <> struct Wide<unsigned int> { static constexpr bool is_float = false; using type = unsigned long long; };
template <> struct Wide<unsigned long long> { static constexpr bool is_float = false; using type = unsigned long long; };
template <> struct Wide<float> { static constexpr bool is_float = true; using type = float; };
template <> struct Wide<double> { static constexpr bool is_float = true; using type = double; };
template <> struct Wide<__half> { static constexpr bool is_float = true; using type = float; };
template <> struct Wide<__nv_bfloat16> { static constexpr bool is_float = true; using type = float; };

template <bool is_float, typename A> struct Real { using type = double; };
template <typename A> struct Real<true, A> { using type = A; };

template <typename A, typename T> __device__ inline A from_element(T value) { return static_cast<A>(widen(value)); }
template <typename T, typename A> __device__ inline T to_element(A value) { return narrow<T>(static_cast<accumulator_t<T>>(value)); }

// The least and the greatest value of T: infinities of floats.
template <typename T> __device__ inline typename Wide<T>::type least() {
    using A = typename Wide<T>::type;
    if constexpr (Wide<T>::is_float) return -infinity<A>();
    else if constexpr (A(-1) > A(0)) return 0;
    else return -static_cast<A>((~0ULL >> 1) >> (64 - 8 * sizeof(T))) - 1;
}
template <typename T> __device__ inline typename Wide<T>::type greatest() {
    using A = typename Wide<T>::type;
    if constexpr (Wide<T>::is_float) return infinity<A>();
    else if constexpr (A(-1) > A(0)) return sizeof(T) == 1 && T(2) == T(1) ? 1 : ~0ULL >> (64 - 8 * sizeof(T));
    else return static_cast<A>((~0ULL >> 1) >> (64 - 8 * sizeof(T)));
}

// What is subtracted before exponentials are taken: nothing where the greatest element is no finite number.
template <typename A, typename T> __device__ inline A finite_shift(const T* shift, long long result) {
    if (!shift) return A(0);
    const A value = from_element<A>(shift[result]);
    return value - value == A(0) ? value : A(0);
}

struct Exact {
    static constexpr int loads = 4;
    template <typename T> using accumulator = typename Wide<T>::type;
    template <typename A> __device__ static A term(A x, A) { return x; }
    template <typename A> __device__ static A finish(A value, A, A) { return value; }
};

struct ReduceSum : Exact {
    __device__ static Sum combine() { return {}; }
    template <typename T> __device__ static accumulator<T> neutral() { return 0; }
};

struct ReduceMax : Exact {
    __device__ static Maximum combine() { return {}; }
    template <typename T> __device__ static accumulator<T> neutral() { return least<T>(); }
};

struct ReduceMin : Exact {
    __device__ static Minimum combine() { return {}; }
    template <typename T> __device__ static accumulator<T> neutral() { return greatest<T>(); }
};

struct ReduceProd : Exact {
    __device__ static Product combine() { return {}; }
    template <typename T> __device__ static accumulator<T> neutral() { return 1; }
};

struct ReduceL1 : ReduceSum {
    template <typename A> __device__ static A term(A x, A) { return x < A(0) ? -x : x; }
};

struct ReduceSumSquare : ReduceSum {
    template <typename A> __device__ static A term(A x, A) { return x * x; }
};

struct RealSum {
    static constexpr int loads = 4;
    template <typename T> using accumulator = typename Real<Wide<T>::is_float, typename Wide<T>::type>::type;
    __device__ static Sum combine() { return {}; }
    template <typename T> __device__ static accumulator<T> neutral() { return 0; }
    template <typename A> __device__ static A term(A x, A) { return x; }
};

struct ReduceMean : RealSum {
    template <typename A> __device__ static A finish(A value, A count, A) { return count == A(0) ? value : value / count; }
};

struct ReduceL2 : RealSum {
    template <typename A> __device__ static A term(A x, A) { return x * x; }
    template <typename A> __device__ static A finish(A value, A, A) { return square_root(value); }
};

struct ReduceLogSum : RealSum {
    template <typename A> __device__ static A finish(A value, A, A) { return logarithm(value); }
};

struct ReduceLogSumExp : RealSum {
    static constexpr int loads = 1;
    template <typename A> __device__ static A term(A x, A shift) { return exponential(x - shift); }
    template <typename A> __device__ static A finish(A value, A, A shift) { return logarithm(value) + shift; }
};
