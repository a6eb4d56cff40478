// A convolution of each channel over what was and is: y[t] = activation(bias + Σ weight[tap] · source[t + tap · dilation]).
//
//   source    what was, `kept` = (taps - 1) · dilation elements, and x behind it, along one axis
//   x, y      [batch, channels, length], or [batch, length, channels] if `is_last`
//   past      as x, with `kept` in place of length; null: zero. present: the last `kept` elements of the source
//   weight    [channels, taps]; bias [channels] or null
//   launch    any number of blocks and threads: an element of y or of present a thread at a time

#include "functions.cuh"
#include "unit.cuh"

struct Convolution {
    long long batch, channels, length, taps, dilation, kept, is_last, is_silu;
};

__device__ inline long long place_of(const Convolution& s, long long batch, long long channel, long long t, long long length) {
    return s.is_last ? (batch * length + t) * s.channels + channel : (batch * s.channels + channel) * length + t;
}

template <typename T>
__global__ void __launch_bounds__(256) causal_convolution(
    const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias, const T* __restrict__ past, T* __restrict__ y,
    T* __restrict__ present, Convolution s
) {
    using A = accumulator_t<T>;
    const long long span = s.length + s.kept;
    for_each_unit(s.batch * s.channels * span, [&](auto i) {
        using I = decltype(i);
        const I channels = s.channels, each = span;
        const I channel = s.is_last ? i % channels : i / each % channels;
        const I t = s.is_last ? i / channels % each : i % each, batch = i / channels / each;
        const auto source = [&](long long at) {
            if (at >= s.kept) return x[place_of(s, batch, channel, at - s.kept, s.length)];
            return past ? past[place_of(s, batch, channel, at, s.kept)] : narrow<T>(A(0));
        };
        if (t >= s.length) {
            present[place_of(s, batch, channel, t - s.length, s.kept)] = source(t);
            return;
        }
        A sum = 0;
        for (int tap = 0; tap < s.taps; ++tap) sum += widen(source(t + tap * s.dilation)) * widen(weight[channel * s.taps + tap]);
        if (bias) sum += widen(bias[channel]);
        y[place_of(s, batch, channel, t, s.length)] = narrow<T>(s.is_silu ? silu(sum) : sum);
    });
}
