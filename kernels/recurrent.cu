// A step of RNN, GRU and LSTM behind its matrix products: gates, clipping, activations and the new states.
//
//   inputs                    the input's share of the gates of all steps: [steps, batch, directions · gates · size], or [batch, steps, …]
//   recurrence                the states' share, [directions, batch, gates · size]; not read where the states are zero
//   bias                      [directions, 2, gates · size], the input's and the states'; null for none
//   lengths                   [batch], how many steps each sequence has; null: all
//   first_hidden/memory       [directions, batch, size] of any strides but the last: states before the first step; null: zero
//   hidden, memory            [directions, batch, size]: the states after a step
//   y                         all hidden states, of any strides but the last; zero behind a sequence's end
//   last_hidden/memory        where the last step leaves its states; null: not wanted
//   step                      counted from 0
//   launch                    any number of blocks and threads: a feature of a state a thread at a time
//
// A sequence that is read backwards begins at its own end. float16 and bfloat16 are computed in float32, LSTM's memory is kept in it.

#include "functions.cuh"
#include "unit.cuh"

struct Step {
    long long directions, batch, size, steps, backwards;
    long long input_step, input_batch, first_direction, first_batch, y_step, y_batch, y_direction, last_direction, last_batch;
    double limit;
};

enum ActivationKind { AFFINE, RELU, LEAKY_RELU, THRESHOLDED_RELU, TANH, SCALED_TANH, SIGMOID, HARD_SIGMOID, ELU, SOFTSIGN, SOFTPLUS };

struct Activation {
    long long kind;
    double alpha, beta;
};

struct Activations {
    Activation of[2][3];
};

template <typename A> __device__ inline A activated(const Activation& function, A x) {
    const A alpha = A(function.alpha), beta = A(function.beta);
    switch (function.kind) {
        case AFFINE: return alpha * x + beta;
        case RELU: return relu(x);
        case LEAKY_RELU: return leaky_relu(x, alpha);
        case THRESHOLDED_RELU: return thresholded_relu(x, alpha);
        case SCALED_TANH: return alpha * hyperbolic_tangent(beta * x);
        case SIGMOID: return sigmoid(x);
        case HARD_SIGMOID: return hard_sigmoid(x, alpha, beta);
        case ELU: return elu(x, alpha);
        case SOFTSIGN: return softsign(x);
        case SOFTPLUS: return softplus(x);
        default: return hyperbolic_tangent(x);
    }
}

// The functions of one direction; those that ONNX has by default are known to the compiler.
template <bool is_default> struct Functions {
    const Activation* of;
    double limit;

    template <typename A> __device__ A clipped(A x) const { return limit > 0 ? clip(x, A(-limit), A(limit)) : x; }
    template <typename A> __device__ A gate(A x) const { return is_default ? sigmoid(clipped(x)) : activated(of[0], clipped(x)); }
    template <typename A> __device__ A candidate(A x, int which) const {
        return is_default ? hyperbolic_tangent(clipped(x)) : activated(of[which], clipped(x));
    }
    template <typename A> __device__ A output(A x) const { return is_default ? hyperbolic_tangent(x) : activated(of[2], x); }
};

// A feature of a state, and the step of the input that it reads now.
struct Place {
    unsigned index, direction, batch, feature;
    long long step;
    bool is_alive;
};

__device__ inline Place place_of(const Step& s, const int* lengths, long long step, unsigned i) {
    const unsigned size = s.size, batch = s.batch;
    Place p = {i, i / size / batch, i / size % batch, i % size, step, true};
    const long long length = lengths && lengths[p.batch] < s.steps ? lengths[p.batch] : s.steps;
    p.is_alive = step < length;
    if (p.is_alive && s.backwards >> p.direction & 1) p.step = length - 1 - step;
    return p;
}

// function(place) for all places, shared among all threads.
template <typename Function> __device__ inline void for_each_place(const Step& s, const int* lengths, long long step, Function function) {
    for_each_unit(s.directions * s.batch * s.size, [&](auto i) { function(place_of(s, lengths, step, static_cast<unsigned>(i))); });
}

