// Atomic combination of a value with what lies in memory, for every type: sum, product, maximum or minimum.
//
// The hardware's own operations where it has them; otherwise compare and swap of the 2, 4 or 8 bytes that hold the element.

#pragma once

#include "reduce.cuh"
#include "scalar.cuh"
#include "unit.cuh"

template <typename A, typename B> struct IsSame { static constexpr bool value = false; };
template <typename A> struct IsSame<A, A> { static constexpr bool value = true; };

template <typename T> struct Atomics { static constexpr bool adds = false, compares = false; };
template <> struct Atomics<float> { static constexpr bool adds = true, compares = false; };
template <> struct Atomics<double> { static constexpr bool adds = true, compares = false; };
template <> struct Atomics<__half> { static constexpr bool adds = true, compares = false; };
template <> struct Atomics<int> { static constexpr bool adds = true, compares = true; };
template <> struct Atomics<unsigned int> { static constexpr bool adds = true, compares = true; };
template <> struct Atomics<long long> { static constexpr bool adds = false, compares = true; };
template <> struct Atomics<unsigned long long> { static constexpr bool adds = true, compares = true; };

template <typename To, typename From> __device__ inline To same_bits(const From& value) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}

template <typename T, typename Combine> __device__ inline T combined(T a, T b, Combine combine) {
    return narrow<T>(combine(widen(a), widen(b)));
}

template <typename Word, typename Function> __device__ inline void swap_until_done(Word* address, Function function) {
    Word seen = atomicCAS(address, Word(0), Word(0)), expected;
    do {
        expected = seen;
        seen = atomicCAS(address, expected, function(expected));
    } while (seen != expected);
}

// GPUs swap no single bytes: the word around it is swapped. Allocations end at word boundaries on a GPU; emulated ones end anywhere.
template <typename T, typename Combine> __device__ inline void combine_byte(T* address, T value, Combine combine) {
    const auto with_value = [=](unsigned char old) { return same_bits<unsigned char>(combined(same_bits<T>(old), value, combine)); };
#ifdef ONNXGPU_EMULATED_DEVICE
    swap_until_done(reinterpret_cast<unsigned char*>(address), with_value);
#else
    const Address place = reinterpret_cast<Address>(address);
    const int shift = 8 * static_cast<int>(place % 4);
    swap_until_done(reinterpret_cast<unsigned int*>(place - place % 4), [=](unsigned int old) {
        return (old & ~(0xffu << shift)) | static_cast<unsigned int>(with_value(static_cast<unsigned char>(old >> shift))) << shift;
    });
#endif
}

template <typename T, typename Combine> __device__ inline void combine_at(T* address, T value, Combine combine) {
    if constexpr (IsSame<Combine, Sum>::value && Atomics<T>::adds) atomicAdd(address, value);
    else if constexpr (IsSame<Combine, Sum>::value && IsSame<T, long long>::value)
        atomicAdd(reinterpret_cast<unsigned long long*>(address), static_cast<unsigned long long>(value));
    else if constexpr (IsSame<Combine, Maximum>::value && Atomics<T>::compares) atomicMax(address, value);
    else if constexpr (IsSame<Combine, Minimum>::value && Atomics<T>::compares) atomicMin(address, value);
    else if constexpr (sizeof(T) == 1) combine_byte(address, value, combine);
    else {
        using Word = unit_t<sizeof(T)>;
        swap_until_done(reinterpret_cast<Word*>(address), [=](Word old) { return same_bits<Word>(combined(same_bits<T>(old), value, combine)); });
    }
}
