// Division by a number that the host knows: n / divisor = (n · multiplier / 2^32 + n) / 2^shift for n below 2^31.
// Source: https://gmplib.org/~tege/divcnst-pldi94.pdf

#pragma once

struct Division {
    unsigned divisor, multiplier, shift;

    __device__ unsigned operator()(unsigned n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};
