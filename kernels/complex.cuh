// Complex numbers of two floats or doubles.

#pragma once

template <typename A> struct alignas(2 * sizeof(A)) Complex {
    A real, imaginary;
};

// total + a · b
template <typename A> __device__ inline Complex<A> multiply_add(Complex<A> total, Complex<A> a, Complex<A> b) {
    return {
        total.real + (a.real * b.real - a.imaginary * b.imaginary),
        total.imaginary + (a.real * b.imaginary + a.imaginary * b.real),
    };
}
