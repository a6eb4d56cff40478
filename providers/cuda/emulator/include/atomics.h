// Atomic operations. All fibers run in one thread of the host, so a plain read and write is atomic; the checker is told
// that the accesses between the two calls are one.
#pragma once

extern "C" {
void emulated_atomic_begin();
void emulated_atomic_end();
}

template <typename T> struct EmulatedIdentity { using type = T; };
template <typename T> using EmulatedSame = typename EmulatedIdentity<T>::type;

#define EMULATED_ATOMIC(NAME, RESULT)                                                              \
    template <typename T> EMULATED_INLINE T NAME(T* address, EmulatedSame<T> value) {               \
        emulated_atomic_begin();                                                                   \
        const T old = *address;                                                                    \
        *address = (RESULT);                                                                       \
        emulated_atomic_end();                                                                     \
        return old;                                                                                \
    }                                                                                              \
    template <typename T> EMULATED_INLINE T NAME##_block(T* address, EmulatedSame<T> value) {       \
        return NAME(address, value);                                                               \
    }                                                                                              \
    template <typename T> EMULATED_INLINE T NAME##_system(T* address, EmulatedSame<T> value) {      \
        return NAME(address, value);                                                               \
    }

EMULATED_ATOMIC(atomicAdd, T(old + value))
EMULATED_ATOMIC(atomicSub, T(old - value))
EMULATED_ATOMIC(atomicExch, value)
EMULATED_ATOMIC(atomicMin, value < old ? value : old)
EMULATED_ATOMIC(atomicMax, value > old ? value : old)
EMULATED_ATOMIC(atomicAnd, T(old & value))
EMULATED_ATOMIC(atomicOr, T(old | value))
EMULATED_ATOMIC(atomicXor, T(old ^ value))
EMULATED_ATOMIC(atomicInc, old >= value ? T(0) : T(old + 1))
EMULATED_ATOMIC(atomicDec, (old == 0 || old > value) ? value : T(old - 1))

template <typename T> EMULATED_INLINE T atomicCAS(T* address, EmulatedSame<T> compare, EmulatedSame<T> value) {
    emulated_atomic_begin();
    const T old = *address;
    if (!memcmp(&old, &compare, sizeof(T))) *address = value;
    emulated_atomic_end();
    return old;
}