template <typename T> struct Gates {
    const T *inputs, *recurrence, *bias;
    int count;

    __device__ accumulator_t<T> input(const Step& s, const Place& p, int gate) const {
        const long long width = count * s.size, feature = gate * s.size + p.feature;
        const accumulator_t<T> value = widen(inputs[p.step * s.input_step + p.batch * s.input_batch + p.direction * width + feature]);
        return bias ? value + widen(bias[p.direction * 2 * width + feature]) : value;
    }

    // `of` gates have a share in `recurrence`, whose first is `first`.
    __device__ accumulator_t<T> state(const Step& s, const Place& p, int gate, int first, int of) const {
        const long long width = count * s.size, feature = gate * s.size + p.feature, row = p.direction * s.batch + p.batch;
        const accumulator_t<T> value = recurrence ? widen(recurrence[row * of * s.size + feature - first * s.size]) : accumulator_t<T>(0);
        return bias ? value + widen(bias[(p.direction * 2 + 1) * width + feature]) : value;
    }

    __device__ accumulator_t<T> sum(const Step& s, const Place& p, int gate) const {
        return input(s, p, gate) + state(s, p, gate, 0, count);
    }
};

// The state before this step: given, or zero, before the first.
template <typename S, typename T>
__device__ inline accumulator_t<T> state_before(const Step& s, const Place& p, long long step, const T* first, const S* state) {
    if (step > 0) return widen(state[p.index]);
    return first ? widen(first[p.direction * s.first_direction + p.batch * s.first_batch + p.feature]) : accumulator_t<T>(0);
}

template <typename T>
__device__ inline void store_hidden(
    const Step& s, const Place& p, long long step, accumulator_t<T> before, accumulator_t<T> after, T* hidden, T* y, T* last
) {
    const T kept = narrow<T>(p.is_alive ? after : before);
    hidden[p.index] = kept;
    y[p.step * s.y_step + p.batch * s.y_batch + p.direction * s.y_direction + p.feature] = p.is_alive ? kept : narrow<T>(0);
    if (last && step == s.steps - 1) last[p.direction * s.last_direction + p.batch * s.last_batch + p.feature] = kept;
}

template <typename T, bool is_default>
__global__ void __launch_bounds__(256) rnn_step(
    const T* __restrict__ inputs, const T* __restrict__ recurrence, const T* __restrict__ bias, const int* __restrict__ lengths,
    const T* __restrict__ first_hidden, T* __restrict__ hidden, T* __restrict__ y, T* __restrict__ last_hidden, long long step, Step s, Activations activations
) {
    const Gates<T> gates = {inputs, step > 0 || first_hidden ? recurrence : nullptr, bias, 1};
    for_each_place(s, lengths, step, [&](const Place& p) {
        const Functions<is_default> functions = {activations.of[p.direction], s.limit};
        const accumulator_t<T> before = state_before(s, p, step, first_hidden, hidden);
        store_hidden(s, p, step, before, functions.candidate(gates.sum(s, p, 0), 0), hidden, y, last_hidden);
    });
}

// What a GRU that resets before its product has to know before it: the update gate, kept in `update`, and the reset state, in `reset`.
template <typename T, bool is_default>
__global__ void __launch_bounds__(256) gru_gates(
    const T* __restrict__ inputs, const T* __restrict__ recurrence, const T* __restrict__ bias, const int* __restrict__ lengths,
    const T* __restrict__ first_hidden, const T* __restrict__ hidden, accumulator_t<T>* __restrict__ update, T* __restrict__ reset,
    long long step, Step s, Activations activations
) {
    const Gates<T> gates = {inputs, step > 0 || first_hidden ? recurrence : nullptr, bias, 3};
    for_each_place(s, lengths, step, [&](const Place& p) {
        const Functions<is_default> functions = {activations.of[p.direction], s.limit};
        const accumulator_t<T> before = state_before(s, p, step, first_hidden, hidden);
        update[p.index] = functions.gate(gates.input(s, p, 0) + gates.state(s, p, 0, 0, 2));
        reset[p.index] = narrow<T>(before * functions.gate(gates.input(s, p, 1) + gates.state(s, p, 1, 0, 2)));
    });
}

