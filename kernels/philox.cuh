// Philox4x32-10, a generator whose numbers are a function of their place in the series alone.
//
// J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3. SC11, 2011.

#pragma once

struct alignas(16) RandomBits {
    unsigned word[4];
};

__device__ inline RandomBits philox(RandomBits counter, unsigned key_low, unsigned key_high) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned long long a = 0xD2511F53ull * counter.word[0], b = 0xCD9E8D57ull * counter.word[2];
        counter = {{
            static_cast<unsigned>(b >> 32) ^ counter.word[1] ^ key_low, static_cast<unsigned>(b),
            static_cast<unsigned>(a >> 32) ^ counter.word[3] ^ key_high, static_cast<unsigned>(a)
        }};
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
    return counter;
}

// Number `index` of the series that `seed` names.
__device__ inline RandomBits random_bits(long long seed, long long index) {
    const unsigned long long key = seed, place = index;
    return philox({{static_cast<unsigned>(place), static_cast<unsigned>(place >> 32), 0u, 0u}}, static_cast<unsigned>(key), static_cast<unsigned>(key >> 32));
}

// Uniform in [0, 1): as many as fit into the bits, with all the bits that the type has.
template <typename A> struct Uniform;
template <> struct Uniform<float> {
    static constexpr int count = 4;
    static __device__ float of(const RandomBits& bits, int n) { return (bits.word[n] >> 8) * 5.9604644775390625e-8f; }
};
template <> struct Uniform<double> {
    static constexpr int count = 2;
    static __device__ double of(const RandomBits& bits, int n) {
        const unsigned long long wide = static_cast<unsigned long long>(bits.word[2 * n]) << 32 | bits.word[2 * n + 1];
        return (wide >> 11) * 1.1102230246251565404e-16;
    }
};
