// What kernels of convolutions share: where windows lie, and what becomes of a sum before it is stored.
//
// Convolutions have three spatial axes; fewer have ones in front. All sizes fit into 31 bits, and so do the elements of the tensors.

#pragma once

#include "functions.cuh"
#include "scalar.cuh"

// Of one spatial axis. Element k of window number o is input element o · stride - begin + k · dilation. Of a transposed convolution,
// whose windows lie over the result, input element i adds to output element i · stride - begin + k · dilation.
struct Axis {
    int size, out_size, kernel, stride, dilation, begin;  // sizes of the input and of the output
};

struct Convolution {
    Axis axis[3];
    int batch, groups, channels, maps;  // channels and maps of a group

    __device__ int input_size() const { return axis[0].size * axis[1].size * axis[2].size; }
    __device__ int output_size() const { return axis[0].out_size * axis[1].out_size * axis[2].out_size; }
    __device__ int taps() const { return axis[0].kernel * axis[1].kernel * axis[2].kernel; }
};

__device__ inline bool is_within(int place, int size) { return static_cast<unsigned>(place) < static_cast<unsigned>(size); }

// Activations, as two forms with an optional factor x (of x as `slope` leaves it): clip(factor · x + offset, low, high), negative x
// multiplied with `slope` before, and the sigmoid of rate · x.
template <typename A> struct Activation {
    A slope, factor, offset, low, high, rate, is_gate, is_curved;

    __device__ A operator()(A x) const {
        if (is_curved != A(0)) {
            const A gate = sigmoid(rate * x);
            return is_gate != A(0) ? x * gate : gate;
        }
        const A bent = x < A(0) ? slope * x : x, gate = clip(factor * bent + offset, low, high);
        return is_gate != A(0) ? bent * gate : gate;
    }
};

// activation(sum + bias + residual); the residual lies as the result does, and both may be null.
template <typename T> struct Ending {
    const T *bias, *residual;
    Activation<accumulator_t<T>> activation;

    __device__ accumulator_t<T> bias_of(int map) const { return bias ? widen(bias[map]) : accumulator_t<T>(0); }
    __device__ T operator()(accumulator_t<T> sum, accumulator_t<T> added, long long index) const {
        return narrow<T>(activation(sum + added + (residual ? widen(residual[index]) : accumulator_t<T>(0))));
    }
};

// Neighbouring results that one store writes.
template <typename T, int count> struct alignas(sizeof(T) * count) Pack {
    T element[count];
};