// Gates in ONNX's order: update, reset, hidden. With `update`, `candidates` is the product of the reset state with the last's weights.
template <typename T, bool is_default>
__global__ void __launch_bounds__(256) gru_step(
    const T* __restrict__ inputs, const T* __restrict__ recurrence, const T* __restrict__ bias, const int* __restrict__ lengths,
    const T* __restrict__ first_hidden, T* __restrict__ hidden, T* __restrict__ y, T* __restrict__ last_hidden,
    const accumulator_t<T>* __restrict__ update, const T* __restrict__ candidates, long long step, Step s, Activations activations
) {
    using A = accumulator_t<T>;
    const T* product = update ? candidates : recurrence;
    const Gates<T> gates = {inputs, step > 0 || first_hidden ? product : nullptr, bias, 3};
    for_each_place(s, lengths, step, [&](const Place& p) {
        const Functions<is_default> functions = {activations.of[p.direction], s.limit};
        const A before = state_before(s, p, step, first_hidden, hidden);
        const A kept = update ? update[p.index] : functions.gate(gates.sum(s, p, 0));
        const A share = update ? gates.state(s, p, 2, 2, 1) : functions.gate(gates.sum(s, p, 1)) * gates.state(s, p, 2, 0, 3);
        const A candidate = functions.candidate(gates.input(s, p, 2) + share, 1);
        store_hidden(s, p, step, before, (A(1) - kept) * candidate + kept * before, hidden, y, last_hidden);
    });
}

// Gates in ONNX's order: input, output, forget, cell; peepholes [directions, 3, size]: input, output, forget.
template <typename T, bool is_default>
__global__ void __launch_bounds__(256) lstm_step(
    const T* __restrict__ inputs, const T* __restrict__ recurrence, const T* __restrict__ bias, const int* __restrict__ lengths,
    const T* __restrict__ first_hidden, T* __restrict__ hidden, T* __restrict__ y, T* __restrict__ last_hidden,
    const T* __restrict__ peepholes, const T* __restrict__ first_memory, accumulator_t<T>* __restrict__ memory, T* __restrict__ last_memory,
    bool input_forget, long long step, Step s, Activations activations
) {
    using A = accumulator_t<T>;
    const Gates<T> gates = {inputs, step > 0 || first_hidden ? recurrence : nullptr, bias, 4};
    for_each_place(s, lengths, step, [&](const Place& p) {
        const Functions<is_default> functions = {activations.of[p.direction], s.limit};
        const A hidden_before = state_before(s, p, step, first_hidden, hidden), before = state_before(s, p, step, first_memory, memory);
        const auto peephole = [&](int which, A seen) {
            return peepholes ? widen(peepholes[(p.direction * 3 + which) * s.size + p.feature]) * seen : A(0);
        };
        const A entering = functions.gate(gates.sum(s, p, 0) + peephole(0, before));
        const A forgetting = input_forget ? A(1) - entering : functions.gate(gates.sum(s, p, 2) + peephole(2, before));
        const A after = forgetting * before + entering * functions.candidate(gates.sum(s, p, 3), 1);
        const A leaving = functions.gate(gates.sum(s, p, 1) + peephole(1, after));
        const A kept = p.is_alive ? after : before;
        memory[p.index] = kept;
        if (last_memory && step == s.steps - 1) last_memory[p.direction * s.last_direction + p.batch * s.last_batch + p.feature] = narrow<T>(kept);
        store_hidden(s, p, step, hidden_before, leaving * functions.output(after), hidden, y, last_hidden);
    });
}
