// Concat: rows of several arrays one behind the other, up to MOST_PIECES arrays in one launch.
//
//   piece       [outer, span]: rows of `span` units, `step` units apart
//   y           [outer, total]; the piece's rows begin at `begin`
//   launch      (any number of blocks, pieces), any number of threads

#include "unit.cuh"

constexpr int MOST_PIECES = 32;

struct Pieces {
    const void* data[MOST_PIECES];
    long long span[MOST_PIECES];
    long long step[MOST_PIECES];
    long long begin[MOST_PIECES];
};

template <int bytes> __global__ void __launch_bounds__(256) concatenate(Pieces pieces, void* y, long long outer, long long total) {
    using U = unit_t<bytes>;
    const int piece = blockIdx.y;
    const U* source = static_cast<const U*>(pieces.data[piece]);
    U* target = static_cast<U*>(y) + pieces.begin[piece];
    const long long span = pieces.span[piece], step = pieces.step[piece];
    for_each_unit(outer * span, [&](auto i) {
        using Index = decltype(i);
        const long long row = i / static_cast<Index>(span), place = i % static_cast<Index>(span);
        store_unit(target + row * total + place, load_unit(source + row * step + place));
    });
}
