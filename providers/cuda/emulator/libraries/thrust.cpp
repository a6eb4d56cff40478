// Sorting. CuPy's extension for Thrust exports these C++ functions and calls them through its own symbol table, so that
// definitions which are loaded earlier take their place.
#include "library.h"

#include <cuda_fp16.h>

#include <algorithm>
#include <complex>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <vector>

namespace {

// NaN comes last, complex numbers in lexicographic order, as in NumPy.
template <typename T> bool is_less(const T& a, const T& b) {
    if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>)
        return is_less(a.real(), b.real()) || (!is_less(b.real(), a.real()) && is_less(a.imag(), b.imag()));
    else if constexpr (std::is_same_v<T, __half>) return is_less(__half2float(a), __half2float(b));
    else if constexpr (std::is_floating_point_v<T>) return a < b || (b != b && a == a);
    else return a < b;
}

// function(T*) for CuPy's number of a dtype.
template <typename Function> int for_type(int number, Function function) {
    switch (number) {
        case 0: return function(static_cast<int8_t*>(nullptr));
        case 1: return function(static_cast<uint8_t*>(nullptr));
        case 2: return function(static_cast<int16_t*>(nullptr));
        case 3: return function(static_cast<uint16_t*>(nullptr));
        case 4: return function(static_cast<int32_t*>(nullptr));
        case 5: return function(static_cast<uint32_t*>(nullptr));
        case 6: return function(static_cast<int64_t*>(nullptr));
        case 7: return function(static_cast<uint64_t*>(nullptr));
        case 8: return function(static_cast<__half*>(nullptr));
        case 9: return function(static_cast<float*>(nullptr));
        case 10: return function(static_cast<double*>(nullptr));
        case 11: return function(static_cast<std::complex<float>*>(nullptr));
        case 12: return function(static_cast<std::complex<double>*>(nullptr));
        case 13: return function(static_cast<bool*>(nullptr));
        default: return 801;
    }
}

size_t rows_of(const std::vector<ptrdiff_t>& shape) {
    return std::accumulate(shape.begin(), shape.end() - 1, size_t(1), std::multiplies<>());
}

}  // namespace

void thrust_sort(int type, void* data, size_t*, const std::vector<ptrdiff_t>& shape, intptr_t stream, void*) {
    const size_t rows = rows_of(shape), count = shape.back();
    submit(reinterpret_cast<void*>(stream), [=] {
        return for_type(type, [=](auto* none) {
            auto* values = static_cast<decltype(none)>(data);
            if (!emulated_is_inside(data, rows * count * sizeof *values)) return ILLEGAL_ADDRESS;
            for (size_t row = 0; row < rows; ++row)
                std::stable_sort(values + row * count, values + (row + 1) * count, is_less<std::remove_pointer_t<decltype(none)>>);
            return 0;
        });
    });
}

void thrust_argsort(int type, size_t* indices, void* data, void*, const std::vector<ptrdiff_t>& shape, intptr_t stream, void*) {
    const size_t rows = rows_of(shape), count = shape.back();
    submit(reinterpret_cast<void*>(stream), [=] {
        return for_type(type, [=](auto* none) {
            for (size_t row = 0; row < rows; ++row) {
                const auto* keys = static_cast<decltype(none)>(data) + row * count;
                size_t* order = indices + row * count;
                std::iota(order, order + count, 0);
                std::stable_sort(order, order + count, [=](size_t a, size_t b) { return is_less(keys[a], keys[b]); });
            }
            emulated_mark_written(indices, rows * count * sizeof *indices);
            return 0;
        });
    });
}

void thrust_lexsort(int type, size_t* order, void* data, size_t keys, size_t count, intptr_t stream, void*) {
    submit(reinterpret_cast<void*>(stream), [=] {
        return for_type(type, [=](auto* none) {
            const auto* values = static_cast<decltype(none)>(data);
            std::iota(order, order + count, 0);
            for (size_t key = 0; key < keys; ++key)
                std::stable_sort(order, order + count, [=](size_t a, size_t b) { return is_less(values[key * count + a], values[key * count + b]); });
            emulated_mark_written(order, count * sizeof *order);
            return 0;
        });
    });
}
