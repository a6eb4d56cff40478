// What kernels of convolutions share: where windows lie, and what becomes of a sum before it is stored.
//
// Convolutions have three spatial axes; fewer have ones in front. All sizes fit into 31 bits, and so do the elements of the tensors.

#pragma once

#include "division.cuh"
#include "scalar.cuh"

// Of one spatial axis. Element k of window number o is input element o · stride - begin + k · dilation. Of a transposed convolution,
// whose windows lie over the result, input element i adds to output element i · stride - begin + k · dilation.
struct Axis {
    int size, out_size, kernel, stride, dilation, begin;  // sizes of the input and of the output
};

struct Convolution {
    Axis axis[3];
    int batch, groups, channels, maps;  // channels and maps of a group
    Division line, face, kernel;        // by the taps along the last axis, along the last two, along all

    __device__ int input_size() const { return axis[0].size * axis[1].size * axis[2].size; }
    __device__ int output_size() const { return axis[0].out_size * axis[1].out_size * axis[2].out_size; }
    __device__ int taps() const { return axis[0].kernel * axis[1].kernel * axis[2].kernel; }
};

__device__ inline bool is_within(int place, int size) { return static_cast<unsigned>(place) < static_cast<unsigned>(size); }

// visit(value) for each value of an array of any rank, in registers.
template <typename A, typename Visit> __device__ inline void for_each_value(A& value, const Visit& visit) { visit(value); }
template <typename Inner, int count, typename Visit> __device__ inline void for_each_value(Inner (&values)[count], const Visit& visit) {
#pragma unroll
    for (int i = 0; i < count; ++i) for_each_value(values[i], visit);
}

__device__ inline float reciprocal(float x) { return __fdividef(1.0f, x); }
__device__ inline double reciprocal(double x) { return 1.0 / x; }

// Activations, as two forms with an optional factor x (of x as `slope` leaves it): clip(factor · x + offset, low, high), negative x
// multiplied with `slope` before, and the sigmoid of rate · x.
enum ActivationForm { NO_ACTIVATION, STRAIGHT, CURVED };

template <typename A> struct Activation {
    A slope, factor, offset, low, high, rate, is_gate, form;

    template <typename Values> __device__ void operator()(Values& values) const {
        if (form == A(STRAIGHT)) {
            for_each_value(values, [this](A& x) {
                const A bent = x < A(0) ? slope * x : x, line = factor * bent + offset;
                const A gate = line < low ? low : line > high ? high : line;
                x = is_gate != A(0) ? bent * gate : gate;
            });
        } else if (form == A(CURVED)) {
            for_each_value(values, [this](A& x) {
                const A gate = reciprocal(A(1) + exponential(-rate * x));
                x = is_gate != A(0) ? x * gate : gate;
            });
        }
    }
};

// activation(sum + bias + residual); the residual lies as the result does, and both may be null.
template <typename T> struct Ending {
    const T *bias, *residual;
    Activation<accumulator_t<T>> activation;

    __device__ accumulator_t<T> bias_of(int map) const { return bias ? widen(bias[map]) : accumulator_t<T>(0); }
};

// Neighbouring results that one store writes.
template <typename T, int count> struct alignas(sizeof(T) * count) Pack {
    T element[count];
};
