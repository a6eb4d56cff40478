// Operations in which the lanes of a warp meet: shuffles, votes, matches and reductions.
#pragma once

enum EmulatedWarpOperation { WARP_SHUFFLE, WARP_BALLOT, WARP_MATCH, WARP_GATHER, WARP_SYNCHRONIZE };
constexpr unsigned FULL_WARP = 0xffffffffu;

extern "C" {
void emulated_warp(int operation, unsigned mask, const void* value, int bytes, int source, void* result, const char* file, int line);
unsigned emulated_active_lanes();
}

inline unsigned __activemask() { return emulated_active_lanes(); }

inline void __syncwarp(unsigned mask = FULL_WARP, EMULATED_CALLER) {
    emulated_warp(WARP_SYNCHRONIZE, mask, nullptr, 0, 0, nullptr, file, line);
}

template <typename T> inline T emulated_shuffle(unsigned mask, T value, int source, const char* file, int line) {
    T result;
    emulated_warp(WARP_SHUFFLE, mask, &value, sizeof(T), source, &result, file, line);
    return result;
}

template <typename T> inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATED_CALLER) {
    const int lane = emulated_thread->lane;
    return emulated_shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), file, line);
}

template <typename T> inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, EMULATED_CALLER) {
    const int lane = emulated_thread->lane;
    const int source = lane ^ bits;
    const bool inside = (source & ~(width - 1)) <= (lane & ~(width - 1));
    return emulated_shuffle(mask, value, inside ? source : lane, file, line);
}

template <typename T> inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_CALLER) {
    const int lane = emulated_thread->lane;
    const bool inside = (lane & (width - 1)) + static_cast<int>(delta) < width;
    return emulated_shuffle(mask, value, inside ? lane + static_cast<int>(delta) : lane, file, line);
}

template <typename T> inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_CALLER) {
    const int lane = emulated_thread->lane;
    const bool inside = (lane & (width - 1)) >= static_cast<int>(delta);
    return emulated_shuffle(mask, value, inside ? lane - static_cast<int>(delta) : lane, file, line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATED_CALLER) {
    const int vote = !!predicate;
    unsigned result;
    emulated_warp(WARP_BALLOT, mask, &vote, sizeof vote, 0, &result, file, line);
    return result;
}

inline int __any_sync(unsigned mask, int predicate, EMULATED_CALLER) { return __ballot_sync(mask, predicate, file, line) != 0; }
inline int __all_sync(unsigned mask, int predicate, EMULATED_CALLER) { return __ballot_sync(mask, !predicate, file, line) == 0; }

template <typename T> inline unsigned __match_any_sync(unsigned mask, T value, EMULATED_CALLER) {
    unsigned result;
    emulated_warp(WARP_MATCH, mask, &value, sizeof(T), 0, &result, file, line);
    return result;
}

template <typename T> inline unsigned __match_all_sync(unsigned mask, T value, int* equal, EMULATED_CALLER) {
    const unsigned same = __match_any_sync(mask, value, file, line);
    *equal = same == mask;
    return *equal ? mask : 0;
}

template <typename T, typename Function>
inline T emulated_reduce(unsigned mask, T value, Function function, const char* file, int line) {
    T result{};
    bool first = true;
    for (int lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1)) continue;
        const T other = emulated_shuffle(mask, value, lane, file, line);
        result = first ? other : function(result, other);
        first = false;
    }
    return result;
}

template <typename T> inline T __reduce_add_sync(unsigned mask, T value, EMULATED_CALLER) {
    return emulated_reduce(mask, value, [](T a, T b) { return T(a + b); }, file, line);
}
template <typename T> inline T __reduce_max_sync(unsigned mask, T value, EMULATED_CALLER) {
    return emulated_reduce(mask, value, [](T a, T b) { return a > b ? a : b; }, file, line);
}
template <typename T> inline T __reduce_min_sync(unsigned mask, T value, EMULATED_CALLER) {
    return emulated_reduce(mask, value, [](T a, T b) { return a < b ? a : b; }, file, line);
}
template <typename T> inline T __reduce_and_sync(unsigned mask, T value, EMULATED_CALLER) {
    return emulated_reduce(mask, value, [](T a, T b) { return T(a & b); }, file, line);
}
template <typename T> inline T __reduce_or_sync(unsigned mask, T value, EMULATED_CALLER) {
    return emulated_reduce(mask, value, [](T a, T b) { return T(a | b); }, file, line);
}

// `values[lane]` is what each lane holds: how fragments of several lanes become one matrix.
template <typename T> inline void emulated_gather(const T& value, T (&values)[32], EMULATED_CALLER) {
    emulated_warp(WARP_GATHER, FULL_WARP, &value, sizeof(T), 0, values, file, line);
}
