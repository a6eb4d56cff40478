// Elements of rows in order: a key that sorts as the element does, and where the element is in its row.
//
// A key and an index together are unique, but for those of items that stand for no element: they come last.

#pragma once

#include "order.cuh"

template <typename K> struct alignas(2 * sizeof(K)) Item {
    K key;
    unsigned index;

    static __device__ Item last() { return {static_cast<K>(~K(0)), ~0u}; }
    __device__ bool is_before(const Item& other) const {
        if constexpr (sizeof(K) == sizeof(unsigned)) return joined() < other.joined();
        else return key < other.key || (key == other.key && index < other.index);
    }
    __device__ unsigned long long joined() const { return static_cast<unsigned long long>(key) << 32 | index; }
};

// The item of an element, of which the greatest comes first if `is_descending`.
template <typename T> __device__ inline Item<order_key_t<T>> item_of(T element, unsigned index, bool is_descending) {
    const order_key_t<T> key = key_of(element);
    return {is_descending ? static_cast<order_key_t<T>>(~key) : key, index};
}
