// Where: x where the condition holds, y elsewhere.
//
//   choose_dense      all arrays have the result's shape, x and y one element if their bit of `scalars` is set; 16-byte loads
//   choose_broadcast  any strides, 0 where an array repeats
//   launch            any number of blocks and threads; the result may be written over x or y

#include "axes.cuh"
#include "unit.cuh"

constexpr int FIRST_IS_SCALAR = 1, SECOND_IS_SCALAR = 2;

template <int width> struct alignas(width) Flags {
    bool flag[width];
};

template <int bytes>
__global__ void __launch_bounds__(256) choose_dense(
    const bool* condition, const void* x, const void* y, void* out, int scalars, long long count
) {
    using U = unit_t<bytes>;
    constexpr int width = Vector<U>::count;
    const U *first = static_cast<const U*>(x), *second = static_cast<const U*>(y);
    U* target = static_cast<U*>(out);
    const bool is_first_scalar = scalars & FIRST_IS_SCALAR, is_second_scalar = scalars & SECOND_IS_SCALAR;
    const bool is_aligned = is_vector_aligned(target) && (is_first_scalar || is_vector_aligned(first)) &&
                            (is_second_scalar || is_vector_aligned(second)) && reinterpret_cast<Address>(condition) % width == 0;
    const long long vectors = is_aligned ? count / width : 0;
    Vector<U> a, b;
    if (is_first_scalar) for (int k = 0; k < width; ++k) a.element[k] = first[0];
    if (is_second_scalar) for (int k = 0; k < width; ++k) b.element[k] = second[0];
    for (long long v = thread_index(); v < vectors; v += thread_count()) {
        const Flags<width> flags = *reinterpret_cast<const Flags<width>*>(condition + v * width);
        if (!is_first_scalar) a = load_vector(first + v * width);
        if (!is_second_scalar) b = load_vector(second + v * width);
        Vector<U> chosen;
#pragma unroll
        for (int k = 0; k < width; ++k) chosen.element[k] = flags.flag[k] ? a.element[k] : b.element[k];
        store_vector(target + v * width, chosen);
    }
    for (long long i = vectors * width + thread_index(); i < count; i += thread_count())
        target[i] = condition[i] ? first[is_first_scalar ? 0 : i] : second[is_second_scalar ? 0 : i];
}

// `both.from` and `both.to` are the strides of x and of y, `flags.from` those of the condition.
template <int bytes>
__global__ void __launch_bounds__(256) choose_broadcast(
    const bool* condition, const void* x, const void* y, void* out, Axes both, Axes flags, long long count
) {
    using U = unit_t<bytes>;
    for_each_unit(count, [&](auto i) {
        long long first = 0, second = 0, flag = 0, unused = 0;
        locate(both, i, first, second);
        locate(flags, i, flag, unused);
        store_unit(static_cast<U*>(out) + i, condition[flag] ? load_unit(static_cast<const U*>(x) + first) : load_unit(static_cast<const U*>(y) + second));
    });
}
